"""The types of the settings table: `Setting`, a row of it, and `Kind`, a kind of value."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from headrace.error import Error
from headrace.settings.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE_UNITS: Final = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
# As in click, and so in `mlflow server`.
TRUE_WORDS: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
FALSE_WORDS: Final = frozenset({"0", "false", "f", "no", "n", "off"})
DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}  # clients do not send them
_SIZE = re.compile(r"(\d+)\s*([a-z]*)", re.IGNORECASE)


class Secret(str):
    """A text that is masked when it is printed or formatted."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***" if self else ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    __repr__ = __str__


class SettingError(Error):
    """A setting has a value that headrace cannot use. The message is for the user."""


@dataclass(frozen=True)
class Kind:
    """A kind of value: its name in help texts, and the parser of its text.

    `parse` raises ValueError with a clause as its message, such as "'x' is not a whole number".
    """

    metavar: str
    parse: Callable[[str], Any]
    is_switch: bool = False


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    `flags` are spelled as on the command line, `--on/--off` for a switch. The first variable of
    `env` that is set counts. `note` explains why the setting has no effect; it is printed when the
    setting is given. `handed_over` is the variable in which `mlflow server` passes the value to the
    application that it runs.
    """

    name: str
    topic: str
    default: Any
    kind: Kind
    flags: tuple[str, ...]
    env: tuple[str, ...]
    help: str
    default_text: str = ""
    note: str = ""
    handed_over: str = ""

    @property
    def is_mlflows(self) -> bool:
        """Whether `mlflow server` has this setting too, as a flag or a variable."""
        return not any(name.startswith("HEADRACE_") for name in self.env)

    @property
    def title(self) -> str:
        """The name for messages: the longest flag, or the variable."""
        if self.flags:
            return max(self.flags, key=len).partition("/")[0]
        return self.env[0]

    def switch_title(self, on: bool) -> str:
        """Return the flag that turns a switch on, or the one that turns it off."""
        off = self.flags[0].partition("/")[2]
        return self.title if on or not off else off

    def parse(self, text: str, source: str) -> Any:
        """Parse `text`. Raises SettingError that names `source`."""
        try:
            return self.kind.parse(text)
        except ValueError as exc:
            raise SettingError(f"Invalid value for {source}: {exc}.") from exc


def row(
    topic: str,
    default: Any,
    kind: Kind,
    *,
    flags: str | tuple[str, ...] = (),
    env: str | tuple[str, ...] = (),
    help: str,
    default_text: str = "",
    note: str = "",
    handed_over: str = "",
) -> Any:
    """Declare one setting as a dataclass field; SETTINGS adds the field's name."""
    details = {
        "topic": topic,
        "kind": kind,
        "flags": (flags,) if isinstance(flags, str) else flags,
        "env": (env,) if isinstance(env, str) else env,
        "help": help,
        "default_text": default_text,
        "note": note,
        "handed_over": handed_over,
    }
    return field(default=default, metadata=details)


def _text(value: str) -> str:
    return value


def _switch(value: str) -> bool:
    word = value.strip().lower()
    if word not in TRUE_WORDS and word not in FALSE_WORDS:
        raise ValueError(f"'{value}' is neither true nor false")
    return word in TRUE_WORDS


TEXT: Final = Kind("TEXT", _text)
URI: Final = Kind("URI", _text)
DIRECTORY: Final = Kind("DIRECTORY", _text)
SWITCH: Final = Kind("", _switch, is_switch=True)


def integer(low: int, high: int) -> Kind:
    """Return the kind of whole numbers from `low` to `high`."""

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"'{value}' is not a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"{number} is not in the range {low} to {high}")
        return number

    return Kind("NUMBER", parse)


def seconds(low: float, high: float) -> Kind:
    """Return the kind of times in seconds from `low` to `high`; fractions are allowed."""

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"'{value}' is not a number of seconds") from None
        if not low <= number <= high:
            raise ValueError(f"{value} is not in the range {low:g} to {high:g} seconds")
        return number

    return Kind("SECONDS", parse)


def size(low: int, high: int) -> Kind:
    """Return the kind of sizes from `low` to `high` bytes; KiB, MiB or GiB may follow the number."""

    def parse(value: str) -> int:
        match = _SIZE.fullmatch(value.strip())
        unit = SIZE_UNITS.get(match[2].lower()) if match else None
        if not match or unit is None:
            raise ValueError(f"'{value}' is not a size such as 1048576, 512KiB or 64MiB")
        number = int(match[1]) * unit
        if not low <= number <= high:
            raise ValueError(f"{value} is not in the range {shown(low)} to {shown(high)} bytes")
        return number

    return Kind("BYTES", parse)


def choice(*words: str, upper: bool = False) -> Kind:
    """Return the kind of these words, in upper or lower case."""

    def parse(value: str) -> str:
        word = value.upper() if upper else value.lower()
        if word not in words:
            raise ValueError(f"'{value}' is not one of {', '.join(words)}")
        return word

    return Kind("|".join(words), parse)


def prefix(value: str) -> str:
    """Parse a path prefix such as `/mlflow`. The messages are those of `mlflow server`."""
    if not value.startswith("/"):
        raise ValueError("--static-prefix must begin with a '/'")
    if value.endswith("/"):
        raise ValueError("--static-prefix should not end with a '/'")
    if "{" in value or "}" in value:
        raise ValueError("--static-prefix must not contain '{' or '}'")
    return value


def pattern(value: str) -> str:
    """Check a regular expression."""
    try:
        re.compile(value)
    except re.error as exc:
        raise ValueError(f"'{value}' is not a regular expression ({exc})") from None
    return value


def existing_file(value: str) -> str:
    """Check the path of a file that must exist."""
    if not Path(value).is_file():
        raise ValueError(f"the file '{value}' does not exist")
    return value


def hosts(value: str) -> str:
    """Check the names of hosts, separated by commas: no URL, because a Host header has none."""
    for part in map(str.strip, value.split(",")):
        if "/" in part:
            url = urlsplit(part if "://" in part else f"//{part}")
            name = url.netloc.removesuffix(DEFAULT_PORTS.get(url.scheme, ""))
            raise ValueError(
                f"'{part}' is a URL, and a Host header has no scheme and no path: write '{name}'"
            )
    return value


def directories(value: str) -> str:
    """Check paths, or `file:` URIs of paths, separated by commas."""
    for part in value.split(","):
        if not part.strip():
            raise ValueError(f"'{value}' has an empty entry")
        if "://" in part and not part.strip().startswith("file:"):
            raise ValueError(f"'{part.strip()}' is not a directory of this machine")
    return value


def json_object(value: str) -> str:
    """Check that a text is a JSON object; return the text."""
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        # The message must not contain the value, which may hold a key.
        raise ValueError("it is not a JSON object")
    return value


def application(value: str) -> str:
    """Check the name of the application. Any other one may exist to authenticate users."""
    if value not in ("headrace", "basic-auth"):
        raise ValueError(
            f"headrace does not run the application '{value}': without it, everyone might have "
            "access. Use --app-name basic-auth, or `mlflow server --app-name`"
        )
    return value


def shown(value: Any) -> str:
    """Format a value for people, with secrets masked."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value >> 20}MiB"
    if isinstance(value, float):
        return f"{value:g}"
    return masked(str(value))
