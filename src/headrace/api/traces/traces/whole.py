"""Handlers that read traces with their spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from headrace.api.context import Context
from headrace.api.pieces import answer_in_pieces
from headrace.api.results import Chunks, Encoded, NotNative, TooLong, encode
from headrace.api.traces.spans import read_sql as spans_sql
from headrace.api.traces.spans.read_sql import Contents
from headrace.api.traces.spans.view import spans_json
from headrace.api.traces.traces import read_sql, view
from headrace.api.traces.traces.pieces import SPAN_BYTES, whole
from headrace.api.traces.traces.reads import distinct, experiments_of
from headrace.api.traces.traces.types import BatchGetTraces, GetTrace, TraceInfo
from headrace.auth.redactions import Hidden, hidden
from headrace.contract.errors import ApiError, ErrorCode, not_found
from headrace.db.base import Database

if TYPE_CHECKING:
    from headrace.api.traces.traces.read_sql import Found
    from headrace.db.base import Tx

# Traces whose spans are read at once, and the maximum number of these spans and of their bytes.
FEW_TRACES: Final = 20
MAX_SPANS: Final = 1000
MAX_SPAN_BYTES: Final = 256 << 10
# MLflow waits so long for spans that have not arrived.
WAITS_S: Final = (1.0, 2.0)


async def _read(
    tx: Tx, ids: Sequence[str], experiments: Sequence[int] | None
) -> tuple[Found, Contents]:
    """Return traces, and the contents of their spans if these are few."""
    found = await read_sql.read_few(tx, ids, experiments)
    if not found.rows:
        return found, Contents({}, complete=True)
    known = [row[0] for row in found.rows]
    return found, await spans_sql.small(tx, known, MAX_SPAN_BYTES, MAX_SPANS)


def _location(info: TraceInfo) -> str | None:
    """Return where the spans of a trace are."""
    tags = msgspec.json.decode(info.tags) if info.tags else {}
    found: str | None = tags.get(read_sql.SPANS_LOCATION)
    return found


def _check_location(location: str | None) -> None:
    """Raise unless the spans are rows of this database; archived ones are left to stock MLflow."""
    if location == "ARCHIVE_REPO":
        raise NotNative
    if location != "TRACKING_STORE":
        raise ApiError(ErrorCode.INTERNAL_ERROR, "Trace data not stored in tracking store")


def _expected_spans(info: TraceInfo) -> int:
    """Return the number of spans that the client announced; 0 if it did not."""
    metadata = msgspec.json.decode(info.trace_metadata) if info.trace_metadata else {}
    return read_sql.announced_spans(metadata.get(read_sql.SIZE_STATS))


async def get(req: GetTrace, ctx: Context) -> Encoded | Chunks:
    """GET /3.0/mlflow/traces/get

    The trace with its spans, the roots first. Waits up to 3 s for spans that have not arrived, unless
    `allow_partial` is true. Archived traces are left to stock MLflow. Errors:
    RESOURCE_DOES_NOT_EXIST (no such trace, spans missing), INTERNAL_ERROR (the spans are elsewhere).
    """
    read_sql.check_served(ctx.db.schema)
    for wait_s in (*WAITS_S, None):
        answer = await _get_once(hidden(ctx.access), ctx.db, req.trace_id, bool(req.allow_partial))
        if answer is not None:
            return answer
        if wait_s is not None:
            await asyncio.sleep(wait_s)
    raise not_found(
        f"Trace with ID {req.trace_id} is not fully exported yet, please try again later."
    )


async def _get_once(
    withheld: Hidden, db: Database, trace_id: str, allow_partial: bool
) -> Encoded | Chunks | None:
    """Return the answer, or None if spans are missing."""
    try:
        found, contents = await db.read_point(_read, [trace_id], None)
    except TooLong:
        return await _get_long(withheld, db, trace_id, allow_partial)
    if not found.rows:
        raise not_found(f"Trace with ID {trace_id} is not found.")
    info = view.infos(found, withheld)[0]
    _check_location(_location(info))
    texts = contents.of_trace.get(trace_id, [])
    if "" in texts:  # the trace has just been archived
        raise NotNative
    number = len(texts) if contents.complete else await db.read(spans_sql.count, trace_id)
    if not allow_partial and (not number or number < _expected_spans(info)):
        return None
    if not contents.complete:
        return Chunks(answer_in_pieces(b"trace", whole(withheld, db, trace_id, info)))
    return Encoded(b'{"trace":%b}' % await _trace_json(info, texts))


async def _get_long(
    withheld: Hidden, db: Database, trace_id: str, allow_partial: bool
) -> Chunks | None:
    """As `_get_once`, for a trace with very many tags or assessments."""
    location, expected = await db.read(read_sql.facts, trace_id)
    _check_location(location)
    number = await db.read(spans_sql.count, trace_id)
    if not allow_partial and (not number or number < expected):
        return None
    return Chunks(answer_in_pieces(b"trace", whole(withheld, db, trace_id, None)))


async def _trace_json(info: TraceInfo, texts: Sequence[str]) -> bytes:
    """Return the JSON of a trace. Between pieces of its spans, the event loop may do other work."""
    shown: list[bytes] = []
    start = size = 0
    for end, text in enumerate(texts, 1):
        size += len(text)
        if size > SPAN_BYTES or end == len(texts):
            shown.append(await spans_json(texts[start:end]))
            start, size = end, 0
            if end < len(texts):
                await asyncio.sleep(0)
    spans = b',"spans":[%b]' % b",".join(shown) if shown else b""
    return b'{"trace_info":%b%b}' % (encode(info), spans)


async def batch_get(req: BatchGetTraces, ctx: Context) -> Encoded | Chunks:
    """GET /3.0/mlflow/traces/batchGet

    Whole traces in the order of the ids. Traces that do not exist, belong to other experiments, or
    lack spans are left out. We differ: so are traces whose spans are elsewhere. If one of them is
    archived, the request is left to stock MLflow.
    """
    read_sql.check_served(ctx.db.schema)
    ids, experiments = distinct(req.trace_ids), experiments_of(req.experiment_ids)
    if not ids:
        return Encoded(b"{}")
    if await ctx.db.read(read_sql.any_archived, ids):
        raise NotNative
    withheld = hidden(ctx.access)
    if len(ids) <= FEW_TRACES:
        try:
            found, contents = await ctx.db.read(_read, ids, experiments)
        except TooLong:
            pass
        else:
            if contents.complete:
                shown = [part async for part in _small(withheld, found, contents)]
                return Encoded(b'{"traces":[%b]}' % b",".join(shown) if shown else b"{}")
    return Chunks(_batch(withheld, ctx.db, ids, experiments))


async def _small(withheld: Hidden, found: Found, contents: Contents) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of each complete trace; `contents` has all their spans."""
    for info in view.infos(found, withheld):
        texts = contents.of_trace.get(info.trace_id, [])
        is_complete = texts and "" not in texts and len(texts) >= _expected_spans(info)
        if is_complete and _location(info) == "TRACKING_STORE":
            yield await _trace_json(info, texts)


async def _batch(
    withheld: Hidden, db: Database, ids: Sequence[str], experiments: Sequence[int] | None
) -> AsyncGenerator[bytes, None]:
    """Yield the answer to batchGet in pieces."""
    before, end = b'{"traces":[', b"{}"
    for start in range(0, len(ids), FEW_TRACES):
        some = ids[start : start + FEW_TRACES]
        try:
            found, contents = await db.read(_read, some, experiments)
        except TooLong:
            found, contents = None, Contents({}, complete=False)
        if found is not None and contents.complete:
            async with aclosing(_small(withheld, found, contents)) as traces:
                async for trace in traces:
                    yield before + trace
                    before, end = b",", b"]}"
            continue
        if experiments is not None:
            some = await db.read(read_sql.within, some, experiments)
        for trace_id in some:
            location, expected = await db.read(read_sql.facts, trace_id)
            number = await db.read(spans_sql.count, trace_id)
            if location != "TRACKING_STORE" or not number or number < expected:
                continue
            async with aclosing(whole(withheld, db, trace_id, None)) as parts:
                async for part in parts:
                    yield before + part
                    before = b""
            before, end = b",", b"]}"
    yield end
