"""Makes and drops headrace's own indexes on a database: `headrace db tune`, `headrace db release`.

Functions import the modules of one kind of database, because a command on a SQLite file need not
load asyncpg.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.db.schema import indexes
from headrace.db.schema.facts import UnusableDatabase
from headrace.db.uri import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from headrace.db.base import Dialect, Schema
    from headrace.db.schema.indexes import Index
    from headrace.db.uri import Target

    # Done, total, and a text.
    Progress = Callable[[int, int, str], None]

T = TypeVar("T")
KNOWN: Final = "Restart the servers, so that searches for traces use it."


def tune(
    uri: str,
    *,
    traces: bool = False,
    trace_text: bool = False,
    progress: Progress = lambda done, total, text: None,
) -> list[str]:
    """Make the indexes that do not exist; return lines for people. Servers may keep running.

    `traces`: also those for searches of traces. `trace_text`: also the one for text in spans, which
    needs the extension pg_trgm. Raises UriError, UnusableDatabase.
    """
    target = parse(uri)
    groups = [*indexes.TUNED, *(indexes.TRACES if traces else ())]
    groups += [indexes.TRACE_TEXT] if trace_text else []
    if target.dialect == "sqlite":
        if traces or trace_text:
            raise UnusableDatabase(
                f"{target.shown}: the indexes for traces are for PostgreSQL only"
            )
        return _tune_file(target, groups, progress)
    return _until_a_signal(_tune_server(target, groups, progress))


def _until_a_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run work that SIGTERM cancels, as Ctrl+C does. Raises KeyboardInterrupt then.

    Otherwise PostgreSQL would continue to make an index after the process has ended.
    """

    async def run() -> T:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        with suppress(NotImplementedError, RuntimeError):  # Windows; not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def release(uri: str, *, keep_indexes: bool = False) -> list[str]:
    """Return a database to the state in which stock MLflow leaves it; return lines for people.

    Raises UriError, UnusableDatabase.
    """
    target = parse(uri)
    if target.dialect == "sqlite":
        return _release_file(target, keep_indexes=keep_indexes)
    return asyncio.run(_release_server(target, keep_indexes=keep_indexes))


def make_again(target: Target, names: set[str]) -> None:
    """Make those of these indexes that a migration has dropped or changed. Raises UnusableDatabase."""
    groups = [index for index in indexes.ALL if index.name in names]
    if target.dialect == "sqlite":
        _tune_file(target, groups, lambda done, total, text: None)
    else:
        asyncio.run(_tune_server(target, groups, lambda done, total, text: None))


def wanted(schema: Schema | None, dialect: Dialect, groups: list[Index], shown: str) -> list[Index]:
    """The indexes of these groups that fit the database. Raises UnusableDatabase if tables lack."""
    if schema is None:
        raise UnusableDatabase(
            f"{shown} has none of MLflow's tables yet. The server makes them, with these indexes, when it "
            f"starts, or: headrace db init {shown}"
        )
    optional = [index for index in groups if index not in indexes.TUNED]
    if not all(index.fits(schema, dialect) for index in optional):
        raise UnusableDatabase(f"{shown} has no tables for traces of MLflow 3.17 or later")
    return [index for index in groups if index.fits(schema, dialect)]


def _tune_file(target: Target, groups: list[Index], progress: Progress) -> list[str]:
    from headrace.db.schema import sqlite as schema
    from headrace.db.upkeep import tune_sqlite

    with closing(_file(target)) as connection:
        try:
            chosen = wanted(
                schema.inspect(connection, target.shown), "sqlite", groups, target.shown
            )
            return tune_sqlite.create(connection, chosen, progress)
        except sqlite3.Error as error:
            raise schema.explained(error, target.shown) from error


def _release_file(target: Target, *, keep_indexes: bool) -> list[str]:
    from headrace.db.schema import sqlite as schema
    from headrace.db.sqlite import journal
    from headrace.db.upkeep import tune_sqlite

    with closing(_file(target, timeout_s=journal.RELEASE_TIMEOUT_S)) as connection:
        try:
            mode = journal.release(connection)  # refuses an open file before anything changes
            dropped = [] if keep_indexes else tune_sqlite.drop(connection)
        except sqlite3.Error as error:
            raise schema.explained(error, target.shown) from error
    return [*dropped, f"{target.shown} is in journal mode {mode}, as stock MLflow leaves it."]


def _file(target: Target, timeout_s: float = 20.0) -> sqlite3.Connection:
    if not Path(target.path).exists():
        raise UnusableDatabase(f"{target.shown}: the file {target.path} does not exist.")
    return sqlite3.connect(target.path, timeout=timeout_s, isolation_level=None)


async def _tune_server(target: Target, groups: list[Index], progress: Progress) -> list[str]:
    from headrace.db.postgres.connection import first_connection
    from headrace.db.schema import postgres as schema
    from headrace.db.upkeep import tune_postgres

    async with (
        schema.explained(target.shown),
        first_connection(target) as (connector, connection),
    ):
        facts = await schema.inspect(connection, target.shown)
        chosen = wanted(facts, "postgres", groups, target.shown)
        lines = await tune_postgres.create(connector, connection, chosen, progress)
    return [*lines, KNOWN] if len(chosen) > len(indexes.TUNED) else lines


async def _release_server(target: Target, *, keep_indexes: bool) -> list[str]:
    from headrace.db.postgres.connection import first_connection
    from headrace.db.schema import postgres as schema
    from headrace.db.upkeep import tune_postgres

    async with (
        schema.explained(target.shown),
        first_connection(target) as (_, connection),
    ):
        lines = [] if keep_indexes else await tune_postgres.drop(connection)
    kept = " but for headrace's indexes" if keep_indexes else ""
    return [*lines, f"{target.shown} is as stock MLflow leaves it{kept}."]
