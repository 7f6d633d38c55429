"""What `headrace db check`, `init` and `upgrade` do. Printing is the command line's part."""

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

from headrace.db.schema import heads
from headrace.db.schema.facts import MLFLOW_TABLES, UnusableDatabase
from headrace.db.uri import parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from headrace.db.schema.facts import Columns, Facts
    from headrace.db.uri import Target

T = TypeVar("T")
BUSY_TIMEOUT_S: Final = 20.0
CONNECT_TIMEOUT_S: Final = 10.0
DRIVERS: Final = ("psycopg", "psycopg2")  # what stock MLflow can reach PostgreSQL with
PROXIED_EXPERIMENT_0: Final = "mlflow-artifacts:/0"
# In a variable and not in the arguments, where everyone on the machine could read the password.
URI_VARIABLE: Final = "HEADRACE_UPGRADE_URI"
_UPGRADE: Final = (
    f"import os; from mlflow.cli import cli; cli(['db', 'upgrade', os.environ['{URI_VARIABLE}']])"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a database is. `head` is empty where there are no tables at all."""

    uri: str  # without its password
    head: str = ""
    release: str | None = None  # in words; None for a revision that is not known
    created: bool = False  # MLflow's tables were made just now
    current: bool = False  # at the revision that headrace itself creates
    missing: tuple[str, ...] = ()  # tables, and columns as `table.column`
    lost: tuple[str, ...] = ()  # what is not served because of it, in words
    warnings: tuple[str, ...] = ()
    backup: str = ""  # the copy of a SQLite file that `upgrade` made before it began

    def lines(self) -> list[str]:
        """The report for a person."""
        if not self.head:
            return [
                f"{self.uri} has none of MLflow's tables yet. The server makes them when it starts, or: "
                f"headrace db init {self.uri}"
            ]
        made = ", made just now" if self.created else ""
        found = [
            f"database  {self.uri}",
            f"schema    {self.head} ({self.release or 'of an unknown release'}){made}",
        ]
        found += [f"missing   {name}" for name in self.missing]
        found += [f"no        {text}" for text in self.lost]
        found += [f"backup    {self.backup}"] if self.backup else []
        found += list(self.warnings)
        if self.current:
            return [*found, "Nothing to do."]
        if self.lost:
            return [*found, f"Served as it is. The rest comes with: headrace db upgrade {self.uri}"]
        return [*found, "Served as it is."]


def check(uri: str) -> Report:
    """What the database is; writes nothing. Raises UriError, and UnusableDatabase if it cannot serve."""
    target = parse(uri)
    facts = _inspect(target)
    return Report(target.shown) if facts is None else _report(target, facts)


def init(uri: str, default_location: str = PROXIED_EXPERIMENT_0) -> Report:
    """Make MLflow's tables, also beside tables of others; a database that has them stays as it is.

    `default_location`: where experiment 0 keeps its artifacts. Raises UriError, UnusableDatabase.
    """
    target = parse(uri)
    if target.dialect == "sqlite":
        from headrace.db.schema import sqlite

        with _file(target, create=True) as connection:
            return _report(target, sqlite.prepare(connection, target.shown, default_location))
    from headrace.db.schema import postgres

    async def prepare(connection: Any) -> Facts:  # asyncpg has no types
        return await postgres.prepare(connection, target.shown, default_location)

    return _report(target, _on_server(target, prepare))


def upgrade(uri: str) -> Report:
    """Bring an older database to the installed MLflow's revision, with that MLflow's own migrations.

    A SQLite file is copied first: its migrations cannot be undone. PostgreSQL's run in a transaction.
    Messages of MLflow go to this process's standard error. Raises UriError, UnusableDatabase.
    """
    target = parse(uri)
    revisions, columns = _look(target)
    if not MLFLOW_TABLES & frozenset(columns):
        raise UnusableDatabase(
            f"{target.shown} has none of MLflow's tables. Create them with: headrace db init "
            f"{target.shown}"
        )
    if revisions == [heads.CURRENT]:
        return check(uri)
    if importlib.util.find_spec("mlflow") is None:
        raise UnusableDatabase(
            "The migrations are those of the mlflow package, which is not installed. Get it with: "
            "pip install 'headrace[mlflow]'"
        )
    backup = _copy(target, revisions) if target.dialect == "sqlite" else ""
    _migrate(uri, target, backup)
    facts = _inspect(target)
    assert facts is not None, "a migrated database has tables"
    return _report(target, facts, backup=backup)


def _report(target: Target, facts: Facts, *, backup: str = "") -> Report:
    return Report(
        uri=target.shown,
        head=facts.head,
        release=facts.release,
        created=facts.created,
        current=facts.head == heads.CURRENT and not facts.missing,
        missing=facts.missing,
        lost=facts.lost,
        warnings=facts.warnings,
        backup=backup,
    )


def _inspect(target: Target) -> Facts | None:
    if target.dialect == "sqlite":
        from headrace.db.schema import sqlite

        with _file(target, create=False) as connection:
            return sqlite.inspect(connection, target.shown)
    from headrace.db.schema import postgres

    async def inspect(connection: Any) -> Facts | None:  # asyncpg has no types
        return await postgres.inspect(connection, target.shown)

    return _on_server(target, inspect)


def _look(target: Target) -> tuple[list[str], Columns]:
    if target.dialect == "sqlite":
        from headrace.db.schema import sqlite

        with _file(target, create=False) as connection:
            return sqlite.read_tables(connection)
    from headrace.db.schema import postgres

    return _on_server(target, postgres.look)


@contextmanager
def _file(target: Target, *, create: bool) -> Iterator[sqlite3.Connection]:
    """A connection to the file, driver errors explained. Without `create` it cannot write."""
    from headrace.db.schema.sqlite import explained

    path = Path(target.path)
    if not create and not path.exists():
        raise UnusableDatabase(
            f"{target.shown}: there is no such file ({path}). Create it with: headrace db init "
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
        raise explained(error, target.shown) from error
    except OSError as error:
        raise UnusableDatabase(f"{target.shown}: {error}") from error


def _on_server(target: Target, use: Callable[[Any], Awaitable[T]]) -> T:
    """Run `use(connection)` on a connection of its own, driver errors explained."""
    from headrace.db.postgres.connection import first_connection
    from headrace.db.schema.postgres import explained

    async def run() -> T:
        async with explained(target.shown), first_connection(target) as (_, connection):
            return await use(connection)

    return asyncio.run(run())


def _copy(target: Target, revisions: list[str]) -> str:
    """Copy a SQLite file beside itself, as of one moment, while others may use it; the copy's path."""
    copy = Path(f"{target.path}.{'-'.join(revisions) or 'unstamped'}.bak")
    if copy.exists():
        raise UnusableDatabase(
            f"{copy} exists already, from an upgrade before. Move it away, then try again."
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
        back = f" The file as it was before: {backup}" if backup else ""
        raise UnusableDatabase(
            f"{target.shown}: MLflow's migrations failed with exit code {process.returncode}; its "
            f"messages are above.{back}"
        )


def _driver() -> str:
    for name in DRIVERS:
        if importlib.util.find_spec(name):
            return name
    raise UnusableDatabase(
        "MLflow needs a driver of its own for PostgreSQL: pip install 'psycopg[binary]'"
    )
