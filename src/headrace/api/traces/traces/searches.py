"""Handlers that search traces and compare filters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from headrace import search
from headrace.api.context import Context
from headrace.api.pieces import FEW_ITEMS, Listing, long_page, whole_page
from headrace.api.results import Chunks, Encoded, TooLong, encode
from headrace.api.traces.traces import read_sql
from headrace.api.traces.traces.correlation import npmi, smoothed_npmi
from headrace.api.traces.traces.pieces import listing, listing_v2
from headrace.api.traces.traces.types import (
    CorrelateFilters,
    Correlation,
    SearchTraces,
    SearchTracesV2,
)
from headrace.auth.redactions import hidden
from headrace.contract.errors import invalid
from headrace.contract.limits import SEARCH_TRACES_DEFAULT
from headrace.db.base import Database, Tx
from headrace.db.sql import statement
from headrace.search.parser import experiment_id


async def search_traces(req: SearchTraces, ctx: Context) -> Encoded | Chunks:
    """POST /3.0/mlflow/traces/search

    Traces without their spans, the newest first; deleted experiments are searched too. We differ,
    as MLflow 3.18: a token only if another trace follows; the end time can be sorted by. Cost: two
    statements, three with assessments; identical searches that arrive at the same time share them.
    A page of more than 100 traces is read in pieces.
    """
    places = [place.mlflow_experiment for place in req.locations]
    ids = [place.experiment_id or "" for place in places if place is not None]
    page_of = _page_of(req, ids, ctx.db)
    read_sql.check_served(ctx.db.schema)
    if not ids:
        return Encoded(b"{}")
    withheld = hidden(ctx.access)
    infos = listing(b"traces", withheld)
    if _limit(req) > FEW_ITEMS:
        return await long_page(ctx.db, infos, page_of(columns=("request_id",)))
    key = ("traces/search", encode(req), withheld)
    try:
        return await ctx.shared.get(
            key, partial(_small_page, infos, ctx.db, page_of(columns=read_sql.COLUMNS))
        )
    except TooLong:
        return await long_page(ctx.db, infos, page_of(columns=("request_id",)))


async def search_traces_v2(req: SearchTracesV2, ctx: Context) -> Chunks:
    """GET /2.0/mlflow/traces

    As the search of MLflow 3, in the form that older clients read.
    """
    page_of = _page_of(req, req.experiment_ids, ctx.db)
    read_sql.check_served(ctx.db.schema)
    return await long_page(ctx.db, listing_v2(hidden(ctx.access)), page_of(columns=("request_id",)))


async def correlate_filters(req: CorrelateFilters, ctx: Context) -> Correlation:
    """POST /3.0/mlflow/traces/calculate-filter-correlation

    How often two filters match the same trace, compared with chance (normalized pointwise mutual
    information).
    """
    text, args = search.correlation_counts(
        experiment_ids=[experiment_id(id_) for id_ in req.experiment_ids],
        first=req.filter_string1,
        second=req.filter_string2,
        base=req.base_filter,
        dialect=ctx.db.dialect,
    )
    read_sql.check_served(ctx.db.schema)
    total, first, second, both = await ctx.db.read(_counts, text, args)
    return Correlation(
        npmi=npmi(both, first, second, total),
        npmi_smoothed=smoothed_npmi(both, first, second, total),
        filter1_count=first,
        filter2_count=second,
        joint_count=both,
        total_count=total,
    )


def _limit(req: SearchTraces | SearchTracesV2) -> int:
    return SEARCH_TRACES_DEFAULT if req.max_results is None else req.max_results


def _page_of(
    req: SearchTraces | SearchTracesV2, experiments: Sequence[str], db: Database
) -> partial[search.Page]:
    """Return the function that makes the page with certain columns. Raises MLflow's errors."""
    if _limit(req) < 1:
        raise invalid(
            f"Invalid value {_limit(req)} for parameter 'max_results' supplied. "
            "It must be a positive integer"
        )
    ids = [experiment_id(id_) for id_ in experiments]
    page_of = partial(
        search.traces_page,
        experiment_ids=ids,
        filter=req.filter,
        order_by=req.order_by,
        max_results=_limit(req),
        page_token=req.page_token,
        dialect=db.dialect,
        prefixed=read_sql.prefixed(db.schema),
    )
    page_of(columns=("request_id",))
    return page_of


async def _small_page(infos: Listing[str], db: Database, page: search.Page) -> Encoded:
    found, rows, token = await db.read(read_sql.read_page, page)
    if found is None:
        found = await db.read_by_keys(read_sql.complete, rows)
    return whole_page(infos, infos.show(found), [row[0] for row in rows], token)


async def _counts(tx: Tx, text: str, args: Sequence[object]) -> list[int]:
    row = await tx.fetchrow(statement(text), *args)
    assert row is not None, "an aggregate has a row"
    return [int(number or 0) for number in row]
