"""`headrace server`, and `config` and `routes`, which describe it.

Imports inside functions keep the other commands, such as `headrace --version`, fast.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import click

from headrace.commands.options import SettingsCommand, resolve
from headrace.commands.output import print_table
from headrace.settings.kinds import SettingError, shown
from headrace.settings.table import SETTINGS
from headrace.settings.validate import validate_server

if TYPE_CHECKING:
    from headrace.settings.load import Resolution


@click.command(cls=SettingsCommand)
def server(**flags: Any) -> None:
    """Serve MLflow's API. Takes the options and variables of `mlflow server`, and more.

    \b
    On this machine alone:   headrace server
    For a team:              headrace server --host 0.0.0.0 \\
                                 --backend-store-uri postgresql://USER:PASSWORD@HOST/NAME
    Artifacts in a bucket:   ... --artifacts-destination s3://BUCKET
    With a host name:        ... --allowed-hosts mlflow.example.com
    """
    resolution = resolve(flags)
    for note in resolution.notes:
        click.echo(f"headrace: {note}", err=True)
    try:
        validate_server(resolution.settings)
    except SettingError as exc:
        raise click.UsageError(str(exc)) from exc
    from headrace.commands import start
    from headrace.server.listening import CannotStart

    try:
        code = start.serve(resolution.settings)
    except CannotStart as exc:
        raise click.ClickException(str(exc)) from exc
    sys.exit(code)


@click.command(name="config", cls=SettingsCommand)
def show_config(**flags: Any) -> None:
    """Print every setting with its value and its source. Takes the options of `server`.

    Passwords are never printed.
    """
    resolution = resolve(flags)
    rows = []
    for setting in SETTINGS:
        value = getattr(resolution.settings, setting.name)
        text = setting.default_text if value is None and setting.default_text else shown(value)
        rows.append((setting.name, text, resolution.sources[setting.name]))
    rows += _auth_rows(resolution)
    print_table(("setting", "value", "from"), rows)
    for note in resolution.notes:
        click.echo(f"headrace: {note}", err=True)


def _auth_rows(resolution: Resolution) -> list[tuple[str, str, str]]:
    """The values of the configuration of users, where a variable may replace one of the file."""
    auth = resolution.settings.auth
    if auth is None:
        return []
    rows = []
    for key in (f.name for f in dataclasses.fields(auth) if f.name not in ("source", "notes")):
        variable = resolution.sources.get(f"auth_{key}", "default")
        origin = auth.source or "default" if variable == "default" else variable
        rows.append((f"auth.{key}", shown(getattr(auth, key)), origin))
    return rows


@click.command()
def routes() -> None:
    """Print every route of MLflow's API, whether headrace or MLflow serves it, and why.

    MLflow serves `bridged` routes. It must be installed with headrace, and starts on the first request
    for one of them. Paths that begin with /api are served under /ajax-api too.

    On the database of an older MLflow it serves more: traces, label schemas and issues before 3.17,
    evaluation datasets before 3.10.
    """
    from headrace.api.routes import ROUTES
    from headrace.bridge.package import absence, installed
    from headrace.bridge.reasons import reason
    from headrace.bridge.routes import listing
    from headrace.extras import own_install_command

    package = installed()
    rows = listing(ROUTES, package.version if package is not None else "3.17")
    names = {True: "native", False: "bridged"}
    print_table(
        ("method", "path", "by", "why"),
        [(method, path, names[own], "" if own else reason(path)) for method, path, own in rows],
    )
    native = sum(own for _, _, own in rows)
    click.echo(f"\n{native} of {len(rows)} routes are native ({native / len(rows):.0%})")
    missing = absence()
    if missing is not None:
        click.echo(
            f"The bridged routes answer 501: {missing}. To add them: {own_install_command('mlflow')}"
        )
