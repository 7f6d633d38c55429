"""Handlers of jobs. Times are milliseconds since the epoch.

A job belongs to the user who started it; one that was started on a server without users belongs to
nobody, and only admins see it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import msgspec

from headrace.api.context import Context
from headrace.api.pieces import groups
from headrace.api.results import Chunks, Line, encode
from headrace.api.tracking.jobs import sql, view
from headrace.api.tracking.jobs.sql import JobRow, SearchPosition
from headrace.api.tracking.jobs.types import Job, JobId, JobList, JobState, SearchJobs
from headrace.contract.clock import now_ms

_sorted: Final = msgspec.json.Encoder(order="sorted").encode


async def get(req: JobId, ctx: Context) -> Job:
    """GET /ajax-api/3.0/jobs/{job_id}. Errors: RESOURCE_DOES_NOT_EXIST."""
    sql.check_served(ctx.db.schema)
    return view.job(await ctx.db.read_point(sql.get, req.job_id))


async def cancel(req: JobId, ctx: Context) -> Job:
    """PATCH /ajax-api/3.0/jobs/cancel/{job_id}

    MLflow's job runner ends the process of the job within a second or two. Errors:
    RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (the job has ended).
    """
    sql.check_served(ctx.db.schema)
    return view.job(await ctx.db.write(sql.cancel, req.job_id, now_ms()))


async def get_state(req: JobId, ctx: Context) -> Line[JobState]:
    """GET /ajax-api/3.0/mlflow/jobs/{job_id}. Errors: RESOURCE_DOES_NOT_EXIST."""
    sql.check_served(ctx.db.schema)
    return _line(await ctx.db.read_point(sql.get, req.job_id))


async def cancel_with_state(req: JobId, ctx: Context) -> Line[JobState]:
    """PATCH /ajax-api/3.0/mlflow/jobs/cancel/{job_id}: as `cancel`."""
    sql.check_served(ctx.db.schema)
    return _line(await ctx.db.write(sql.cancel, req.job_id, now_ms()))


def _line(row: JobRow) -> Line[JobState]:
    return Line.of(JobState, _sorted(view.state(row)))


async def search(req: SearchJobs, ctx: Context) -> JobList | Chunks:
    """POST /ajax-api/3.0/jobs/search

    All jobs that fit, the oldest first. A user who is no admin finds only own jobs. The answer is
    read and sent in pieces.
    """
    sql.check_served(ctx.db.schema)
    if "\0" in (req.job_name or ""):
        return JobList([])
    return Chunks(_found(req, ctx))


async def _found(req: SearchJobs, ctx: Context) -> AsyncGenerator[bytes, None]:
    before = b'{"jobs":['
    async with aclosing(pieces(ctx, req)) as parts:
        async for rows in parts:
            jobs = [view.job(row) for row in rows if _fits(row, req, ctx)]
            if jobs:
                yield before + encode(jobs)[1:-1]
                before = b","
    yield b"]}" if before == b"," else before + b"]}"


async def pieces(ctx: Context, req: SearchJobs) -> AsyncGenerator[list[JobRow], None]:
    """Yield the jobs of these names and statuses, a few at a time."""
    place: SearchPosition | None = None
    while True:
        found = await ctx.db.read(sql.keys, req.job_name, req.statuses or (), place)
        if not found:
            return
        place = found[-1][0]
        weights = {key.job_id: weight for key, weight in found}
        for ids in groups([key.job_id for key, _ in found], weights):
            yield await ctx.db.read(sql.read, ids)


def _fits(row: JobRow, req: SearchJobs, ctx: Context) -> bool:
    access = ctx.access
    if access.username is not None and not access.is_admin and row.creator != access.username:
        return False
    return not req.params or has_params(row, req.params)


def has_params(row: JobRow, wanted: dict[str, Any]) -> bool:
    """Whether a job has these parameters, among others."""
    params = msgspec.json.decode(row.params)
    return all(name in params and params[name] == value for name, value in wanted.items())
