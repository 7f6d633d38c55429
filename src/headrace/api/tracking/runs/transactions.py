"""Transactions of runs outside the group commit: stages, removal of tags, pages of searches."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.api.tracking.runs import assessments_sql, sql
from headrace.api.tracking.runs.batch import not_active
from headrace.contract import errors
from headrace.db.base import Row, Tx
from headrace.db.sql import statement
from headrace.search import Page


async def check_active(tx: Tx, run_id: str) -> sql.RunStage:
    """Return the stage of an active run. Raises MLflow's error if the run is deleted or missing."""
    run = (await sql.stages(tx, [run_id])).get(run_id)
    if run is None:
        raise errors.run_not_found(run_id)
    if run.lifecycle_stage != "active":
        raise not_active(run_id, run.lifecycle_stage)
    return run


async def delete(tx: Tx, run_id: str, deleted_time: int, made: list[str]) -> None:
    """Delete a run and the assessments that it created.

    `made` are the ids of assessments found beforehand. `deleted_time` is in milliseconds since the
    epoch. Raises RESOURCE_DOES_NOT_EXIST.
    """
    # Assessments take longest, so they are deleted before the run's row is locked.
    source = assessments_sql.source_run(run_id)
    await assessments_sql.delete(tx, assessments_sql.OF_RUN, source, made)
    if not await tx.execute(sql.SET_STAGE, run_id, "deleted", deleted_time):
        raise errors.run_not_found(run_id)


async def restore(tx: Tx, run_id: str) -> None:
    """Restore a run. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await tx.execute(sql.SET_STAGE, run_id, "active", None):
        raise errors.run_not_found(run_id)


async def delete_tag(tx: Tx, run_id: str, key: str) -> None:
    """Remove a tag of an active run. Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE."""
    await check_active(tx, run_id)
    if not await tx.execute(sql.DELETE_TAG, run_id, key):
        raise errors.not_found(f"No tag with name: {key} in run with id {run_id}")


PageFound = tuple[Sequence[Row], sql.Logged, str | None]


async def search(tx: Tx, page: Page) -> PageFound:
    """Return a page of runs, the data logged to them, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    ids = [row[0] for row in rows]
    logged = await sql.logged(tx, ids, inputs_of_models=False) if ids else sql.Logged()
    return rows, logged, token
