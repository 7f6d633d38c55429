"""What a setting is: its row in the table, the kinds of value it may have, and how a wrong one is
told.

The table itself is in config.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE_UNITS: Final = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
TRUE_WORDS: Final = frozenset(
    {"1", "true", "t", "yes", "y", "on"}
)  # click's words, which MLflow takes
FALSE_WORDS: Final = frozenset({"0", "false", "f", "no", "n", "off"})
_SIZE = re.compile(r"(\d+)\s*([a-z]*)", re.IGNORECASE)
_USER_INFO = re.compile(r"(://[^:/@]*(?:/[^:/@?#]*)?):.*@", re.DOTALL)
_TOKEN_AS_USER = re.compile(r"(https?://)[^/?#@:]+@", re.IGNORECASE)
# name=value, in a URI, a connection string (of libpq or Azure) or options of a command; --name value.
_PARAMETER = re.compile(
    r"(?:(?:^|(?<=[?&;#,\s]))([^=?&;#,\s]+)=|(--[\w-]+)\s+)(?:'[^']*'|\"[^\"]*\"|[^&;\s]*)"
)
_SECRET_NAME = re.compile(
    r"passw|pwd|passphrase|token|secret|credential|signature|\bsig\b|key|auth(?!or)", re.IGNORECASE
)


class Secret(str):
    """A value that no log and no listing shows."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***" if self else ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    __repr__ = __str__


class SettingError(Exception):
    """A setting cannot be what it was set to. The text is for the person who set it."""


@dataclass(frozen=True)
class Kind:
    """A kind of value: its name in help texts, and how text becomes it.

    `parse` raises ValueError with half a sentence, such as "'x' is not a whole number".
    """

    metavar: str
    parse: Callable[[str], Any]
    is_switch: bool = False


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    `flags` is written as on the command line, `--on/--off` for a switch; empty when there is no
    flag. `env` are environment variables, the first that is set counts. `note` is said when the
    setting is given although it changes nothing here. `handed_over` is the variable in which
    `mlflow server` passes the value to the application that it runs.
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
        """Whether `mlflow server` has this setting too (by flag or variable)."""
        return not any(name.startswith("HEADRACE_") for name in self.env)

    @property
    def title(self) -> str:
        """What a person calls it: its longest flag, or its variable."""
        if self.flags:
            return max(self.flags, key=len).partition("/")[0]
        return self.env[0]

    def switch_title(self, on: bool) -> str:
        """The flag that turns a switch on, or the one that turns it off."""
        off = self.flags[0].partition("/")[2]
        return self.title if on or not off else off

    def parse(self, text: str, source: str) -> Any:
        """The value that `text` means. Raises SettingError naming `source`."""
        try:
            return self.kind.parse(text)
        except ValueError as exc:
            raise SettingError(f"Invalid value for {source}: {exc}.") from exc


def row(
    topic: str,
    default: Any,
    kind: Kind,
    names: str,
    help: str,
    *,
    default_text: str = "",
    note: str = "",
    handed_over: str = "",
) -> Any:
    """One line of the table; becomes a `Setting` once the attribute's name is known.

    `names` are flags and variables, separated by spaces.
    """
    details = {
        "topic": topic,
        "kind": kind,
        "flags": tuple(name for name in names.split() if name.startswith("-")),
        "env": tuple(name for name in names.split() if not name.startswith("-")),
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
    """A whole number from `low` to `high`."""

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
    """A time in seconds, fractions allowed."""

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
    """A number of bytes; KiB, MiB and GiB may follow it."""

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
    """One of a few words, in any case."""

    def parse(value: str) -> str:
        word = value.upper() if upper else value.lower()
        if word not in words:
            raise ValueError(f"'{value}' is not one of {', '.join(words)}")
        return word

    return Kind("|".join(words), parse)


def prefix(value: str) -> str:
    """A path prefix, as `/mlflow`. The sentences are those of `mlflow server`."""
    if not value.startswith("/"):
        raise ValueError("--static-prefix must begin with a '/'")
    if value.endswith("/"):
        raise ValueError("--static-prefix should not end with a '/'")
    if "{" in value or "}" in value:
        raise ValueError("--static-prefix must not contain '{' or '}'")
    return value


def pattern(value: str) -> str:
    """A regular expression."""
    try:
        re.compile(value)
    except re.error as exc:
        raise ValueError(f"'{value}' is not a regular expression ({exc})") from None
    return value


def existing_file(value: str) -> str:
    """A path of a file that is there."""
    if not Path(value).is_file():
        raise ValueError(f"there is no file '{value}'")
    return value


def directories(value: str) -> str:
    """Paths, or `file:` URIs of paths, separated by commas."""
    for part in value.split(","):
        if not part.strip():
            raise ValueError(f"'{value}' has an empty entry")
        if "://" in part and not part.strip().startswith("file:"):
            raise ValueError(f"'{part.strip()}' is not a directory of this machine")
    return value


def json_object(value: str) -> str:
    """A JSON object, kept as the text it is."""
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # a key may be in it
    return value


def application(value: str) -> str:
    """The name of the one application there is. Another one may be there to keep people out."""
    if value != "headrace":
        raise ValueError(
            f"headrace does not run the application '{value}'. Without basic-auth or its like "
            "everyone would be let in, so put an authenticating proxy in front, or use `mlflow "
            "server --app-name`"
        )
    return value


def masked(text: str) -> str:
    """The text with the password of a URI, and every secret among its parameters, as `***`.

    Of a JSON object the values under secret names. Rather too much is hidden than too little: all up to the
    last `@`, and all after that, too, when it may be one of a secret parameter.
    """
    if text.lstrip().startswith("{"):
        try:
            return json.dumps(_masked_json(json.loads(text)))
        except ValueError:
            return "***"
    user_info = _USER_INFO.search(text)
    if user_info is not None and _has_secret(user_info[0]):
        return f"{text[: user_info.end(1)]}:***@***"
    text = _TOKEN_AS_USER.sub(r"\1***@", _USER_INFO.sub(r"\1:***@", text))
    return _PARAMETER.sub(_masked_parameter, text)


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(unquote(name).replace("_", " ")) is not None


def _has_secret(text: str) -> bool:
    return any(_is_secret(match[1] or match[2]) for match in _PARAMETER.finditer(text))


def _masked_parameter(match: re.Match[str]) -> str:
    if not _is_secret(match[1] or match[2]):
        return match[0]
    return f"{match[1]}=***" if match[1] else f"{match[2]} ***"


def _masked_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "***" if _is_secret(k) else _masked_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked_json(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def shown(value: Any) -> str:
    """A value as a person reads it, free of secrets."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value >> 20}MiB"
    if isinstance(value, float):
        return f"{value:g}"
    return masked(str(value))
