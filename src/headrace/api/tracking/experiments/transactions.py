"""Transactions that rename, delete, restore and tag experiments."""

from __future__ import annotations

from typing import Any

from headrace.api.tracking.experiments import sql, tag_rules
from headrace.api.tracking.runs import assessments_sql
from headrace.auth.access import Access
from headrace.contract import errors
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode
from headrace.contract.experiment_ids import not_active
from headrace.contract.limits import MAX_CUSTOM_VIEWS
from headrace.db.api_errors import api_error, sentence
from headrace.db.base import Tx
from headrace.db.errors import UniqueViolation


def not_created(name: str, error: UniqueViolation) -> ApiError:
    """Return the error for a new experiment whose insertion violated a unique key."""
    if error.table == "experiments" and "name" in error.columns:
        code = ErrorCode.RESOURCE_ALREADY_EXISTS
        return ApiError(code, f"Experiment(name={name}) already exists. Error: {sentence(error)}")
    if error.table == "experiment_tags":
        return ApiError(ErrorCode.BAD_REQUEST, "Each tag of an experiment must have another key.")
    return api_error(error)


async def create(tx: Tx, access: Access, *args: Any) -> int:
    """Create an experiment (`sql.create`) that the caller manages. Return its id."""
    number = await sql.create(tx, *args)
    await access.created(tx, "experiment", str(number))
    return number


async def undo_create(tx: Tx, number: int) -> bool:
    """Delete an experiment that has just been created. False if something is in it already."""
    await tx.fetchrow(sql.LOCK_TO_DELETE, number)
    for table, statement in sql.HAS_CONTENTS.items():
        if tx.schema.has(table) and await tx.fetchrow(statement, number):
            return False
    await tx.execute(sql.DELETE_TAGS, number)
    await tx.execute(sql.DELETE, number)
    return True


async def _check_active(tx: Tx, number: int) -> None:
    row = await sql.row_of(tx, sql.BY_ID, number)
    if row is None:
        raise errors.experiment_not_found(number)
    if row.lifecycle_stage != "active":
        raise not_active(number, row.lifecycle_stage)


async def rename(tx: Tx, number: int, name: str) -> None:
    """Rename an active experiment. Raises INVALID_STATE, RESOURCE_DOES_NOT_EXIST."""
    row = await sql.row_of(tx, sql.BY_ID, number)
    if row is None:
        raise errors.experiment_not_found(number)
    if row.lifecycle_stage != "active":
        raise ApiError(ErrorCode.INVALID_STATE, "Cannot rename a non-active experiment.")
    await tx.execute(sql.RENAME, number, name, now_ms())


async def delete(tx: Tx, number: int, made: list[str]) -> None:
    """Delete an experiment, its runs, and the assessments that the runs created.

    `made` are the ids of assessments found beforehand. Raises RESOURCE_DOES_NOT_EXIST.
    """
    now = now_ms()
    # Assessments take longest, so they are deleted before the experiment's row is locked.
    await assessments_sql.delete(tx, assessments_sql.OF_EXPERIMENT, number, made)
    if not await tx.execute(sql.SET_STAGE, number, "deleted", now):
        raise errors.experiment_not_found(number)
    await tx.execute(sql.DELETE_RUNS, number, now)


async def restore(tx: Tx, number: int) -> None:
    """Restore an experiment and its runs. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await tx.execute(sql.SET_STAGE, number, "active", now_ms()):
        raise errors.experiment_not_found(number)
    await tx.execute(sql.RESTORE_RUNS, number)


async def set_tag(tx: Tx, number: int, key: str, value: str) -> None:
    """Set a tag of an active experiment.

    Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (deleted).
    """
    await _check_active(tx, number)
    await tx.execute(sql.UPSERT_TAG, number, key, value)


async def set_view(tx: Tx, number: int, key: str, value: str) -> None:
    """Set a tag that holds a custom view. Raises INVALID_PARAMETER_VALUE for too many views."""
    await tx.fetchrow(sql.LOCK, number)  # otherwise concurrent requests could exceed the maximum
    found = await sql.find(tx, sql.BY_ID, number)
    if found is None:
        raise errors.experiment_not_found(number)
    _, tags = found
    views = {tag for _, tag, _ in tags if tag_rules.is_view(tag)}
    if key not in views and len(views) >= MAX_CUSTOM_VIEWS:
        raise tag_rules.too_many_views(f" for experiment {number}")
    tag_rules.check_tag(key, value)
    await set_tag(tx, number, key, value)


async def delete_tag(tx: Tx, number: int, key: str) -> None:
    """Remove a tag of an active experiment. Raises RESOURCE_DOES_NOT_EXIST."""
    await _check_active(tx, number)
    if not await tx.execute(sql.DELETE_TAG, number, key):
        raise errors.not_found(f"No tag with name: {key} in experiment with id {number}")
