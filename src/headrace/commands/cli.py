"""The command line: `headrace server`, `db`, `routes`, `config`; options come from SETTINGS.

What a command needs is imported when it runs, so that `headrace --version` and a server on SQLite
load nothing that they do not use.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from headrace import __version__
from headrace.commands.upkeep import COMMANDS, DATABASE, told
from headrace.settings import defaults
from headrace.settings.kinds import SettingError, shown
from headrace.settings.load import Resolution
from headrace.settings.load import resolve as resolve_settings
from headrace.settings.table import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.settings.kinds import Setting


class SettingsCommand(click.Command):
    """A command that takes every setting; its help lists them by topic."""

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
    """The click option of a setting: text, or True and False for a switch; None when not given.

    Checking is left to `settings.load`, which does the same for environment variables.
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
    """The settings of this command; a wrong one ends it with exit code 2."""
    try:
        return resolve_settings(flags, os.environ)
    except SettingError as exc:
        raise click.UsageError(str(exc)) from exc


@click.group(context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="headrace", message="%(prog)s %(version)s")
def cli() -> None:
    """A fast tracking server for MLflow's clients, on MLflow's own database tables."""


@cli.command(cls=SettingsCommand)
def server(**flags: Any) -> None:
    """Serve MLflow's API. Takes the options and variables of `mlflow server`, and some of its own.

    \b
    On this machine alone:   headrace server
    For a team:              headrace server --host 0.0.0.0 \\
                                 --backend-store-uri postgresql://USER:PASSWORD@HOST/NAME
    Artifacts in a bucket:   ... --artifacts-destination s3://BUCKET
    Reached by a name:       ... --allowed-hosts mlflow.example.com
    """
    resolution = resolve(flags)
    for note in resolution.notes:
        click.echo(f"headrace: {note}", err=True)
    from headrace.commands import server as start
    from headrace.server.listening import CannotStart

    try:
        code = start.serve(resolution.settings)
    except CannotStart as exc:
        raise click.ClickException(str(exc)) from exc
    sys.exit(code)


@cli.command(name="config", cls=SettingsCommand)
def show_config(**flags: Any) -> None:
    """Print every setting, its value, and where that comes from. Takes the options of `server`.

    Passwords are never printed.
    """
    resolution = resolve(flags)
    rows = []
    for setting in SETTINGS:
        value = getattr(resolution.settings, setting.name)
        text = setting.default_text if value is None and setting.default_text else shown(value)
        rows.append((setting.name, text, resolution.sources[setting.name]))
    table(("setting", "value", "from"), rows)
    for note in resolution.notes:
        click.echo(f"headrace: {note}", err=True)


@cli.command()
def routes() -> None:
    """Print every route of MLflow's API, and whether headrace answers it itself.

    `bridged` is answered by MLflow, which must be installed beside headrace and is started when the
    first such route is asked for. What begins with /api is answered under /ajax-api too.
    """
    from headrace.api.routes import ROUTES
    from headrace.bridge.routes import listing

    rows = listing(ROUTES)
    names = {True: "native", False: "bridged"}
    table(("method", "path", "by"), [(method, path, names[own]) for method, path, own in rows])
    native = sum(own for _, _, own in rows)
    click.echo(f"\n{native} of {len(rows)} routes are native ({native / len(rows):.0%})")


@cli.group()
def db() -> None:
    """Look at a database, make its tables, bring it to another schema.

    URI is a database as for --backend-store-uri; without one, what `server` would take.
    """


@db.command()
@DATABASE
def check(uri: str | None) -> None:
    """Say which MLflow made a database, and what it lacks. Changes nothing.

    Exit code 1 when headrace cannot serve it.
    """
    from headrace.commands import database as commands

    told(lambda: commands.check(uri or defaults.default_uri()).lines())


@db.command()
@DATABASE
def init(uri: str | None) -> None:
    """Make MLflow's tables.

    In an empty database, or beside the tables of others; one that has them stays as it is.
    """
    from headrace.commands import database as commands
    from headrace.db.open import default_location

    settings = resolve({"backend_store_uri": uri}).settings
    location = default_location(settings)
    told(lambda: commands.init(settings.backend_store_uri, location).lines())


@db.command()
@DATABASE
def upgrade(uri: str | None) -> None:
    """Bring an older database to the installed MLflow's schema.

    The migrations are those of the mlflow package. Stop all servers first, and make a backup.
    """
    from headrace.commands import database as commands

    told(lambda: commands.upgrade(uri or defaults.default_uri()).lines())


@db.command()
@DATABASE
def release(uri: str | None) -> None:
    """Give a SQLite file back as stock MLflow leaves it.

    Switches it from WAL to the rollback journal, for going back to `mlflow
    server`, which reads the file either way. Stop all servers first.
    """
    from headrace.db.sqlite import journal

    told(lambda: journal.release_file(uri or defaults.default_uri()))


@db.command(name="recompute-latest")
@DATABASE
def recompute_latest(uri: str | None) -> None:
    """Make the last value of every metric what its history ends with.

    For when `headrace doctor` says that it is not. Servers may go on.
    """
    import asyncio

    from headrace.upkeep import doctor

    told(lambda: asyncio.run(doctor.recompute_latest(uri or defaults.default_uri())))


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print columns as wide as their widest cell; the last one ends where its text ends."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """The `headrace` command."""
    cli(prog_name="headrace")


if __name__ == "__main__":
    main()
