"""Handlers that read traces with their spans."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from headrace.api.context import Context
from headrace.api.pieces import answer_in_pieces
from headrace.api.results import HELD_BYTES, Chunks, Encoded, TooLong, encode
from headrace.api.traces.spans import archived
from headrace.api.traces.spans import read_sql as spans_sql
from headrace.api.traces.spans.read_sql import Contents
from headrace.api.traces.spans.view import spans_json
from headrace.api.traces.traces import read_sql, view
from headrace.api.traces.traces.pieces import SPAN_BYTES, whole
from headrace.api.traces.traces.reads import distinct, experiments_of
from headrace.api.traces.traces.types import BatchGetTraces, GetTrace, TraceInfo
from headrace.auth.redactions import hidden
from headrace.contract.errors import ApiError, ErrorCode, not_found

if TYPE_CHECKING:
    from headrace.api.traces.traces.read_sql import Found
    from headrace.db.base import Tx

# Traces whose spans are read at once, and the maximum number of these spans and of their bytes.
FEW_TRACES: Final = 20
MAX_SPANS: Final = 1000
MAX_SPAN_BYTES: Final = 256 << 10
SHORT_BYTES: Final = 256 << 10  # of an answer with archived spans that is not sent in pieces
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
    """Raise unless the spans are rows of this database."""
    if location != "TRACKING_STORE":
        raise ApiError(ErrorCode.INTERNAL_ERROR, "Trace data not stored in tracking store")


def _expected_spans(info: TraceInfo) -> int:
    """Return the number of spans that the client announced; 0 if it did not."""
    metadata = msgspec.json.decode(info.trace_metadata) if info.trace_metadata else {}
    return read_sql.announced_spans(metadata.get(read_sql.SIZE_STATS))


async def get(req: GetTrace, ctx: Context) -> Encoded | Chunks:
    """GET /3.0/mlflow/traces/get

    The trace with its spans, the roots first. Waits up to 3 s for spans that have not arrived, unless
    `allow_partial` is true. Errors: RESOURCE_DOES_NOT_EXIST (no such trace, spans missing),
    INTERNAL_ERROR (the spans are elsewhere), and those of `archived.opened`.
    """
    read_sql.check_served(ctx.db.schema)
    for wait_s in (*WAITS_S, None):
        answer = await _get_once(ctx, req.trace_id, allow_partial=bool(req.allow_partial))
        if answer is not None:
            return answer
        if wait_s is not None:
            await asyncio.sleep(wait_s)
    raise not_found(
        f"Trace with ID {req.trace_id} is not fully exported yet, please try again later."
    )


async def _get_once(
    ctx: Context, trace_id: str, *, allow_partial: bool, again: bool = False
) -> Encoded | Chunks | None:
    """Return the answer, or None if spans are missing."""
    db, withheld = ctx.db, hidden(ctx.access)
    try:
        found, contents = await db.read_point(_read, [trace_id], None)
    except TooLong:
        return await _get_long(ctx, trace_id, allow_partial)
    if not found.rows:
        raise not_found(f"Trace with ID {trace_id} is not found.")
    info = view.infos(found, withheld)[0]
    location = _location(info)
    if location == read_sql.ARCHIVED:
        return await _get_archived(ctx, trace_id, info)
    _check_location(location)
    texts = contents.of_trace.get(trace_id, [])
    if "" in texts and not again:  # archived between the statements
        return await _get_once(ctx, trace_id, allow_partial=allow_partial, again=True)
    number = len(texts) if contents.complete else await db.read(spans_sql.count, trace_id)
    if not allow_partial and (not number or number < _expected_spans(info)):
        return None
    if not contents.complete:
        return Chunks(answer_in_pieces(b"trace", whole(withheld, db, trace_id, info)))
    return Encoded(b'{"trace":%b}' % await _trace_json(info, texts))


async def _get_long(ctx: Context, trace_id: str, allow_partial: bool) -> Encoded | Chunks | None:
    """As `_get_once`, for a trace with very many tags or assessments."""
    location, expected = await ctx.db.read(read_sql.facts, trace_id)
    if location == read_sql.ARCHIVED:
        return await _get_archived(ctx, trace_id, None)
    _check_location(location)
    number = await ctx.db.read(spans_sql.count, trace_id)
    if not allow_partial and (not number or number < expected):
        return None
    return Chunks(answer_in_pieces(b"trace", whole(hidden(ctx.access), ctx.db, trace_id, None)))


async def _open(ctx: Context, trace_id: str) -> archived.Archive:
    uri = await ctx.db.read_point(read_sql.archive, trace_id)
    return await archived.opened(ctx.artifacts, trace_id, uri)


async def _get_archived(ctx: Context, trace_id: str, info: TraceInfo | None) -> Encoded | Chunks:
    """The answer for an archived trace, which is never partial: without its file it has no spans."""
    archive = await _open(ctx, trace_id)
    parts = whole(hidden(ctx.access), ctx.db, trace_id, info, archive)
    return await _begun(answer_in_pieces(b"trace", parts))


async def _begun(parts: AsyncGenerator[bytes, None]) -> Encoded | Chunks:
    """An answer as a whole if it is short, so that an error in it is still an answer."""
    begun: list[bytes] = []
    size = 0
    try:
        async for part in parts:
            begun.append(part)
            size += len(part)
            if size > SHORT_BYTES:
                return Chunks(_rest(begun, parts), held_bytes=HELD_BYTES + archived.MEMORY_BYTES)
    except BaseException:
        await parts.aclose()
        raise
    return Encoded(b"".join(begun))


async def _rest(
    begun: list[bytes], parts: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts) as rest:
        yield b"".join(begun)
        begun.clear()
        async for part in rest:
            yield part


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
    lack spans are left out. We differ: so are traces whose spans are elsewhere. Errors: those of
    `archived.opened`.
    """
    read_sql.check_served(ctx.db.schema)
    ids, experiments = distinct(req.trace_ids), experiments_of(req.experiment_ids)
    if not ids:
        return Encoded(b"{}")
    if len(ids) > FEW_TRACES:
        return Chunks(_batch(ctx, ids, experiments))
    try:
        found, contents = await ctx.db.read(_read, ids, experiments)
    except TooLong:
        return Chunks(_batch(ctx, ids, experiments))
    shown = view.infos(found, hidden(ctx.access))
    if any(_location(info) == read_sql.ARCHIVED for info in shown):
        return await _begun(_batch(ctx, ids, experiments))
    if not contents.complete:
        return Chunks(_batch(ctx, ids, experiments))
    traces = [
        await _trace_json(info, contents.of_trace[info.trace_id])
        for info in shown
        if _is_complete(info, contents)
    ]
    return Encoded(b'{"traces":[%b]}' % b",".join(traces) if traces else b"{}")


def _is_complete(info: TraceInfo, contents: Contents) -> bool:
    """Whether all spans of a trace have been read."""
    texts = contents.of_trace.get(info.trace_id, [])
    is_whole = texts and "" not in texts and len(texts) >= _expected_spans(info)
    return bool(is_whole) and _location(info) == "TRACKING_STORE"


async def _batch(
    ctx: Context, ids: Sequence[str], experiments: Sequence[int] | None
) -> AsyncGenerator[bytes, None]:
    """Yield the answer to batchGet in pieces."""
    before, end = b'{"traces":[', b"{}"
    for start in range(0, len(ids), FEW_TRACES):
        async with aclosing(_some(ctx, ids[start : start + FEW_TRACES], experiments)) as traces:
            async for trace in traces:
                async with aclosing(trace) as parts:
                    async for part in parts:
                        yield before + part
                        before = b""
                before, end = b",", b"]}"
    yield end


async def _some(
    ctx: Context, ids: Sequence[str], experiments: Sequence[int] | None
) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
    """Yield the pieces of each trace of a batch that is complete."""
    db, withheld = ctx.db, hidden(ctx.access)
    try:
        found, contents = await db.read(_read, ids, experiments)
    except TooLong:
        found, contents = None, Contents({}, complete=False)
    if found is not None and contents.complete:
        for info in view.infos(found, withheld):
            if _location(info) == read_sql.ARCHIVED:
                archive = await _open(ctx, info.trace_id)
                yield whole(withheld, db, info.trace_id, info, archive)
            elif _is_complete(info, contents):
                yield _one(info, contents.of_trace[info.trace_id])
        return
    if experiments is not None:
        ids = await db.read(read_sql.within, ids, experiments)
    for trace_id in ids:
        location, expected = await db.read(read_sql.facts, trace_id)
        if location == read_sql.ARCHIVED:
            yield whole(withheld, db, trace_id, None, await _open(ctx, trace_id))
        elif location == "TRACKING_STORE":
            number = await db.read(spans_sql.count, trace_id)
            if number and number >= expected:
                yield whole(withheld, db, trace_id, None)


async def _one(info: TraceInfo, texts: Sequence[str]) -> AsyncGenerator[bytes, None]:
    yield await _trace_json(info, texts)
