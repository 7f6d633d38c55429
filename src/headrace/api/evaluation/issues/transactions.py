"""Transactions of issues. Times are milliseconds since the epoch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.api.evaluation.issues import rules, sql
from headrace.api.evaluation.issues.sql import IssueRow
from headrace.contract.errors import (
    ApiError,
    experiment_not_found,
    invalid,
    not_found,
    run_not_found,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.api.evaluation.issues.types import UpdateIssue
    from headrace.db.base import Tx

Changes = tuple[str | None, ...]  # name, description, status, severity; None keeps the value


def issue_not_found(issue_id: str) -> ApiError:
    """No issue has this id."""
    return not_found(f"Issue with ID '{issue_id}' not found")


async def create(tx: Tx, row: IssueRow, categories: Iterable[str]) -> None:
    """Add an issue. Raises RESOURCE_DOES_NOT_EXIST, RESOURCE_ALREADY_EXISTS, INVALID_PARAMETER_VALUE."""
    if not await sql.is_active(tx, row.experiment_id):
        raise experiment_not_found(row.experiment_id)
    shape = sql.shape_of(tx.schema)
    if shape.is_newer:
        if await sql.by_id(tx, row.issue_id) is not None:
            raise rules.id_taken()
        if row.source_run_id is not None:
            await _check_run(tx, row.source_run_id, row.experiment_id)
    await tx.execute(shape.insert, *row[: shape.width])
    if shape.is_newer:
        await _index(tx, row.issue_id, categories)


async def _check_run(tx: Tx, run_id: str, experiment_id: int) -> None:
    found = await tx.fetchrow(sql.RUN_EXPERIMENT, run_id)
    if found is None:
        raise run_not_found(run_id)
    if found[0] != experiment_id:
        raise invalid("Source run must belong to the Issue experiment")


async def _index(tx: Tx, issue_id: str, categories: Iterable[str]) -> None:
    found = rules.by_hash(categories)
    if found:
        await tx.executemany(
            sql.INSERT_CATEGORIES, sorted((issue_id, key, text) for key, text in found.items())
        )


async def get(tx: Tx, issue_id: str) -> IssueRow:
    """Return an issue. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await sql.by_id(tx, issue_id)
    if row is None:
        raise issue_not_found(issue_id)
    return row


async def update(tx: Tx, issue_id: str, changes: Changes, now: int) -> IssueRow:
    """Change an issue as MLflow 3.17. Raises RESOURCE_DOES_NOT_EXIST."""
    await tx.execute(sql.UPDATE, issue_id, *changes, now)
    return await get(tx, issue_id)


async def update_newer(tx: Tx, req: UpdateIssue, person: str | None, now: int) -> IssueRow:
    """Change an issue as MLflow 3.18. Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE."""
    found = await tx.fetchrow(sql.NEWER.locked, req.issue_id)
    if found is None:
        raise issue_not_found(req.issue_id)
    row = IssueRow(*found)
    last_seen = row.last_seen_timestamp
    if req.last_seen_timestamp is not None:
        earlier = row.created_timestamp if last_seen is None else last_seen
        last_seen = max(earlier, req.last_seen_timestamp)
    categories = row.categories
    if req.categories is not None:
        categories = json.dumps(list(dict.fromkeys(req.categories))) if req.categories else None
        await tx.execute(sql.DELETE_CATEGORIES, req.issue_id)
        await _index(tx, req.issue_id, req.categories)
    row = row._replace(
        name=row.name if req.name is None else req.name,
        description=row.description if req.description is None else req.description,
        status=req.status or row.status,
        severity=req.severity or row.severity,
        categories=categories,
        last_seen_timestamp=last_seen,
        last_updated_by=person or row.last_updated_by,
        metadata=_merged(row.metadata, req),
        last_updated_timestamp=now,
    )
    await tx.execute(
        sql.REPLACE,
        row.issue_id,
        row.name,
        row.description,
        row.status,
        row.severity,
        row.categories,
        row.last_seen_timestamp,
        row.last_updated_by,
        row.metadata,
        row.last_updated_timestamp,
    )
    return row


def _merged(stored: str | None, req: UpdateIssue) -> str | None:
    if not req.metadata and not req.delete_metadata_keys:
        return stored
    merged = (json.loads(stored) if stored else {}) | (req.metadata or {})
    for key in req.delete_metadata_keys:
        merged.pop(key, None)
    rules.check_metadata(merged)
    return json.dumps(merged)
