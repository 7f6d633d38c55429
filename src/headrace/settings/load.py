"""Settings from command-line flags, environment variables and defaults.

A flag takes precedence over a variable, and a variable over the default.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from headrace.contract.file_names import from_native
from headrace.settings.auth import CONFIG_PATH, read_auth
from headrace.settings.defaults import default_uri
from headrace.settings.table import SETTINGS, Settings
from headrace.settings.unsupported import go_log_level
from headrace.settings.validate import BASIC_AUTH_APP, validate, validate_server, warnings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Resolution:
    """Settings, the source of each, and warnings to print before the start.

    A source is `--flag`, the name of a variable, or `default`. Each note is one line for stderr.
    """

    settings: Settings
    sources: Mapping[str, str]
    notes: tuple[str, ...]


def load(flags: Mapping[str, str | bool | None], environ: Mapping[str, str]) -> Settings:
    """Return the validated settings for these flags and environment variables.

    `flags` maps names of settings to values; None means that the flag is absent. Raises
    SettingError for an invalid value and for anything that headrace cannot do.
    """
    return resolve(flags, environ).settings


def resolve(flags: Mapping[str, str | bool | None], environ: Mapping[str, str]) -> Resolution:
    """As `load`, with the sources and notes."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        flag = flags.get(setting.name)
        # As in click, an empty variable counts as not set.
        variable = next((name for name in setting.env if environ.get(name)), None)
        if isinstance(flag, bool):
            sources[setting.name] = setting.switch_title(flag)
            values[setting.name] = flag
        elif flag is not None:
            sources[setting.name] = setting.title
            values[setting.name] = setting.parse(from_native(flag), f"'{setting.title}'")
        elif variable is not None:
            sources[setting.name] = variable
            values[setting.name] = setting.parse(from_native(environ[variable]), f"'{variable}'")
        else:
            sources[setting.name] = "default"
    if sources["backend_store_uri"] == "default" and not values.get("artifacts_only"):
        values["backend_store_uri"] = default_uri()
    if values.get("app_name") == BASIC_AUTH_APP:
        values["auth"] = read_auth(values.get("auth_config_path"), environ)
    go_level = go_log_level(values.get("experimental_go_opts"))
    if go_level is not None and sources["log_level"] == "default":
        values["log_level"], sources["log_level"] = go_level, sources["experimental_go_opts"]
    settings = Settings(**values)
    validate(settings, environ)
    return Resolution(settings, sources, tuple(warnings(settings, sources, environ)))


def app_name_of(environ: Mapping[str, str]) -> str | None:
    """The application of a process that another server runs: None without users.

    The --app-name of its command line is headrace, so variables say whether there are users.
    """
    return environ.get("HEADRACE_APP_NAME") or (
        BASIC_AUTH_APP if environ.get(CONFIG_PATH) else None
    )


def load_handed_over(environ: Mapping[str, str]) -> Settings:
    """Return the settings of an application that another server runs.

    `mlflow server --app-name headrace` passes its resolved options in variables of its own and
    omits those of switches that are off. Under any other server there are no flags. A configuration
    of users (MLFLOW_AUTH_CONFIG_PATH) switches users on.
    """
    flags: dict[str, str | bool | None] = {}
    if "_MLFLOW_SERVER_FILE_STORE" in environ:
        for setting in SETTINGS:
            if setting.handed_over:
                text = environ.get(setting.handed_over)
                flags[setting.name] = text == "true" if setting.kind.is_switch else text
    flags["app_name"] = app_name_of(environ)
    settings = load(flags, environ)
    validate_server(settings)
    return settings
