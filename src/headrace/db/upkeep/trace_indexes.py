"""Indexes for searches of traces that MLflow's schema lacks: `headrace db index`. PostgreSQL only.

They are optional. MLflow ignores them, and `drop` leaves MLflow's own schema. The values of tags and
metadata may have 8,000 characters, more than a B-tree takes; so the index has the first 250, and
searches for shorter values use it. SQLite evaluates the conditions of a search trace by trace, in
the order of the answer, and would not use such indexes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.db.schema.facts import UnusableDatabase
from headrace.db.upkeep import schema
from headrace.db.uri import parse

if TYPE_CHECKING:
    from headrace.db.uri import Target


class Index(NamedTuple):
    """An index; `text` follows CREATE INDEX … ON."""

    name: str
    use: str  # for people
    text: str


VALUES: Final = (
    Index(
        "headrace_trace_tags",
        "searches by the value of a tag",
        "trace_tags (key, substr(value, 1, 250), request_id)",
    ),
    Index(
        "headrace_trace_metadata",
        "searches by the value of metadata, and by run",
        "trace_request_metadata (key, substr(value, 1, 250), request_id)",
    ),
    Index(
        "headrace_span_names",
        "searches by the name of a span",
        "spans (experiment_id, substr(name, 1, 250), trace_id)",
    ),
)
TEXT: Final = Index(
    "headrace_span_text",
    "searches for text in spans",
    "spans USING gin (content gin_trgm_ops)",
)
_IS_VALID: Final = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
_EXTENSION: Final = "CREATE EXTENSION IF NOT EXISTS pg_trgm"


def create(uri: str, *, text: bool = False) -> list[str]:
    """Create the indexes that do not exist; return lines for people. Servers may keep running.

    `text`: also the index for text in spans, which needs the extension pg_trgm. Raises UriError,
    UnusableDatabase.
    """
    wanted = (*VALUES, TEXT) if text else VALUES
    return schema.on_server(_checked(uri), lambda connection: _create(connection, wanted))


def drop(uri: str) -> list[str]:
    """Remove all of these indexes; return lines for people. Raises UriError, UnusableDatabase."""
    return schema.on_server(_checked(uri), _drop)


def _checked(uri: str) -> Target:
    """Raises UnusableDatabase for SQLite, and for a database without the tables of MLflow 3.17."""
    target = parse(uri)
    if target.dialect != "postgres":
        raise UnusableDatabase(f"{target.shown}: these indexes are for PostgreSQL only")
    report = schema.check(uri)
    lost = {name.partition(".")[0] for name in report.missing}
    if not report.head or lost & {"trace_tags", "trace_request_metadata", "trace_info", "spans"}:
        raise UnusableDatabase(f"{target.shown} has no tables for traces of MLflow 3.17 or later")
    return target


def _lines(what: str, indexes: tuple[Index, ...]) -> list[str]:
    found = [f"{what} {index.name} for {index.use}" for index in indexes]
    return [*found, "Restart the servers, so that they know it."]


async def _create(connection: Any, wanted: tuple[Index, ...]) -> list[str]:
    if TEXT in wanted:
        await connection.execute(_EXTENSION)
    for index in wanted:
        # CONCURRENTLY: writers need not wait. If it was interrupted, the index is there but not valid.
        if await connection.fetchval(_IS_VALID, index.name) is False:
            await connection.execute(f"DROP INDEX CONCURRENTLY {index.name}")
        await connection.execute(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index.name} ON {index.text}"
        )
    await connection.execute("ANALYZE trace_tags, trace_request_metadata, spans")
    return _lines("has the index", wanted)


async def _drop(connection: Any) -> list[str]:
    for index in (*VALUES, TEXT):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
    return _lines("no longer has the index", (*VALUES, TEXT))
