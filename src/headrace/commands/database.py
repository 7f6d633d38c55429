"""`headrace db`: the schema of a database.

Imports inside functions keep the other commands, such as `headrace --version`, fast.
"""

from __future__ import annotations

import asyncio

import click

from headrace.commands.options import DATABASE, resolve
from headrace.commands.output import ProgressBar, print_or_explain
from headrace.db.schema.facts import UnusableDatabase
from headrace.settings.defaults import default_uri


@click.group()
def db() -> None:
    """Inspect a database, create its tables and indexes, migrate it to another schema.

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
    from headrace.bridge.package import installed, obstacle
    from headrace.db.upkeep import schema

    def work() -> list[str]:
        package = installed()
        if package is None:
            return schema.upgrade(uri or default_uri()).lines()
        report = schema.check(uri or default_uri())
        reason = obstacle(package, report.head, uri=report.uri)
        if report.head and reason is not None and report.head not in package.known_heads:
            raise UnusableDatabase(f"{report.uri} is not changed, because {reason}")
        return schema.upgrade(uri or default_uri(), package.head).lines()

    print_or_explain(work)


@db.command()
@DATABASE
@click.option(
    "--traces",
    is_flag=True,
    help="Also make indexes for searches for traces by tag, metadata, run and span name. PostgreSQL only.",
)
@click.option(
    "--trace-text",
    is_flag=True,
    help="Also index the text of spans: large; needs the extension pg_trgm. PostgreSQL only.",
)
def tune(uri: str | None, traces: bool, trace_text: bool) -> None:
    """Make the indexes that headrace adds to MLflow's tables. MLflow ignores them.

    Servers may keep running: PostgreSQL makes them beside reads and writes; on SQLite writes wait while an
    index is made. Stop the command at any time: when it runs again, it continues.
    """
    from headrace.db.upkeep import tune as work

    progress = ProgressBar()
    try:
        print_or_explain(
            lambda: work.tune(
                uri or default_uri(), traces=traces, trace_text=trace_text, progress=progress.show
            )
        )
    finally:
        progress.end()


@db.command()
@DATABASE
@click.option("--keep-indexes", is_flag=True, help="Keep the indexes that headrace made.")
def release(uri: str | None, keep_indexes: bool) -> None:
    """Return a database to the state in which stock MLflow leaves it.

    Drops the indexes that headrace made, while servers may run on PostgreSQL. Switches a SQLite file from
    WAL to the rollback journal; stop all servers first. Stock MLflow works without this command too.
    """
    from headrace.db.upkeep import tune as work

    print_or_explain(lambda: work.release(uri or default_uri(), keep_indexes=keep_indexes))


@db.command(name="repair-steps")
@DATABASE
def repair_steps(uri: str | None) -> None:
    """Replace steps of metrics that a SQLite file does not hold as integers.

    MLflow's client stores a step of numpy as bytes, and a fraction as it is. Use it if `headrace doctor`
    says so. Bytes become the integer that they stand for; a fraction is cut off. Servers may keep running.
    """
    from headrace.upkeep import steps

    progress = ProgressBar()
    try:
        print_or_explain(lambda: asyncio.run(steps.repair(uri or default_uri(), progress.show)))
    finally:
        progress.end()


@db.command(name="recompute-latest")
@DATABASE
def recompute_latest(uri: str | None) -> None:
    """Recompute the latest value of every metric from its history.

    Use it if `headrace doctor` says that they differ. Servers may keep running.
    """
    from headrace.upkeep import doctor

    print_or_explain(lambda: asyncio.run(doctor.recompute_latest(uri or default_uri())))
