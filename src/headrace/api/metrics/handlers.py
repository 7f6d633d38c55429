"""What the metric-history endpoints do. Long histories stream: memory does not grow with their length."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from headrace import search
from headrace.api.metrics import sampling_sql, sql
from headrace.api.metrics.types import (
    GetHistory,
    GetHistoryInterval,
    Point,
    PointOfRun,
    PointsOfRuns,
)
from headrace.context import Context
from headrace.db.base import Row, Tx
from headrace.errors import ApiError, ErrorCode, invalid
from headrace.http.codec import encode
from headrace.http.messages import Request, Response, StreamingResponse
from headrace.limits import (
    MAX_HISTORY_BULK_ROWS,
    MAX_HISTORY_BULK_RUNS,
    MAX_HISTORY_INTERVAL_ROWS,
)
from headrace.message import INT64_MAX, INT64_MIN

PAGE_ROWS: Final = 10_000  # points held at once; a longer history is streamed in such pieces


async def get_history(req: GetHistory, ctx: Context) -> Response:
    """GET /2.0/mlflow/metrics/get-history

    In order of timestamp, step, value. Without `max_results` everything from the token's place on, streamed
    from a cursor.
    """
    if req.max_results is None:
        offset = search.offset_of(req.page_token)
        return await _whole_history(req.run_id, req.metric_key, offset, ctx)
    limit = req.max_results
    if limit < 1:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            "It must be a positive integer."
        )
    offset = search.offset_of(req.page_token)
    if limit > PAGE_ROWS:
        return await _long_page(req.run_id, req.metric_key, limit, offset, ctx)
    rows = await ctx.db.read(sql.page, req.run_id, req.metric_key, limit + 1, offset)
    more = len(rows) > limit
    return Response(_answer(req.metric_key, rows[:limit], offset + limit if more else None))


def _points(key: str, rows: Sequence[Row]) -> bytes:
    """The points as JSON, without the brackets around them."""
    return encode(
        [
            Point(key, "NaN" if is_nan else value, timestamp, step)
            for value, timestamp, step, is_nan in rows
        ]
    )[1:-1]


def _answer(key: str, rows: Sequence[Row], next_offset: int | None) -> bytes:
    if not rows:
        return b"{}"
    return b'{"metrics":[' + _points(key, rows) + b"]" + _token(next_offset)


def _token(next_offset: int | None) -> bytes:
    if next_offset is None:
        return b"}"
    return b',"next_page_token":' + encode(search.page_token(next_offset)) + b"}"


async def _whole_history(run_id: str, key: str, offset: int, ctx: Context) -> Response:
    if offset:
        batches = ctx.db.stream(sql.HISTORY_PAGE, run_id, key, INT64_MAX, offset, batch=PAGE_ROWS)
    else:
        batches = ctx.db.stream(sql.HISTORY, run_id, key, batch=PAGE_ROWS)
    first: list[Row] = await anext(batches, [])
    if len(first) < PAGE_ROWS:
        await batches.aclose()
        return Response(_answer(key, first, None))

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b'{"metrics":[' + _points(key, first)
            async for rows in batches:
                yield b"," + _points(key, rows)
            yield b"]}"
        finally:
            await batches.aclose()

    return StreamingResponse(chunks())


async def _long_page(run_id: str, key: str, limit: int, offset: int, ctx: Context) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        left = limit
        start = b'{"metrics":['
        batches = ctx.db.stream(sql.HISTORY_PAGE, run_id, key, limit + 1, offset, batch=PAGE_ROWS)
        more = False
        try:
            async for rows in batches:
                more = len(rows) > left
                if rows[:left]:
                    yield start + _points(key, rows[:left])
                    start = b","
                left -= min(left, len(rows))
        finally:
            await batches.aclose()
        if start == b",":
            yield b"]" + _token(offset + limit if more else None)
        else:
            yield b"{}"

    return StreamingResponse(chunks())


async def get_history_bulk(request: Request, ctx: Context) -> Response:
    """GET /ajax-api/2.0/mlflow/metrics/get-history-bulk

    At most 25,000 points of at most 100 runs. NaN is the bare token here, as stock sends it.
    """
    query = request.query()
    run_ids = query.get("run_id", [])
    if not run_ids:
        raise invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(run_ids) > MAX_HISTORY_BULK_RUNS:
        raise invalid(
            f"GetMetricHistoryBulk request cannot specify more than {MAX_HISTORY_BULK_RUNS} "
            f"run_ids. Received {len(run_ids)} run_ids."
        )
    key = query.get("metric_key", [""])[0]
    if "metric_key" not in query:
        raise invalid("GetMetricHistoryBulk request must specify a metric_key.")
    text = query.get("max_results", [str(MAX_HISTORY_BULK_ROWS)])[0]
    try:
        limit = min(int(text), MAX_HISTORY_BULK_ROWS)
    except ValueError:
        raise invalid(f"max_results must be an integer, got '{text}'.") from None
    if limit < 0:
        raise ApiError(ErrorCode.BAD_REQUEST, f"max_results must not be negative, got {limit}.")
    rows = await ctx.db.read(_bulk, run_ids, key, limit)
    shown = encode(key)
    parts = [
        b'{"key":%b,"run_id":%b,"step":%d,"timestamp":%d,"value":%b}'
        % (shown, encode(run_id), step, timestamp, b"NaN" if is_nan else encode(value))
        for run_id, value, timestamp, step, is_nan in rows
    ]
    return Response(b'{"metrics":[' + b",".join(parts) + b"]}\n")


async def _bulk(tx: Tx, run_ids: Sequence[str], key: str, limit: int) -> list[Row]:
    return await tx.fetch(sql.BULK, tx.array(sorted(set(run_ids))), key, limit)


def _step_range(req: GetHistoryInterval) -> tuple[int, int]:
    start, end = req.start_step, req.end_step
    if start is None and end is None:
        return INT64_MIN, INT64_MAX
    if start is None or end is None:
        raise invalid("If either start step or end step are specified, both must be specified.")
    if start > end:
        raise invalid(
            "end_step must be greater than start_step. "
            f"Found start_step={start} and end_step={end}."
        )
    return start, end


async def get_history_interval(req: GetHistoryInterval, ctx: Context) -> PointsOfRuns:
    """GET /2.0/mlflow/metrics/get-history-bulk-interval

    Per run at most `max_results` points: the first of each of as many equal buckets, and the last of all.
    Runs come in the order asked. The sampling is done by the database; equal charts that are wanted at the same
    moment (every open page polls) share it.
    """
    limit = MAX_HISTORY_INTERVAL_ROWS if req.max_results is None else req.max_results
    start, end = _step_range(req)
    key = ("metrics/get-history-bulk-interval", encode(req))
    return await ctx.shared.get(key, partial(_interval, req, ctx, limit, start, end))


async def _interval(
    req: GetHistoryInterval, ctx: Context, limit: int, start: int, end: int
) -> PointsOfRuns:
    found = await ctx.db.read(_sampled, req.run_ids, req.metric_key, limit, start, end)
    return PointsOfRuns(
        metrics=[
            PointOfRun(req.metric_key, "NaN" if is_nan else value, timestamp, step, run_id)
            for run_id, rows in found
            for value, timestamp, step, is_nan in rows
        ]
    )


async def _sampled(
    tx: Tx, run_ids: Sequence[str], key: str, limit: int, start: int, end: int
) -> list[tuple[str, list[Row]]]:
    return [
        (run_id, await sampling_sql.sampled(tx, run_id, key, limit, start, end))
        for run_id in run_ids
    ]
