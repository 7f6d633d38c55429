"""Handlers of the metric-history endpoints.

Long histories are sent in parts, so that memory use does not grow with their length.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from headrace import search
from headrace.api.context import Context
from headrace.api.results import Chunks, Encoded, TooLong, encode
from headrace.api.tracking.metrics import extremes_sql, sampling_sql, sql, text_sql
from headrace.api.tracking.metrics.types import (
    GetHistory,
    GetHistoryBulk,
    GetHistoryInterval,
    History,
    Point,
    PointOfRun,
    PointsOfRuns,
)
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import (
    MAX_HISTORY_BULK_ROWS,
    MAX_HISTORY_BULK_RUNS,
    MAX_HISTORY_INTERVAL_ROWS,
)
from headrace.contract.scalars import INT64_MAX, INT64_MIN
from headrace.contract.steps import integer
from headrace.db.base import Row, Tx

# Maximum number of points of several runs that are read and encoded at once; more points are sent
# in pieces.
MOST_POINTS: Final = 40_000
BULK_POINTS: Final = 5_000  # points of one piece
# (tx, run, key, limit, first step, last step): the points of a chart; by value of `chart_sampling`
Sampling = Callable[..., Awaitable[list[Row]]]
SAMPLINGS: Final[dict[str, Sampling]] = {
    "extremes": extremes_sql.extremes,
    "stock": sampling_sql.sampled,
}


async def get_history(req: GetHistory, ctx: Context) -> History | Encoded | Chunks:
    """GET /2.0/mlflow/metrics/get-history

    Points are sorted by timestamp, step and value; a NaN follows a 0. Without `max_results`, all
    points after the token's position are returned. A history of more than 25,000 points is read in
    parts while the client receives it: points acknowledged before the request are sent exactly
    once, points logged in the meantime at most once. As in stock, a run that does not exist has no
    points; on a server with workspaces it is RESOURCE_DOES_NOT_EXIST.
    """
    limit = INT64_MAX if req.max_results is None else req.max_results
    if limit < 1:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            "It must be a positive integer."
        )
    offset = search.offset_of(req.page_token)
    await ctx.request_ids().check("run", [req.run_id])
    most = limit if limit <= sql.PAGE_ROWS else sql.PART_ROWS
    if not offset and text_sql.is_possible(ctx.db):
        begin = '{"key":' + encode(req.metric_key).decode() + ',"value":'
        text = await ctx.db.read(text_sql.points, req.run_id, req.metric_key, most, begin)
        if text is not None:
            return Encoded(b'{"metrics":[' + text.encode() + b"]}")
    rows = await ctx.db.read(sql.page, req.run_id, req.metric_key, most + 1, offset)
    if len(rows) > sql.PART_ROWS:
        return Chunks(_in_parts(req, rows, limit, offset, ctx))
    more = len(rows) > limit
    found = _points(req.metric_key, rows[:limit] if more else rows)
    return History(
        metrics=found, next_page_token=search.page_token(offset + limit) if more else None
    )


def _points(key: str, rows: Sequence[Row]) -> list[Point]:
    return [
        Point(key, "NaN" if is_nan else value, timestamp, integer(step))
        for value, timestamp, step, is_nan in rows
    ]


def _token(next_offset: int | None) -> bytes:
    if next_offset is None:
        return b"}"
    return b',"next_page_token":' + encode(search.page_token(next_offset)) + b"}"


async def _in_parts(
    req: GetHistory, rows: list[Row], limit: int, offset: int, ctx: Context
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of the points `rows`, and of the following ones if `rows` exceed one part."""
    before, left, more = b'{"metrics":[', limit, False
    async with aclosing(_all_rows(req, rows, offset, ctx)) as found:
        async for some in found:
            more = len(some) > left
            for start in range(0, min(len(some), left), sql.PART_ROWS):
                piece = some[start : min(start + sql.PART_ROWS, left)]
                yield before + encode(_points(req.metric_key, piece))[1:-1]
                before = b","
            left -= min(len(some), left)
            if more or len(rows) <= sql.PART_ROWS:
                break
    yield b"]" + _token(offset + limit if more else None)


async def _all_rows(
    req: GetHistory, rows: list[Row], offset: int, ctx: Context
) -> AsyncGenerator[list[Row], None]:
    """Yield the points `rows` of a history, then the following ones, in short reads.

    Each read starts after the last point of the previous one. The points are read in the order of
    the primary key as long as most points of that time belong to this history.
    """
    yield rows
    run_id, key = req.run_id, req.metric_key
    last, place = rows[-1], offset + len(rows)
    share = sql.LEAST_SHARE
    while len(rows) * share >= sql.STEP_ENTRIES:
        rows = await ctx.db.read(sql.step, run_id, key, last)
        if rows:
            yield rows
            last, place = rows[-1], place + len(rows)
    if await ctx.db.read(sql.length, run_id, key) <= place:
        return
    for part in await ctx.db.read(sql.parts, run_id, key, place, INT64_MAX):
        more = True
        while more:
            # Twice the size of a part: one read is enough unless many points are logged in the
            # meantime.
            rows = await ctx.db.read(sql.after, run_id, key, part, last, 2 * sql.PART_ROWS)
            more = len(rows) == 2 * sql.PART_ROWS
            if rows:
                yield rows
                last = rows[-1]


async def get_history_bulk(req: GetHistoryBulk, ctx: Context) -> Encoded | Chunks:
    """GET /ajax-api/2.0/mlflow/metrics/get-history-bulk

    Returns at most 25,000 points of at most 100 runs. NaN is sent as the bare token, as by stock.
    """
    limit = _bulk_limit(req)
    rows = await ctx.db.read(_bulk, req.run_id, req.metric_key, limit)
    if len(rows) <= BULK_POINTS:
        return Encoded(b'{"metrics":[' + _bulk_points(req.metric_key, rows) + b"]}\n")
    return Chunks(_bulk_pieces(req.metric_key, rows))


def _bulk_limit(req: GetHistoryBulk) -> int:
    """Return the number of points that a request asks for. Raises stock's errors."""
    if not req.run_id:
        raise invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(req.run_id) > MAX_HISTORY_BULK_RUNS:
        raise invalid(
            f"GetMetricHistoryBulk request cannot specify more than {MAX_HISTORY_BULK_RUNS} "
            f"run_ids. Received {len(req.run_id)} run_ids."
        )
    if req.metric_key is None:
        raise invalid("GetMetricHistoryBulk request must specify a metric_key.")
    text = str(MAX_HISTORY_BULK_ROWS) if req.max_results is None else req.max_results
    try:
        limit = min(int(text), MAX_HISTORY_BULK_ROWS)
    except ValueError:
        raise invalid(f"max_results must be an integer, got '{text}'.") from None
    if limit < 0:
        raise ApiError(ErrorCode.BAD_REQUEST, f"max_results must not be negative, got {limit}.")
    return limit


def _bulk_points(key: str | None, rows: Sequence[Row]) -> bytes:
    shown = encode(key)
    return b",".join(
        b'{"key":%b,"run_id":%b,"step":%d,"timestamp":%d,"value":%b}'
        % (shown, encode(run_id), integer(step), timestamp, b"NaN" if is_nan else encode(value))
        for run_id, value, timestamp, step, is_nan in rows
    )


async def _bulk_pieces(key: str | None, rows: Sequence[Row]) -> AsyncGenerator[bytes, None]:
    start = b'{"metrics":['
    for first in range(0, len(rows), BULK_POINTS):
        yield start + _bulk_points(key, rows[first : first + BULK_POINTS])
        start = b","
        await asyncio.sleep(0)  # a client that reads without delay must not block the event loop
    yield b"]}\n"


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


async def get_history_interval(
    req: GetHistoryInterval, ctx: Context
) -> PointsOfRuns | Encoded | Chunks:
    """GET /2.0/mlflow/metrics/get-history-bulk-interval

    Returns at most `max_results` points per run: the first and the last point, and the smallest
    value, the largest value and the first NaN of each part; with `chart_sampling=stock` the first
    point of each of `max_results` parts, and the last point. Runs are in the order of the request.
    The database does the sampling; identical requests that arrive at the same time (every open page
    polls) share it.
    """
    limit = MAX_HISTORY_INTERVAL_ROWS if req.max_results is None else req.max_results
    start, end = _step_range(req)
    await ctx.request_ids().check("run", req.run_ids)
    key = ("metrics/get-history-bulk-interval", encode(req))
    try:
        return await ctx.shared.get(key, partial(_interval, req, ctx, limit, start, end))
    except TooLong:
        return Chunks(_interval_pieces(req, ctx, limit, start, end))


async def _interval(
    req: GetHistoryInterval, ctx: Context, limit: int, start: int, end: int
) -> Encoded:
    sampled = SAMPLINGS[ctx.settings.chart_sampling]
    asked = (req.metric_key, limit, start, end)
    found = await ctx.db.read(_sampled, sampled, req.run_ids, *asked)
    return Encoded(encode(PointsOfRuns(metrics=_points_of_runs(req.metric_key, found))))


def _points_of_runs(key: str, found: Sequence[tuple[str, list[Row]]]) -> list[PointOfRun]:
    return [
        PointOfRun(key, "NaN" if is_nan else value, timestamp, integer(step), run_id)
        for run_id, rows in found
        for value, timestamp, step, is_nan in rows
    ]


async def _interval_pieces(
    req: GetHistoryInterval, ctx: Context, limit: int, start: int, end: int
) -> AsyncGenerator[bytes, None]:
    before = b'{"metrics":['
    sampled = SAMPLINGS[ctx.settings.chart_sampling]
    asked = (req.metric_key, limit, start, end)
    at_once = max(1, BULK_POINTS // limit)  # runs
    for first in range(0, len(req.run_ids), at_once):
        run_ids = req.run_ids[first : first + at_once]
        found = await ctx.db.read(_sampled, sampled, run_ids, *asked)
        points = _points_of_runs(req.metric_key, found)
        if points:
            yield before + encode(points)[1:-1]
            before = b","
    yield b"{}" if before != b"," else b"]}"


async def _sampled(
    tx: Tx, sampled: Sampling, run_ids: Sequence[str], *asked: Any
) -> list[tuple[str, list[Row]]]:
    """Return the sampled points of each run. Raises `TooLong` for more than `MOST_POINTS`."""
    found = []
    left = MOST_POINTS
    for run_id in run_ids:
        rows = await sampled(tx, run_id, *asked)
        left -= len(rows)
        if left < 0:
            raise TooLong
        found.append((run_id, rows))
    return found
