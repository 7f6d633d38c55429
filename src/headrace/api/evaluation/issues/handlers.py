"""Handlers of issues. Times are milliseconds since the epoch."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from headrace import search
from headrace.api.context import Context
from headrace.api.evaluation.issues import sql
from headrace.api.evaluation.issues.sql import IssueRow
from headrace.api.evaluation.issues.types import (
    SEVERITIES,
    STATUSES,
    CreateIssue,
    Issue,
    IssueAnswer,
    IssueId,
    SearchIssues,
    UpdateIssue,
)
from headrace.api.pieces import Listing, keys_of, pieces
from headrace.api.results import Chunks
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, experiment_not_found, invalid, not_found
from headrace.contract.experiment_ids import parse_id
from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.db.base import Row, Tx

PAGE: Final = 100  # issues per page


def issue_not_found(issue_id: str) -> ApiError:
    """No issue has this id."""
    return not_found(f"Issue with ID '{issue_id}' not found")


def show(row: Row, *, hides_runs: bool) -> Issue:
    """An issue as answers show it; `row` may have the number of its traces at the end."""
    issue = IssueRow(*row[: len(IssueRow._fields)])
    counted = len(row) > len(IssueRow._fields)
    return Issue(
        issue_id=issue.issue_id,
        experiment_id=str(issue.experiment_id),
        name=issue.name,
        description=issue.description,
        status=issue.status,
        severity=issue.severity or None,
        root_causes=json.loads(issue.root_causes) if issue.root_causes else [],
        source_run_id=None if hides_runs else issue.source_run_id or None,
        created_timestamp=issue.created_timestamp,
        last_updated_timestamp=issue.last_updated_timestamp,
        created_by=issue.created_by or None,
        categories=json.loads(issue.categories) if issue.categories else [],
        trace_count=row[-1] if counted else None,
    )


def _answer(row: IssueRow, ctx: Context) -> IssueAnswer:
    return IssueAnswer(issue=show(row, hides_runs=ctx.access.hides("run")))


def _one_of(value: str | None, known: tuple[str, ...], what: str) -> str | None:
    """The value, if the request has it. Raises INVALID_PARAMETER_VALUE as MLflow 3.18."""
    if value is not None and value not in known:
        raise invalid(f"Invalid issue {what}: '{value}'")
    return value


async def create(req: CreateIssue, ctx: Context) -> IssueAnswer:
    """POST /3.0/mlflow/issues

    Errors: RESOURCE_DOES_NOT_EXIST (no active experiment), INVALID_PARAMETER_VALUE (status or
    severity), BAD_REQUEST (an unknown run).
    """
    sql.check_served(ctx.db.schema)
    status = _one_of(req.status, STATUSES, "status")
    now = now_ms()
    row = IssueRow(
        issue_id=f"iss-{uuid.uuid4().hex}",
        experiment_id=parse_id(req.experiment_id),
        name=req.name,
        description=req.description,
        status=status or "pending",
        severity=_one_of(req.severity, SEVERITIES, "severity"),
        root_causes=json.dumps(req.root_causes) if req.root_causes else None,
        source_run_id=req.source_run_id or None,
        categories=json.dumps(req.categories) if req.categories else None,
        created_timestamp=now,
        last_updated_timestamp=now,
        created_by=req.created_by or None,
    )
    await ctx.db.write(_create, row)
    return _answer(row, ctx)


async def _create(tx: Tx, row: IssueRow) -> None:
    if not await sql.is_active(tx, row.experiment_id):
        raise experiment_not_found(row.experiment_id)
    await tx.execute(sql.INSERT, *row)


async def _get(tx: Tx, issue_id: str) -> IssueRow:
    row = await sql.by_id(tx, issue_id)
    if row is None:
        raise issue_not_found(issue_id)
    return row


async def get(req: IssueId, ctx: Context) -> IssueAnswer:
    """GET /3.0/mlflow/issues/{issue_id}. Errors: RESOURCE_DOES_NOT_EXIST."""
    sql.check_served(ctx.db.schema)
    return _answer(await ctx.db.read_point(_get, req.issue_id or ""), ctx)


async def update(req: UpdateIssue, ctx: Context) -> IssueAnswer:
    """PATCH /3.0/mlflow/issues/{issue_id}

    Errors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (status or severity).
    """
    sql.check_served(ctx.db.schema)
    changes = (
        req.name or None,
        req.description or None,
        _one_of(req.status, STATUSES, "status"),
        _one_of(req.severity, SEVERITIES, "severity"),
    )
    return _answer(await ctx.db.write(_update, req.issue_id, changes), ctx)


async def _update(tx: Tx, issue_id: str, changes: tuple[str | None, ...]) -> IssueRow:
    await tx.execute(sql.UPDATE, issue_id, *changes, now_ms())
    return await _get(tx, issue_id)


async def search_issues(req: SearchIssues, ctx: Context) -> Chunks:
    """POST /3.0/mlflow/issues/search

    The most severe first, then (with `include_trace_count`) those of most traces, then the newest.
    Cost: three statements for a page of 100.
    """
    sql.check_served(ctx.db.schema)
    limit = PAGE if req.max_results is None else req.max_results
    if limit < 1:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            "It must be a positive integer"
        )
    if limit > SEARCH_MAX_RESULTS:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            f"It must be at most {SEARCH_MAX_RESULTS}"
        )
    counted = bool(req.include_trace_count)
    page = search.issues_page(
        experiment_id=parse_id(req.experiment_id) if req.experiment_id else None,
        filter=req.filter_string,
        severities=SEVERITIES,
        by_traces=counted,
        max_results=limit,
        page_token=req.page_token,
        dialect=ctx.db.dialect,
    )
    keys, token = await ctx.db.read(keys_of, page)
    one = partial(show, hides_runs=ctx.access.hides("run"))
    return Chunks(pieces(ctx.db, _listing(one, counted=counted), keys, token))


def _listing(one: Callable[[Row], Issue], *, counted: bool) -> Listing[str]:
    def show_all(rows: Iterable[Row]) -> list[Issue]:
        return [one(row) for row in rows]

    read = sql.read_counted if counted else sql.read
    return Listing(b"issues", sql.weigh, read, show_all, always_token=True)
