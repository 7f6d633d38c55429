"""Searches for issues: what a request wants, in both shapes of the table."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace import search
from headrace.api.evaluation.issues import rules
from headrace.api.evaluation.issues.types import SEVERITIES, STATUSES
from headrace.contract.errors import invalid
from headrace.contract.experiment_ids import parse_id
from headrace.db.sql import statement
from headrace.search.issues import (
    Criteria,
    Start,
    fingerprint,
    start_of,
    token_after,
    token_of,
)
from headrace.search.pages import offset_of, page_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.api.evaluation.issues.types import SearchIssues
    from headrace.db.base import Tx

BASIC: Final = "basic"  # the view without long texts


class Found(NamedTuple):
    """The criteria of a search, and the page that it wants.

    `query` is the fingerprint of the search if page tokens name the last issue of a page.
    """

    criteria: Criteria
    start: Start
    token: Callable[[int], str] = page_token
    query: str | None = None


def older(req: SearchIssues) -> Found:
    """The search as MLflow 3.17 reads it. Raises INVALID_PARAMETER_VALUE."""
    experiment_id = parse_id(req.experiment_id) if req.experiment_id else None
    return Found(Criteria(experiment_id, req.filter_string), Start(offset_of(req.page_token)))


def newer(req: SearchIssues, workspace: str | None) -> Found:
    """The search as MLflow 3.18 reads it. Raises INVALID_PARAMETER_VALUE.

    `workspace`: of the request, on a server with workspaces; tokens are good for it only.
    """
    _check(req)
    has_more = (req.name, req.view) != (None, None) or bool(
        req.statuses or req.severities or req.categories or req.order_by or req.include_total_count
    )
    hashes = sorted({rules.category_hash(category) for category in req.categories})
    query = fingerprint(
        workspace=workspace,
        experiment_id=req.experiment_id or None,
        filter_string=req.filter_string or None,
        name=req.name,
        statuses=sorted(set(req.statuses)),
        severities=sorted(set(req.severities)),
        categories=hashes,
        order_by=req.order_by,
        include_trace_count=bool(req.include_trace_count),
        include_total_count=bool(req.include_total_count),
        view=req.view,
    )
    start = start_of(req.page_token, query, allow_plain=not has_more)
    criteria = Criteria(
        parse_id(req.experiment_id) if req.experiment_id else None,
        req.filter_string,
        req.name,
        req.statuses,
        req.severities,
        hashes,
        req.order_by,
    )
    if req.order_by:
        return Found(criteria, start, query=query)

    def token(offset: int) -> str:
        return token_of(query, offset)

    return Found(criteria, start, token if has_more else page_token)


def _check(req: SearchIssues) -> None:
    if req.name is not None and len(req.name) > rules.MAX_NAME:
        raise invalid("name must be a string of at most 250 characters")
    for field, values in (
        ("statuses", req.statuses),
        ("severities", req.severities),
        ("order_by", req.order_by),
    ):
        if len(values) > rules.MAX_ITEMS:
            raise invalid(f"{field} must be a list of at most 100 strings")
    rules.check_texts("categories", req.categories)
    for value in req.statuses:
        rules.one_of(value, STATUSES, "status")
    for value in req.severities:
        rules.one_of(value, SEVERITIES, "severity")
    if req.view not in (None, BASIC, "full"):
        raise invalid("view must be basic or full")


async def keys(tx: Tx, page: search.Page, found: Found) -> tuple[Sequence[str], str | None]:
    """Return the ids of a page of issues, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    if token is not None and found.query is not None:
        token = token_after(found.query, rows[-1][1:])
    return [row[0] for row in rows], token


async def count(tx: Tx, criteria: Criteria) -> int:
    """Return the number of issues that a search finds on all its pages."""
    text, args = search.issues_count(criteria, tx.dialect)
    row = await tx.fetchrow(statement(text), *args)
    assert row is not None, "a count is one row"
    return int(row[0])


async def with_total(
    answer: AsyncGenerator[bytes, None], total: int
) -> AsyncGenerator[bytes, None]:
    """Yield an answer with `total_count` as its last field."""
    last = b""
    async with aclosing(answer) as parts:
        async for part in parts:
            if last:
                yield last
            last = part
    yield last[:-1] + b',"total_count":%d}' % total
