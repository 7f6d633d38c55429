"""Options and arguments that several commands have; those of settings come from SETTINGS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from headrace.settings.kinds import SettingError, shown
from headrace.settings.load import resolve as resolve_settings
from headrace.settings.table import SETTINGS

if TYPE_CHECKING:
    from headrace.settings.kinds import Setting
    from headrace.settings.load import Resolution

DATABASE = click.argument("uri", envvar="MLFLOW_BACKEND_STORE_URI", required=False)


class SettingsCommand(click.Command):
    """A command with an option for every setting that has a flag; its help lists them by topic."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [option(setting) for setting in SETTINGS if setting.flags]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per topic."""
        for topic in dict.fromkeys(setting.topic for setting in SETTINGS if setting.flags):
            with formatter.section(topic):
                formatter.write_dl(
                    [
                        (_spelling(setting), _explanation(setting))
                        for setting in SETTINGS
                        if setting.topic == topic and setting.flags
                    ]
                )
        with formatter.section("Help"):
            formatter.write_dl([("--help", "Show this message and exit.")])


def option(setting: Setting) -> click.Option:
    """Return the click option of a setting. Its value is a text, or a bool for a switch, or None.

    The option does not check its value: `settings.load` does, as for environment variables.
    """
    return click.Option(
        [*setting.flags, setting.name],
        type=bool if setting.kind.is_switch else str,
        is_flag=setting.kind.is_switch,
        default=None,
    )


def _spelling(setting: Setting) -> str:
    flags = ", ".join(sorted(setting.flags, key=len)).replace("/", " / ")
    return f"{flags} {setting.kind.metavar}".rstrip()


def _explanation(setting: Setting) -> str:
    facts = []
    if not setting.note:
        facts.append(f"default: {setting.default_text or shown(setting.default)}")
    facts += [f"env: {name}" for name in setting.env]
    return setting.help + (f"  [{'; '.join(facts)}]" if facts else "")


def resolve(flags: dict[str, Any]) -> Resolution:
    """Resolve the settings of a command. An invalid value ends the command with exit code 2."""
    try:
        return resolve_settings(flags, os.environ)
    except SettingError as exc:
        raise click.UsageError(str(exc)) from exc
