"""SQL that reads the spans of traces: roots first, then by start time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.db.sql import Sql

if TYPE_CHECKING:
    from headrace.db.base import Tx

MAX_KEYS: Final = 10_000  # keys of spans in one read
# The place of a span in its trace: (0 for a root, else 1; start in ns; id).
SpanPosition = tuple[int, int, str]
FIRST: Final[SpanPosition] = (-1, 0, "")
_IS_CHILD: Final = "CASE WHEN s.parent_span_id IS NULL THEN 0 ELSE 1 END"
_ORDER: Final = f"{_IS_CHILD}, s.start_time_unix_nano, s.span_id"


class SpanKey(NamedTuple):
    """The place of a span, and the number of bytes of its content."""

    is_child: int
    start_ns: int
    span_id: str
    size: int


class Contents(NamedTuple):
    """The contents of spans by trace, `complete` if all of them fit; otherwise there are none."""

    of_trace: dict[str, list[str]]
    complete: bool


# Of traces with at most $2 bytes of contents and $3 spans together; else no row. One statement, since
# most traces are small. The condition does not depend on the row, so it is evaluated once.
_SMALL: Final = (
    "SELECT s.trace_id, s.content FROM spans s WHERE s.trace_id {of} AND (SELECT count(*) <= $3 AND"
    " sum({{bytes x.content}}) <= $2 FROM spans x WHERE x.trace_id {of})"
    f" ORDER BY s.trace_id, {_ORDER}"
)
SMALL = Sql(_SMALL.format(of="{in $1 text}"))
SMALL_ONE = Sql(_SMALL.format(of="= $1"))
# The keys after a place ($2 to $4), at most $5.
KEYS = Sql(
    f"SELECT {_IS_CHILD}, s.start_time_unix_nano, s.span_id, {{bytes s.content}} FROM spans s"
    f" WHERE s.trace_id = $1 AND ({_ORDER}) > (CAST($2 AS integer), CAST($3 AS bigint), CAST($4 AS varchar))"
    f" ORDER BY {_ORDER} LIMIT $5"
)
BY_ID = Sql(
    f"SELECT s.content FROM spans s WHERE s.trace_id = $1 AND s.span_id {{in $2 text}} ORDER BY {_ORDER}"
)
WHOLE = Sql(
    "SELECT s.trace_id, s.content FROM spans s WHERE s.trace_id {in $1 text}"
    f" ORDER BY s.trace_id, {_ORDER}"
)
COUNT = Sql("SELECT count(*) FROM spans WHERE trace_id = $1")


async def small(tx: Tx, trace_ids: Sequence[str], most_bytes: int, most_spans: int) -> Contents:
    """Return the contents of the traces' spans if they fit in these limits."""
    if len(trace_ids) == 1:  # an array costs three times as much
        rows = await tx.fetch(SMALL_ONE, trace_ids[0], most_bytes, most_spans)
    else:
        rows = await tx.fetch(SMALL, tx.array(trace_ids), most_bytes, most_spans)
    if not rows:
        # Either there are no spans, or they are too large.
        complete = not [id_ for id_ in trace_ids if await count(tx, id_)]
        return Contents({}, complete)
    of_trace: dict[str, list[str]] = {}
    for trace_id, content in rows:
        of_trace.setdefault(trace_id, []).append(content)
    return Contents(of_trace, complete=True)


async def whole(tx: Tx, trace_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the contents of all spans by trace, for the Python API."""
    of_trace: dict[str, list[str]] = {}
    for trace_id, content in await tx.fetch(WHOLE, tx.array(trace_ids)):
        of_trace.setdefault(trace_id, []).append(content)
    return of_trace


async def keys(tx: Tx, trace_id: str, after: SpanPosition) -> list[SpanKey]:
    """Return the keys of at most MAX_KEYS spans of a trace that follow a place."""
    return [SpanKey(*row) for row in await tx.fetch(KEYS, trace_id, *after, MAX_KEYS)]


async def by_id(tx: Tx, trace_id: str, ids: Sequence[str]) -> list[str]:
    """Return the contents of these spans of a trace that exist, in order."""
    return [row[0] for row in await tx.fetch(BY_ID, trace_id, tx.array(ids))]


async def count(tx: Tx, trace_id: str) -> int:
    """Return the number of a trace's spans."""
    row = await tx.fetchrow(COUNT, trace_id)
    assert row is not None, "an aggregate has a row"
    return int(row[0])
