"""The configuration of users: MLflow's INI file (MLFLOW_AUTH_CONFIG_PATH) and variables.

Without a file, the values of the file that MLflow brings count. A file must have
`default_permission` and `database_uri`; keys that it leaves out have the defaults of `AuthSettings`.
"""

from __future__ import annotations

import configparser
import dataclasses
import difflib
import re
from typing import TYPE_CHECKING, Any, Final

from headrace.settings.kinds import FALSE_WORDS, TRUE_WORDS, Secret, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECTION: Final = "mlflow"
BASIC_AUTH: Final = "mlflow.server.auth:authenticate_request_basic_auth"
PERMISSIONS: Final = ("READ", "USE", "EDIT", "MANAGE", "NO_PERMISSIONS", "DENY")
CONFIG_PATH: Final = "MLFLOW_AUTH_CONFIG_PATH"
ADMIN_USERNAME: Final = "MLFLOW_AUTH_ADMIN_USERNAME"
ADMIN_PASSWORD: Final = "MLFLOW_AUTH_ADMIN_PASSWORD"
_WITHOUT_FILE: Final = {
    "default_permission": "READ",
    "database_uri": "sqlite:///basic_auth.db",
    "admin_username": "admin",
}
_NONE: Final = Secret("")
_FUNCTION = re.compile(r"[\w.]+:\w+")


@dataclasses.dataclass(frozen=True)
class AuthSettings:
    """The keys of the file. Its text shows neither URIs nor passwords."""

    default_permission: str  # for a resource without any grant
    database_uri: str = dataclasses.field(repr=False)
    read_database_uri: str | None = dataclasses.field(default=None, repr=False)
    admin_username: str = ""
    admin_password: str = _NONE
    authorization_function: str = BASIC_AUTH
    grant_default_workspace_access: bool = False
    workspace_cache_max_size: int = 10_000
    workspace_cache_ttl_seconds: int = 3600
    auth_cache_max_size: int = 10_000
    auth_cache_ttl_seconds: int = 0  # 0: until the stored hash changes
    source: str = ""  # the path of the file
    notes: tuple[str, ...] = ()  # warnings to print before the start

    @property
    def custom_function(self) -> str | None:
        """The authorization_function, unless it is MLflow's own."""
        return None if self.authorization_function == BASIC_AUTH else self.authorization_function


def read_auth(path: str | None, environ: Mapping[str, str]) -> AuthSettings:
    """The configuration in the file, or without one. Raises SettingError."""
    found = _WITHOUT_FILE if path is None else _read_file(path)
    origin = path or "the configuration of users"
    values: dict[str, Any] = {}
    notes: list[str] = []
    for key, text in found.items():
        if key not in _KEYS:
            notes.append(
                f"{key} in {origin} is not a setting of users, so it has no effect.{_meant(key)}"
            )
            continue
        try:
            values[key] = _KEYS[key](text)
        except ValueError as error:
            raise SettingError(f"Invalid value for {key} in {origin}: {error}.") from None
    for key in ("default_permission", "database_uri"):
        if not values.get(key):
            unknown = [f"unknown key '{one}'.{_meant(one)}" for one in found if one not in _KEYS]
            hint = f" It has the {', the '.join(unknown)}" if unknown else ""
            raise SettingError(f"{origin} has no {key}, which the users need; add it.{hint}")
    if values.get("read_database_uri"):
        notes.append(
            "read_database_uri has no effect: reads use database_uri too, so a change counts at once."
        )
    # As in MLflow, a variable that is set counts even if it is empty.
    values["admin_username"] = environ.get(ADMIN_USERNAME, values.get("admin_username", ""))
    if ADMIN_PASSWORD in environ:
        values["admin_password"] = Secret(environ[ADMIN_PASSWORD])
    return AuthSettings(**values, source=path or "", notes=tuple(notes))


def _meant(key: str) -> str:
    close = difflib.get_close_matches(key, _KEYS, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _read_file(path: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser()
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 the path may be any text
            parser.read_file(file)
        if SECTION not in parser:
            raise SettingError(f"{path} has no section [{SECTION}] ({CONFIG_PATH}).")
        return dict(parser[SECTION])
    except OSError as error:
        raise SettingError(
            f"The configuration of users, {path} ({CONFIG_PATH}), cannot be read: {error.strerror}."
        ) from None
    # The texts of these errors may contain a password.
    except configparser.InterpolationError as error:
        raise SettingError(
            f"{path}: the value of {error.option} has a % that begins no reference; write it as %%."
        ) from None
    except (configparser.Error, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise SettingError(f"{path}{where}: this is not an INI file in UTF-8.") from None


def _text(value: str) -> str:
    return value


def _permission(value: str) -> str:
    if value not in PERMISSIONS:
        raise ValueError(f"'{value}' is not one of {', '.join(PERMISSIONS)}")
    return value


def _switch(value: str) -> bool:
    word = value.lower()
    if word not in TRUE_WORDS and word not in FALSE_WORDS:
        raise ValueError(f"'{value}' is neither true nor false")
    return word in TRUE_WORDS


def _number(value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise ValueError(f"'{value}' is not a whole number") from None
    if number < 0:
        raise ValueError(f"{number} is less than 0")
    return number


def _function(value: str) -> str:
    if not _FUNCTION.fullmatch(value):
        raise ValueError(f"'{value}' is not of the form module:function")
    return value


_KEYS: Final[dict[str, Callable[[str], Any]]] = {
    "default_permission": _permission,
    "database_uri": _text,
    "read_database_uri": _text,
    "admin_username": _text,
    "admin_password": Secret,
    "authorization_function": _function,
    "grant_default_workspace_access": _switch,
    "workspace_cache_max_size": _number,
    "workspace_cache_ttl_seconds": _number,
    "auth_cache_max_size": _number,
    "auth_cache_ttl_seconds": _number,
}
