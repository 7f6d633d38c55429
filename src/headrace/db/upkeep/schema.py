"""Inspection, creation and migration of MLflow's tables: `headrace db check`, `init`, `upgrade`.

Functions import PostgreSQL's modules, because a command on a SQLite file need not load asyncpg.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.db.schema import heads, indexes, sqlite
from headrace.db.schema.facts import MLFLOW_TABLES, UnusableDatabase
from headrace.db.uri import parse
from headrace.extras import own_install_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from headrace.db.schema.facts import Columns, Facts
    from headrace.db.uri import Target

T = TypeVar("T")
BUSY_TIMEOUT_S: Final = 20.0
CONNECT_TIMEOUT_S: Final = 10.0
DRIVERS: Final = ("psycopg", "psycopg2")  # stock MLflow's drivers for PostgreSQL
PROXIED_EXPERIMENT_0: Final = "mlflow-artifacts:/0"
# A variable, because every user of the machine can read the arguments of a process.
URI_VARIABLE: Final = "HEADRACE_UPGRADE_URI"
_UPGRADE: Final = (
    f"import os; from mlflow.cli import cli; cli(['db', 'upgrade', os.environ['{URI_VARIABLE}']])"
)


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """The schema of a database. `head` is empty if the database has none of MLflow's tables."""

    uri: str  # without its password
    head: str = ""
    release: str | None = None  # for people; None if the revision is unknown
    created: bool = False  # this call created MLflow's tables
    current: bool = False  # at the revision that headrace itself creates
    missing: tuple[str, ...] = ()  # tables, and columns as `table.column`
    lost: tuple[str, ...] = ()  # features that need the missing ones, for people
    warnings: tuple[str, ...] = ()
    offer: str = ""  # the missing indexes of headrace, for people
    gains: str = ""  # of these indexes
    backup: str = ""  # path of the copy that `upgrade` made of a SQLite file

    def lines(self) -> list[str]:
        """Format the report for people."""
        if not self.head:
            return [
                f"{self.uri} has none of MLflow's tables yet. The server creates them when it starts, or: "
                f"headrace db init {self.uri}"
            ]
        made = ", just created" if self.created else ""
        found = [
            f"database  {self.uri}",
            f"schema    {self.head} ({self.release or 'of an unknown release'}){made}",
        ]
        found += [f"missing   {name}" for name in self.missing]
        found += [f"no        {text}" for text in self.lost]
        found += [f"backup    {self.backup}"] if self.backup else []
        found += [f"indexes   {self.offer}", self.gains] if self.offer else []
        found += list(self.warnings)
        if self.created:
            return found
        if self.current and not (self.offer or self.warnings):
            return [*found, "Nothing to do."]
        if self.lost:
            return [
                *found,
                f"headrace can serve it. To add the missing features: headrace db upgrade {self.uri}",
            ]
        return [*found, "headrace can serve it as it is."]


def check(uri: str) -> SchemaReport:
    """Inspect a database; write nothing. Raises UriError, and UnusableDatabase if headrace cannot serve it."""
    target = parse(uri)
    facts = _inspect(target)
    return SchemaReport(target.shown) if facts is None else _report(target, facts)


def init(uri: str, default_location: str = PROXIED_EXPERIMENT_0) -> SchemaReport:
    """Create MLflow's tables unless the database has them; it may have tables of other programs.

    `default_location` is the artifact location of experiment 0. Raises UriError, UnusableDatabase.
    """
    target = parse(uri)
    if target.dialect == "sqlite":
        with _file(target, create=True) as connection:
            return _report(target, sqlite.prepare(connection, target.shown, default_location))
    from headrace.db.schema import postgres

    async def prepare(connection: Any) -> Facts:  # asyncpg has no types
        return await postgres.prepare(connection, target.shown, default_location)

    return _report(target, on_server(target, prepare))


def upgrade(uri: str, newest: str = heads.CURRENT) -> SchemaReport:
    """Migrate an older database to the installed MLflow's revision, with MLflow's own migrations.

    `newest` is that revision.

    Copies a SQLite file first, because its migrations cannot be undone; PostgreSQL's run in a
    transaction. MLflow's messages go to stderr. headrace's own indexes are there afterwards if they
    were before. Raises UriError, UnusableDatabase.
    """
    target = parse(uri)
    revisions, columns = _read_revisions(target)
    if not MLFLOW_TABLES & frozenset(columns):
        raise UnusableDatabase(
            f"{target.shown} has none of MLflow's tables. Create them with: headrace db init "
            f"{target.shown}"
        )
    if revisions == [newest]:
        return check(uri)
    if importlib.util.find_spec("mlflow") is None or importlib.util.find_spec("alembic") is None:
        raise UnusableDatabase(
            "The migrations are part of the mlflow package, which is not installed, or not with the "
            f"packages that it requires. Install them with: {own_install_command('mlflow')}"
        )
    backup = _copy(target, revisions) if target.dialect == "sqlite" else ""
    _migrate(uri, target, backup)
    own = {index.name for index in indexes.ALL if index.name in columns}
    if own:
        from headrace.db.upkeep import tune

        tune.make_again(target, own)
    facts = _inspect(target)
    assert facts is not None, "a migrated database has tables"
    return _report(target, facts, backup=backup)


def _report(target: Target, facts: Facts, *, backup: str = "") -> SchemaReport:
    return SchemaReport(
        uri=target.shown,
        head=facts.head,
        release=facts.release,
        created=facts.created,
        current=facts.head == heads.CURRENT and not facts.missing,
        missing=facts.missing,
        lost=facts.lost,
        warnings=facts.warnings,
        offer=indexes.offer(facts, target.dialect, target.shown),
        gains=indexes.gains(facts, target.dialect),
        backup=backup,
    )


def _inspect(target: Target) -> Facts | None:
    if target.dialect == "sqlite":
        with _file(target, create=False) as connection:
            return sqlite.inspect(connection, target.shown)
    from headrace.db.schema import postgres

    async def inspect(connection: Any) -> Facts | None:  # asyncpg has no types
        return await postgres.inspect(connection, target.shown)

    return on_server(target, inspect)


def _read_revisions(target: Target) -> tuple[list[str], Columns]:
    if target.dialect == "sqlite":
        with _file(target, create=False) as connection:
            return sqlite.read_tables(connection)
    from headrace.db.schema import postgres

    return on_server(target, postgres.read_tables)


@contextmanager
def _file(target: Target, *, create: bool) -> Iterator[sqlite3.Connection]:
    """Open the file and explain errors of the driver. Without `create` the connection cannot write."""
    path = Path(target.path)
    if not create and not path.exists():
        raise UnusableDatabase(
            f"{target.shown}: the file {path} does not exist. Create it with: headrace db init "
            f"{target.shown}"
        )
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)  # as stock MLflow does
        # Not "ro": a connection that may not write leaves WAL's two files behind when it closes.
        mode = "rwc" if create else "rw"
        with closing(
            sqlite3.connect(
                f"{path.as_uri()}?mode={mode}",
                uri=True,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
            )
        ) as connection:
            connection.execute(f"PRAGMA query_only = {not create}")
            yield connection
    except sqlite3.Error as error:
        raise sqlite.explained(error, target.shown) from error
    except OSError as error:
        raise UnusableDatabase(f"{target.shown}: {error}") from error


def on_server(target: Target, use: Callable[[Any], Awaitable[T]]) -> T:
    """Run `use(connection)` on a new connection and explain errors of the driver."""
    from headrace.db.postgres.connection import first_connection
    from headrace.db.schema.postgres import explained

    async def run() -> T:
        async with explained(target.shown), first_connection(target) as (_, connection):
            return await use(connection)

    return asyncio.run(run())


def _copy(target: Target, revisions: list[str]) -> str:
    """Copy a snapshot of a SQLite file into its directory; return the path of the copy."""
    copy = Path(f"{target.path}.{'-'.join(revisions) or 'unstamped'}.bak")
    if copy.exists():
        raise UnusableDatabase(
            f"{copy} already exists, from an earlier upgrade. Move it away, then try again."
        )
    with _file(target, create=False) as source, closing(sqlite3.connect(copy)) as destination:
        source.backup(destination)
    return str(copy)


def _migrate(uri: str, target: Target, backup: str) -> None:
    if target.dialect == "postgres":
        uri = f"postgresql+{_driver()}{uri[uri.index('://') :]}"
    process = subprocess.run(
        [sys.executable, "-c", _UPGRADE],
        env={**os.environ, URI_VARIABLE: uri},
        stdout=sys.stderr,
        check=False,
    )
    if process.returncode:
        back = f" Copy of the file before the migrations: {backup}" if backup else ""
        raise UnusableDatabase(
            f"{target.shown}: MLflow's migrations failed with exit code {process.returncode}; its "
            f"messages are above.{back}"
        )


def _driver() -> str:
    for name in DRIVERS:
        if importlib.util.find_spec(name):
            return name
    raise UnusableDatabase(
        f"MLflow needs a Python driver for PostgreSQL: {own_install_command('mlflow')}"
    )
