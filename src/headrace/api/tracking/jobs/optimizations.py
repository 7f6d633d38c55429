"""Handlers of jobs that optimize a prompt. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from headrace.api.context import Context
from headrace.api.results import Chunks, encode
from headrace.api.tracking.jobs import sql, view
from headrace.api.tracking.jobs.handlers import has_params, pieces
from headrace.api.tracking.jobs.types import (
    JobId,
    OptimizationAnswer,
    OptimizationList,
    SearchJobs,
    SearchOptimizations,
)
from headrace.api.tracking.runs import assessments_sql, transactions
from headrace.api.tracking.runs import sql as runs_sql
from headrace.api.tracking.runs import update as run_update
from headrace.api.tracking.runs.types import RunStatus
from headrace.contract.clock import now_ms
from headrace.contract.scalars import Empty
from headrace.db.base import Row, Tx

NAME = "optimize_prompts"


async def get(req: JobId, ctx: Context) -> OptimizationAnswer:
    """GET /3.0/mlflow/prompt-optimization/jobs/{job_id}

    With the scores that its run has logged. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    sql.check_served(ctx.db.schema)
    return OptimizationAnswer(job=view.optimization(*await ctx.db.read_point(_get, req.job_id)))


async def _get(tx: Tx, job_id: str) -> tuple[sql.JobRow, list[Row]]:
    row = await sql.get(tx, job_id)
    run_id = view.optimization(row).run_id
    return row, await sql.scores(tx, run_id) if run_id else []


async def search(req: SearchOptimizations, ctx: Context) -> OptimizationList | Chunks:
    """GET, POST /3.0/mlflow/prompt-optimization/jobs/search

    All of an experiment, the oldest first, without their scores. The answer is read and sent in
    pieces.
    """
    sql.check_served(ctx.db.schema)
    return Chunks(_found(req.experiment_id, ctx))


async def _found(experiment_id: str, ctx: Context) -> AsyncGenerator[bytes, None]:
    before = opening = b'{"jobs":['
    wanted = {"experiment_id": experiment_id}
    async with aclosing(pieces(ctx, SearchJobs(job_name=NAME))) as parts:
        async for rows in parts:
            jobs = [view.optimization(row) for row in rows if has_params(row, wanted)]
            if jobs:
                yield before + encode(jobs)[1:-1]
                before = b","
    yield b"{}" if before is opening else b"]}"


async def cancel(req: JobId, ctx: Context) -> OptimizationAnswer:
    """POST /3.0/mlflow/prompt-optimization/jobs/{job_id}/cancel

    Ends the run of the job too, with the status KILLED, unless it is deleted. Errors:
    RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (the job has ended).
    """
    sql.check_served(ctx.db.schema)
    row = await ctx.db.write(_cancel, req.job_id, now_ms())
    return OptimizationAnswer(job=view.optimization(row))


async def _cancel(tx: Tx, job_id: str, now: int) -> sql.JobRow:
    row = await sql.cancel(tx, job_id, now)
    run_id = view.optimization(row).run_id
    if run_id and "\0" not in run_id:
        # The answer for a run that is deleted or gone does not matter.
        await run_update.apply(tx, [run_update.Change(run_id, RunStatus.KILLED, now, None)])
    return row


async def delete(req: JobId, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/prompt-optimization/jobs/{job_id}

    Deletes the run of the job, and the job if it has ended, as stock. Errors:
    RESOURCE_DOES_NOT_EXIST.
    """
    sql.check_served(ctx.db.schema)
    row = await ctx.db.read_point(sql.get, req.job_id)
    run_id = view.optimization(row).run_id
    made: list[str] = []
    if run_id and "\0" not in run_id:
        source = assessments_sql.source_run(run_id)
        made = await ctx.db.read(assessments_sql.find, assessments_sql.OF_RUN, source)
    await ctx.db.write(_delete, req.job_id, run_id, now_ms(), made)
    return Empty()


async def _delete(tx: Tx, job_id: str, run_id: str | None, now: int, made: list[str]) -> None:
    await tx.execute(sql.DELETE_ENDED, job_id)
    if run_id and "\0" not in run_id and await runs_sql.stages(tx, [run_id]):
        await transactions.delete(tx, run_id, now, made)
