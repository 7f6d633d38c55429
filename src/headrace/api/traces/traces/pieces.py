"""Traces in pieces: pages of many traces, traces with very many tags or assessments, many spans."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from headrace.api.pieces import Listing, Many, groups, in_pieces
from headrace.api.results import encode
from headrace.api.traces.assessments import read_sql as assessments_sql
from headrace.api.traces.assessments.view import assessment
from headrace.api.traces.spans import read_sql as spans_sql
from headrace.api.traces.spans.view import spans_json
from headrace.api.traces.traces import read_sql, view
from headrace.contract.limits import (
    MAX_SHOWN_METADATA,
    MAX_SHOWN_TRACE_TAG_KEY,
    MAX_SHOWN_TRACE_TAG_VALUE,
)

if TYPE_CHECKING:
    from msgspec import Raw

    from headrace.api.traces.spans.archived import Archive
    from headrace.api.traces.traces.read_sql import Found
    from headrace.api.traces.traces.types import TraceInfo, TraceInfoV2
    from headrace.auth.redactions import Hidden
    from headrace.db.base import Database, Row

# Bytes of stored spans that are converted in one call: about 4 ms of the event loop.
SPAN_BYTES: Final = 64 << 10
_ASSESSMENTS: Final = Many(
    b"assessments",
    lambda _: assessments_sql.SIZES,
    lambda _: assessments_sql.BY_ID,
    lambda row: assessment(assessments_sql.AssessmentRow(*row)),
)


def _tag(row: Row) -> tuple[str, str]:
    return row[0][:MAX_SHOWN_TRACE_TAG_KEY], (row[1] or "")[:MAX_SHOWN_TRACE_TAG_VALUE]


def _metadata(row: Row) -> tuple[str, str]:
    return row[0][:MAX_SHOWN_METADATA], (row[1] or "")[:MAX_SHOWN_METADATA]


async def parts(hidden: Hidden, db: Database, trace_id: str) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of a trace without its spans; nothing if there is no such trace."""
    row = await db.read(read_sql.read_columns, trace_id)
    if row is None:
        return
    shown = view.info(row, [], hidden)
    begun = [bytes(raw)[1:-1] if raw else b"" for raw in (shown.trace_metadata, shown.tags)]
    shown.trace_metadata = shown.tags = None
    lists = (
        Many(
            b"trace_metadata",
            lambda _: read_sql.METADATA_SIZES,
            lambda _: read_sql.METADATA_BY_KEY,
            _metadata,
            is_object=True,
            begun=begun[0],
            without=hidden.trace_metadata(),
        ),
        *(() if hidden.assessments else (_ASSESSMENTS,)),
        Many(
            b"tags",
            lambda _: read_sql.TAG_SIZES,
            lambda _: read_sql.TAGS_BY_KEY,
            _tag,
            is_object=True,
            begun=begun[1],
        ),
    )
    async with aclosing(in_pieces(db, shown, (trace_id,), lists)) as found:
        async for part in found:
            yield part


@cache
def listing(field: bytes, hidden: Hidden) -> Listing[str]:
    """Return the functions that read traces without their spans for a caller."""

    def show(found: Found) -> list[Raw]:
        return view.texts(found, hidden)

    return Listing(
        field, read_sql.weigh, read_sql.read, show, partial(parts, hidden), read_sql.read_few
    )


@cache
def listing_v2(hidden: Hidden) -> Listing[str]:
    """Return the functions that read traces for a caller with a client before MLflow 3."""

    def show(found: Found) -> list[TraceInfoV2]:
        return view.infos_v2(found.rows, hidden)

    return Listing(b"traces", read_sql.weigh, read_sql.read, show, read_few=read_sql.read_few)


async def contents(
    db: Database, trace_id: str, piece_bytes: int
) -> AsyncGenerator[Sequence[str], None]:
    """Yield the contents of a trace's spans in order, in pieces of about so many bytes."""
    place = spans_sql.FIRST
    while found := await db.read(spans_sql.keys, trace_id, place):
        weights = {key.span_id: key.size for key in found}
        for some in groups([key.span_id for key in found], weights, piece_bytes):
            texts = await db.read(spans_sql.by_id, trace_id, some)
            if texts:
                yield texts
        if len(found) < spans_sql.MAX_KEYS:
            break
        place = (found[-1].is_child, found[-1].start_ns, found[-1].span_id)


async def whole(
    hidden: Hidden,
    db: Database,
    trace_id: str,
    info: TraceInfo | None,
    archive: Archive | None = None,
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of a trace with its spans, those of an `archive` (closed at the end) or of the database.

    Without an `info` that is read in pieces too.
    """
    try:
        async with aclosing(_whole(hidden, db, trace_id, info, archive)) as found:
            async for part in found:
                yield part
    finally:
        if archive is not None:
            archive.close()


async def _whole(
    hidden: Hidden, db: Database, trace_id: str, info: TraceInfo | None, archive: Archive | None
) -> AsyncGenerator[bytes, None]:
    yield b'{"trace_info":'
    if info is not None:
        yield encode(info)
    else:
        async with aclosing(parts(hidden, db, trace_id)) as found:
            async for part in found:
                yield part
    before, end = b',"spans":[', b""
    stored = archive.contents(SPAN_BYTES) if archive else contents(db, trace_id, SPAN_BYTES)
    async with aclosing(stored) as pieces:
        async for texts in pieces:
            yield before + await spans_json(texts)
            before, end = b",", b"]"
    yield end + b"}"
