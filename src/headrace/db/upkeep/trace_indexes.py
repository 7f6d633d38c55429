"""Indexes for searches of traces that MLflow's schema lacks: `headrace db index`.

They are optional. MLflow ignores them, and `drop` leaves MLflow's own schema. The values of tags and
metadata may have 8,000 characters, more than a B-tree of PostgreSQL takes; there the index has the
first 250, and searches for shorter values use it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.db.schema import sqlite
from headrace.db.schema.facts import UnusableDatabase
from headrace.db.upkeep import schema
from headrace.db.uri import parse

if TYPE_CHECKING:
    from headrace.db.uri import Target


class Index(NamedTuple):
    """An index; the texts follow CREATE INDEX … ON."""

    name: str
    use: str  # for people
    postgres: str
    sqlite: str | None  # None: this database has no such index


VALUES: Final = (
    Index(
        "headrace_trace_tags",
        "searches by the value of a tag",
        "trace_tags (key, substr(value, 1, 250), request_id)",
        "trace_tags (key, value, request_id)",
    ),
    Index(
        "headrace_trace_metadata",
        "searches by the value of metadata, and by run",
        "trace_request_metadata (key, substr(value, 1, 250), request_id)",
        "trace_request_metadata (key, value, request_id)",
    ),
    Index(
        "headrace_span_names",
        "searches by the name of a span",
        "spans (experiment_id, substr(name, 1, 250), trace_id)",
        "spans (experiment_id, name, trace_id)",
    ),
)
TEXT: Final = (
    Index(
        "headrace_span_text",
        "searches for text in spans",
        "spans USING gin (content gin_trgm_ops)",
        None,
    ),
)
_IS_VALID: Final = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
_EXTENSION: Final = "CREATE EXTENSION IF NOT EXISTS pg_trgm"


def create(uri: str, *, text: bool = False) -> list[str]:
    """Create the indexes that do not exist; return lines for people. Servers may keep running.

    `text`: also the index for text in spans, which only PostgreSQL has. Raises UriError,
    UnusableDatabase.
    """
    target = _checked(uri)
    wanted = (*VALUES, *TEXT) if text else VALUES
    if target.dialect == "postgres":
        return schema.on_server(target, lambda connection: _create(connection, wanted))
    if text:
        raise UnusableDatabase(f"{target.shown}: SQLite has no index for text in spans")
    with closing(_open(target)) as connection:
        for index in wanted:
            _execute(
                target, connection, f"CREATE INDEX IF NOT EXISTS {index.name} ON {index.sqlite}"
            )
        _execute(target, connection, "ANALYZE")
    return _lines("has the index", wanted)


def drop(uri: str) -> list[str]:
    """Remove all of these indexes; return lines for people. Raises UriError, UnusableDatabase."""
    target = _checked(uri)
    if target.dialect == "postgres":
        return schema.on_server(target, _drop)
    with closing(_open(target)) as connection:
        for index in VALUES:
            _execute(target, connection, f"DROP INDEX IF EXISTS {index.name}")
    return _lines("no longer has the index", VALUES)


def _checked(uri: str) -> Target:
    """Raises UnusableDatabase for a database without the tables of MLflow 3.17."""
    target = parse(uri)
    lost = {name.partition(".")[0] for name in schema.check(uri).missing}
    if lost & {"trace_tags", "trace_request_metadata", "spans"} or not schema.check(uri).head:
        raise UnusableDatabase(f"{target.shown} has no traces of MLflow 3.17 or later")
    return target


def _lines(what: str, indexes: tuple[Index, ...]) -> list[str]:
    found = [f"{what} {index.name} for {index.use}" for index in indexes]
    return [*found, "Restart the servers, so that they know it."]


def _open(target: Target) -> sqlite3.Connection:
    return sqlite3.connect(target.path, timeout=schema.BUSY_TIMEOUT_S, isolation_level=None)


def _execute(target: Target, connection: sqlite3.Connection, statement: str) -> None:
    try:
        connection.execute(statement)
    except sqlite3.Error as error:
        raise sqlite.explained(error, target.shown) from error


async def _create(connection: Any, wanted: tuple[Index, ...]) -> list[str]:
    # CONCURRENTLY: writers need not wait. One that was interrupted left an index that is not valid.
    if TEXT[0] in wanted:
        await connection.execute(_EXTENSION)
    for index in wanted:
        if await connection.fetchval(_IS_VALID, index.name) is False:
            await connection.execute(f"DROP INDEX CONCURRENTLY {index.name}")
        await connection.execute(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index.name} ON {index.postgres}"
        )
    await connection.execute("ANALYZE trace_tags, trace_request_metadata, spans")
    return _lines("has the index", wanted)


async def _drop(connection: Any) -> list[str]:
    for index in (*VALUES, *TEXT):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
    return _lines("no longer has the index", (*VALUES, *TEXT))
