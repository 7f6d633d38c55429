"""The `headrace` command: the list of its subcommands."""

from __future__ import annotations

import click

from headrace import __version__
from headrace.commands.auth import auth
from headrace.commands.crypto import crypto
from headrace.commands.database import db
from headrace.commands.server import routes, server, show_config
from headrace.commands.transfer import export, import_
from headrace.commands.upkeep import backup, doctor, gc, restore
from headrace.commands.whoami import whoami


class _Commands(click.Group):
    """The subcommands; `ui`, which mlflow has, gets the hint of a misspelled one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click."""
        if args and args[0] == "ui":
            ctx.fail("No such command 'ui'. Did you mean 'server'?")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="headrace", message="%(prog)s %(version)s")
def cli() -> None:
    """A fast tracking server for MLflow's clients, on MLflow's own database tables."""


for command in (
    server,
    show_config,
    routes,
    db,
    auth,
    crypto,
    doctor,
    gc,
    backup,
    restore,
    import_,
    export,
):
    cli.add_command(command)
auth.add_command(whoami)


def main() -> None:
    """Run the `headrace` command."""
    cli(prog_name="headrace")


if __name__ == "__main__":
    main()
