"""`headrace db`: the schema of a database.

Imports inside functions keep the other commands, such as `headrace --version`, fast.
"""

from __future__ import annotations

import asyncio

import click

from headrace.commands.options import DATABASE, resolve
from headrace.commands.output import print_or_explain
from headrace.settings.defaults import default_uri


@click.group()
def db() -> None:
    """Inspect a database, create its tables, migrate it to another schema.

    URI is a database as for --backend-store-uri. The default is the database of `server`.
    """


@db.command()
@DATABASE
def check(uri: str | None) -> None:
    """Report the schema of a database, and what is missing. Changes nothing.

    Exit code 1 if headrace cannot serve it.
    """
    from headrace.db.upkeep import schema

    print_or_explain(lambda: schema.check(uri or default_uri()).lines())


@db.command()
@DATABASE
def init(uri: str | None) -> None:
    """Create MLflow's tables.

    The database may be empty or hold tables of other programs. If it has MLflow's tables, nothing changes.
    """
    from headrace.db.open import default_location
    from headrace.db.upkeep import schema

    settings = resolve({"backend_store_uri": uri}).settings
    location = default_location(settings)
    print_or_explain(lambda: schema.init(settings.backend_store_uri, location).lines())


@db.command()
@DATABASE
def upgrade(uri: str | None) -> None:
    """Migrate an older database to the installed MLflow's schema.

    The migrations are those of the mlflow package. First stop all servers and make a backup.
    """
    from headrace.db.upkeep import schema

    print_or_explain(lambda: schema.upgrade(uri or default_uri()).lines())


@db.command()
@DATABASE
def release(uri: str | None) -> None:
    """Return a SQLite file to the state in which stock MLflow leaves it.

    Switches the file from WAL to the rollback journal before you go back to `mlflow server`, which can read
    both. Stop all servers first.
    """
    from headrace.db.sqlite import journal

    print_or_explain(lambda: journal.release_file(uri or default_uri()))


@db.command()
@DATABASE
@click.option(
    "--text", is_flag=True, help="Also index the text of spans: large; needs the extension pg_trgm."
)
@click.option("--drop", is_flag=True, help="Remove the indexes.")
def index(uri: str | None, text: bool, drop: bool) -> None:
    """Create indexes that speed up searches for traces by tag, metadata, run and span name.

    PostgreSQL only. MLflow ignores them. Servers may keep running, and use them after a restart.
    """
    from headrace.db.upkeep import trace_indexes

    found = uri or default_uri()
    print_or_explain(
        lambda: trace_indexes.drop(found) if drop else trace_indexes.create(found, text=text)
    )


@db.command(name="recompute-latest")
@DATABASE
def recompute_latest(uri: str | None) -> None:
    """Recompute the latest value of every metric from its history.

    Use it if `headrace doctor` says that they differ. Servers may keep running.
    """
    from headrace.upkeep import doctor

    print_or_explain(lambda: asyncio.run(doctor.recompute_latest(uri or default_uri())))
