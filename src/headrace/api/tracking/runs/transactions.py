"""Transactions of runs that are not part of the group commit: stages, tags removed, a page of a search."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from headrace.api.pieces import first_rows
from headrace.api.results import Beginning, TooLong
from headrace.api.tracking.runs import assessments_sql, sql
from headrace.api.tracking.runs.batch import not_active
from headrace.contract import errors
from headrace.db.base import Row, Tx
from headrace.db.sql import statement
from headrace.search import Page


async def check_active(tx: Tx, run_id: str) -> sql.RunStage:
    """A run that may be written to. Raises MLflow's error otherwise."""
    run = (await sql.stages(tx, [run_id])).get(run_id)
    if run is None:
        raise errors.run_not_found(run_id)
    if run.lifecycle_stage != "active":
        raise not_active(run_id, run.lifecycle_stage)
    return run


async def delete(tx: Tx, run_id: str, deleted_time: int, made: list[str]) -> None:
    """Delete a run and the assessments that it made; `deleted_time` in milliseconds. Raises RESOURCE_DOES_NOT_EXIST."""
    # First, because they take longest: the run's row is locked last.
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
    """One page of runs, what was logged to them, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    ids = [row[0] for row in rows]
    logged = await sql.logged(tx, ids, inputs_of_models=False) if ids else sql.Logged()
    return rows, logged, token


async def small_page(tx: Tx, page: Page) -> PageFound:
    """As `search`. Raises `TooLong` for a page that is too large to be held at once, with the keys of its runs."""
    rows, token = await first_rows(tx, page)
    ids = [row[0] for row in rows]
    if not ids:
        return rows, sql.Logged(), token
    with suppress(TooLong):
        logged = await sql.logged(tx, ids, inputs_of_models=False, most=sql.PAGE)
        return rows, logged, token
    # Outside, because this error must not keep the other, and with it what was read.
    raise TooLong(Beginning([], ids, token))
