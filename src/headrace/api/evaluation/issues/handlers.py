"""Handlers of issues. Times are milliseconds since the epoch."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from headrace import search
from headrace.api.context import Context
from headrace.api.evaluation.issues import rules, searches, sql, transactions
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
from headrace.api.pieces import Listing, pieces
from headrace.api.results import Chunks
from headrace.contract.clock import now_ms
from headrace.contract.experiment_ids import parse_id
from headrace.db.base import Row
from headrace.db.errors import UniqueViolation

PAGE: Final = 100  # issues per page


def show(
    row: Row, *, hides_runs: bool, is_newer: bool, count: int | None = None, basic: bool = False
) -> Issue:
    """An issue as answers show it; `count` is the number of its traces.

    `basic`: without its long texts.
    """
    issue = IssueRow(*row)
    return Issue(
        issue_id=issue.issue_id,
        experiment_id=str(issue.experiment_id),
        name=issue.name,
        description="" if basic else issue.description,
        status=issue.status,
        severity=issue.severity or None,
        root_causes=json.loads(issue.root_causes) if issue.root_causes and not basic else [],
        source_run_id=None if hides_runs else issue.source_run_id or None,
        created_timestamp=issue.created_timestamp,
        last_updated_timestamp=issue.last_updated_timestamp,
        created_by=issue.created_by or None,
        categories=json.loads(issue.categories) if issue.categories else [],
        trace_count=count,
        last_seen_timestamp=issue.created_timestamp
        if is_newer and issue.last_seen_timestamp is None
        else issue.last_seen_timestamp,
        last_updated_by=issue.last_updated_by,
        metadata=json.loads(issue.metadata) if issue.metadata and not basic else {},
    )


def _answer(row: IssueRow, ctx: Context) -> IssueAnswer:
    is_newer = sql.shape_of(ctx.db.schema).is_newer
    return IssueAnswer(issue=show(row, hides_runs=ctx.access.hides("run"), is_newer=is_newer))


async def create(req: CreateIssue, ctx: Context) -> IssueAnswer:
    """POST /3.0/mlflow/issues

    At the schema of MLflow 3.17, ids, the time of the last observation and metadata are ignored.
    Errors: RESOURCE_DOES_NOT_EXIST (no active experiment), INVALID_PARAMETER_VALUE (status or
    severity), BAD_REQUEST (an unknown run). At that of 3.18 also RESOURCE_ALREADY_EXISTS (the id),
    and an unknown run is RESOURCE_DOES_NOT_EXIST.
    """
    is_newer = sql.shape_of(ctx.db.schema).is_newer
    row = _new_row(req)
    if is_newer:
        rules.check_new(req)
        person = ctx.access.username or row.created_by
        seen = req.last_seen_timestamp
        row = row._replace(
            issue_id=req.issue_id or row.issue_id,
            created_by=person,
            last_seen_timestamp=row.created_timestamp if seen is None else seen,
            last_updated_by=person,
            metadata=json.dumps(req.metadata) if req.metadata else None,
        )
    try:
        await ctx.db.write(transactions.create, row, req.categories)
    except UniqueViolation as error:
        if error.table != "issues":
            raise
        raise rules.id_taken() from error
    return _answer(row, ctx)


def _new_row(req: CreateIssue) -> IssueRow:
    status = rules.one_of(req.status, STATUSES, "status")
    now = now_ms()
    return IssueRow(
        issue_id=f"iss-{uuid.uuid4().hex}",
        experiment_id=parse_id(req.experiment_id),
        name=req.name,
        description=req.description,
        status=status or "pending",
        severity=rules.one_of(req.severity, SEVERITIES, "severity"),
        root_causes=json.dumps(req.root_causes) if req.root_causes else None,
        source_run_id=req.source_run_id or None,
        categories=json.dumps(req.categories) if req.categories else None,
        created_timestamp=now,
        last_updated_timestamp=now,
        created_by=req.created_by or None,
    )


async def get(req: IssueId, ctx: Context) -> IssueAnswer:
    """GET /3.0/mlflow/issues/{issue_id}. Errors: RESOURCE_DOES_NOT_EXIST."""
    return _answer(await ctx.db.read_point(transactions.get, req.issue_id or ""), ctx)


async def update(req: UpdateIssue, ctx: Context) -> IssueAnswer:
    """PATCH /3.0/mlflow/issues/{issue_id}

    Errors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (status or severity; at the schema of
    MLflow 3.18 also other fields).
    """
    status = rules.one_of(req.status, STATUSES, "status")
    severity = rules.one_of(req.severity, SEVERITIES, "severity")
    if sql.shape_of(ctx.db.schema).is_newer:
        rules.check_change(req)
        person = ctx.access.username or req.last_updated_by
        row = await ctx.db.write(transactions.update_newer, req, person, now_ms())
    else:
        changes = (req.name or None, req.description or None, status, severity)
        row = await ctx.db.write(transactions.update, req.issue_id, changes, now_ms())
    return _answer(row, ctx)


async def search_issues(req: SearchIssues, ctx: Context) -> Chunks:
    """POST /3.0/mlflow/issues/search

    The most severe first, then (with `include_trace_count`) those of most traces, then the newest;
    at the schema of MLflow 3.18 also in another order. Cost: three statements for a page of 100.
    """
    is_newer = sql.shape_of(ctx.db.schema).is_newer
    limit = search.check_max_results(PAGE if req.max_results is None else req.max_results)
    found = searches.newer(req, ctx.workspace_or_none) if is_newer else searches.older(req)
    page = search.issues_page(
        found.criteria,
        found.start,
        severities=SEVERITIES,
        by_traces=bool(req.include_trace_count),
        max_results=limit,
        dialect=ctx.db.dialect,
        token=found.token,
    )
    keys, token = await ctx.db.read(searches.keys, page, found)
    total = None
    if is_newer and req.include_total_count:
        total = await ctx.db.read(searches.count, found.criteria)
    one = partial(
        show,
        hides_runs=ctx.access.hides("run"),
        is_newer=is_newer,
        basic=is_newer and req.view == searches.BASIC,
    )
    listing = _listing(one, counted=bool(req.include_trace_count))
    answer = pieces(ctx.db, listing, keys, token)
    return Chunks(answer if total is None else searches.with_total(answer, total))


def _listing(one: Callable[..., Issue], *, counted: bool) -> Listing[str]:
    def show_all(rows: Iterable[Row]) -> list[Issue]:
        if counted:
            return [one(row[:-1], count=row[-1]) for row in rows]
        return [one(row) for row in rows]

    read = sql.read_counted if counted else sql.read
    return Listing(b"issues", sql.weigh, read, show_all, always_token=True)
