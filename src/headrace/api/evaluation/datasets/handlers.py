"""Handler of the search for evaluation datasets."""

from __future__ import annotations

import json
from typing import Final

from headrace import search
from headrace.api.context import Context
from headrace.api.evaluation.datasets import sql
from headrace.api.evaluation.datasets.types import Dataset, SearchDatasets
from headrace.api.pieces import Listing, long_page
from headrace.api.results import Chunks
from headrace.contract.errors import invalid
from headrace.contract.limits import SEARCH_MAX_RESULTS, SEARCH_MAX_RESULTS_DEFAULT


async def search_datasets(req: SearchDatasets, ctx: Context) -> Chunks:
    """GET or POST /3.0/mlflow/datasets/search

    Datasets without their records, the newest first. Cost: four statements for a page of 100.
    """
    page = search.datasets_page(
        experiment_ids=req.experiment_ids,
        filter=req.filter_string,
        order_by=req.order_by,
        max_results=_limit(req.max_results),
        page_token=req.page_token,
        dialect=ctx.db.dialect,
        columns=("dataset_id",),
    )
    sql.check_served(ctx.db.schema)
    return await long_page(ctx.db, DATASETS, page)


def _limit(max_results: int | None) -> int:
    limit = SEARCH_MAX_RESULTS_DEFAULT if max_results is None else max_results
    if limit < 1:
        raise invalid(
            f"Invalid value {limit or None} for parameter 'max_results' supplied. "
            "It must be a positive integer"
        )
    if limit > SEARCH_MAX_RESULTS:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            f"It must be at most {SEARCH_MAX_RESULTS}"
        )
    return limit


def _show(found: sql.Found) -> list[Dataset]:
    tags: dict[str, dict[str, str | None]] = {}
    for dataset_id, key, value in found.tags:
        tags.setdefault(dataset_id, {})[key] = value
    return [
        Dataset(tags=json.dumps(tags.get(row.dataset_id, {})), **row._asdict())
        for row in found.rows
    ]


DATASETS: Final[Listing[str]] = Listing(b"datasets", sql.weigh, sql.read, _show)
