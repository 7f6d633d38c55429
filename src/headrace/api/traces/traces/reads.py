"""Handlers that read traces by id, without their spans."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from headrace.api.context import Context
from headrace.api.pieces import FEW_ITEMS, answer_in_pieces, pieces, whole_page
from headrace.api.results import Chunks, Encoded, TooLong
from headrace.api.traces.traces import read_sql, view
from headrace.api.traces.traces.pieces import listing, parts
from headrace.api.traces.traces.types import (
    BatchGetTraceInfos,
    RequestId,
    Trace,
    TraceAnswer,
    TraceId,
    TraceInfoV2Answer,
)
from headrace.auth.redactions import Hidden, hidden
from headrace.contract.errors import ApiError, not_found
from headrace.db.base import Database
from headrace.search.compile import storable
from headrace.search.parser import experiment_id


def trace_not_found(trace_id: str) -> ApiError:
    """Return the error for a trace that does not exist."""
    return not_found(f"Trace with ID '{trace_id}' not found.")


async def get_info(req: TraceId, ctx: Context) -> TraceAnswer | Chunks:
    """GET /3.0/mlflow/traces/{trace_id}

    The trace with its assessments, without its spans. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    read_sql.check_served(ctx.db.schema)
    trace_id = req.trace_id or ""
    try:
        found = await ctx.db.read_point(read_sql.read_few, [trace_id])
    except TooLong:
        return Chunks(_info_in_pieces(hidden(ctx.access), ctx.db, trace_id))
    if not found.rows:
        raise trace_not_found(trace_id)
    return TraceAnswer(trace=Trace(trace_info=view.infos(found, hidden(ctx.access))[0]))


async def _info_in_pieces(
    withheld: Hidden, db: Database, trace_id: str
) -> AsyncGenerator[bytes, None]:
    yield b'{"trace":'
    inner = answer_in_pieces(b"trace_info", parts(withheld, db, trace_id))
    async with aclosing(inner) as found:
        async for part in found:
            yield part
    yield b"}"


async def get_info_v2(req: RequestId, ctx: Context) -> TraceInfoV2Answer:
    """GET /2.0/mlflow/traces/{request_id}/info

    Errors: RESOURCE_DOES_NOT_EXIST.
    """
    read_sql.check_served(ctx.db.schema)
    request_id = req.request_id or ""
    rows = (await ctx.db.read(read_sql.read, [request_id])).rows
    if not rows:
        raise trace_not_found(request_id)
    return TraceInfoV2Answer(trace_info=view.info_v2(rows[0], hidden(ctx.access)))


def distinct(ids: Sequence[str]) -> list[str]:
    """Return each id once, at its last place, as MLflow orders the traces of a batch."""
    return list(dict.fromkeys(reversed(ids)))[::-1]


def experiments_of(ids: Sequence[str] | None) -> list[int] | None:
    """Return the numbers of experiments that a request is limited to. Raises INVALID_PARAMETER_VALUE."""
    return None if ids is None else storable([experiment_id(id_) for id_ in ids])


async def batch_get_infos(req: BatchGetTraceInfos, ctx: Context) -> Encoded | Chunks:
    """POST /3.0/mlflow/traces/batchGetInfos

    Traces that do not exist, or belong to other experiments, are left out.
    """
    read_sql.check_served(ctx.db.schema)
    ids, experiments = distinct(req.trace_ids), experiments_of(req.experiment_ids)
    if not ids:
        return Encoded(b"{}")
    infos = listing(b"trace_infos", hidden(ctx.access))
    if len(ids) <= FEW_ITEMS:
        try:
            found = await ctx.db.read(read_sql.read_few, ids, experiments)
            return whole_page(infos, infos.show(found), [row[0] for row in found.rows], None)
        except TooLong:
            pass
    if experiments is not None:
        ids = await ctx.db.read(read_sql.within, ids, experiments)
    return Chunks(pieces(ctx.db, infos, ids, None))
