"""Handlers of evaluation datasets and their records. Times are milliseconds since the epoch."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from headrace import search
from headrace.api.context import Context
from headrace.api.evaluation.datasets import records, records_sql, sql, transactions, write_sql
from headrace.api.evaluation.datasets.types import (
    CreateDataset,
    Dataset,
    DatasetAnswer,
    DatasetExperiments,
    DatasetId,
    DatasetTag,
    DatasetTags,
    DeletedRecords,
    DeleteRecords,
    ExperimentIds,
    ListRecords,
    SearchDatasets,
    UpsertedRecords,
    UpsertRecords,
)
from headrace.api.evaluation.datasets.upsert import USER, Upsert, as_text
from headrace.api.pieces import Listing, long_page
from headrace.api.results import Chunks, Encoded
from headrace.contract.errors import invalid, not_found
from headrace.contract.limits import (
    MAX_RECORD_VALUES,
    SEARCH_MAX_RESULTS_DEFAULT,
)
from headrace.contract.scalars import Empty
from headrace.contract.texts import refuse_unstorable
from headrace.contract.value_count import check_text_values
from headrace.db.base import Tx
from headrace.db.errors import UniqueViolation

# A longer text of records is read in a thread, so that the event loop runs in between.
INLINE_CHARACTERS: Final = 16 << 10
# Times that an upsert is tried when stock MLflow inserts the same records at the same time.
UPSERT_TRIES: Final = 5
RECORDS_DEFAULT: Final = 1000  # records per page


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
    return search.check_max_results(limit, shows_zero=False)


def _show(found: sql.Found) -> list[Dataset]:
    tags: dict[str, dict[str, str | None]] = {}
    for dataset_id, key, value in found.tags:
        tags.setdefault(dataset_id, {})[key] = value
    return [
        Dataset(tags=json.dumps(tags.get(row.dataset_id, {})), **row._asdict())
        for row in found.rows
    ]


DATASETS: Final[Listing[str]] = Listing(b"datasets", sql.weigh, sql.read, _show)


async def create(req: CreateDataset, ctx: Context) -> DatasetAnswer:
    """POST /3.0/mlflow/datasets/create

    Several datasets may have one name, and experiments are not looked up. Errors:
    INVALID_PARAMETER_VALUE (tags that are not the JSON text of an object), BAD_REQUEST (the same
    experiment twice).
    """
    sql.check_served(ctx.db.schema)
    given = _object(req.tags) if req.tags else {}
    tags = {key: None if value is None else as_text(value, key) for key, value in given.items()}
    new = transactions.New(req.name, tags, req.experiment_ids, tags.get(USER))
    (dataset,) = _show(await ctx.db.write(transactions.create, new))
    dataset.experiment_ids = req.experiment_ids
    return DatasetAnswer(dataset=dataset)


def _object(text: str) -> dict[str, Any]:
    """The JSON object of a field with tags. Raises INVALID_PARAMETER_VALUE."""
    try:
        found = json.loads(text) or {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid(
            "Invalid value for parameter 'tags' supplied: it must be the JSON text of an object."
        )
    refuse_unstorable(list(found), "tags")
    return found


async def get(req: DatasetId, ctx: Context) -> DatasetAnswer:
    """GET /3.0/mlflow/datasets/{dataset_id}. Errors: RESOURCE_DOES_NOT_EXIST."""
    sql.check_served(ctx.db.schema)
    dataset_id = req.dataset_id or ""
    found = await ctx.db.read_point(sql.read, [dataset_id])
    if not found.rows:
        raise not_found(f"Evaluation dataset with id '{dataset_id}' not found")
    return DatasetAnswer(dataset=_show(found)[0])


async def delete(req: DatasetId, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/datasets/{dataset_id}

    Its records, tags and links are deleted too. Deleting it again is no error.
    """
    sql.check_served(ctx.db.schema)
    await ctx.db.write(write_sql.delete, req.dataset_id or "")
    return Empty()


async def set_tags(req: DatasetTags, ctx: Context) -> Empty:
    """PATCH /3.0/mlflow/datasets/{dataset_id}/tags

    A null leaves a tag as it is. Errors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE.
    """
    sql.check_served(ctx.db.schema)
    tags = {key: str(value) for key, value in _object(req.tags).items() if value is not None}
    refuse_unstorable(tags, "tags")
    await ctx.db.write(transactions.set_tags, req.dataset_id or "", tags)
    return Empty()


async def delete_tag(req: DatasetTag, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/datasets/{dataset_id}/tags/{key}

    A dataset or tag that does not exist is no error.
    """
    sql.check_served(ctx.db.schema)
    await ctx.db.write(transactions.delete_tag, req.dataset_id or "", req.key or "")
    return Empty()


async def list_experiments(req: DatasetId, ctx: Context) -> ExperimentIds:
    """GET /3.0/mlflow/datasets/{dataset_id}/experiment-ids"""
    sql.check_served(ctx.db.schema)
    return ExperimentIds(experiment_ids=await ctx.db.read(_links, req.dataset_id or ""))


async def _links(tx: Tx, dataset_id: str) -> list[str]:
    return [row[0] for row in await tx.fetch(write_sql.LINKS, dataset_id)]


async def add_experiments(req: DatasetExperiments, ctx: Context) -> DatasetAnswer:
    """POST /3.0/mlflow/datasets/{dataset_id}/add-experiments

    Errors: RESOURCE_DOES_NOT_EXIST (the dataset, an experiment).
    """
    sql.check_served(ctx.db.schema)
    change = transactions.add_experiments
    found = await ctx.db.write(change, req.dataset_id or "", req.experiment_ids)
    return DatasetAnswer(dataset=_show(found)[0])


async def remove_experiments(req: DatasetExperiments, ctx: Context) -> DatasetAnswer:
    """POST /3.0/mlflow/datasets/{dataset_id}/remove-experiments

    Errors: RESOURCE_DOES_NOT_EXIST (the dataset).
    """
    sql.check_served(ctx.db.schema)
    change = transactions.remove_experiments
    found = await ctx.db.write(change, req.dataset_id or "", req.experiment_ids)
    return DatasetAnswer(dataset=_show(found)[0])


async def upsert_records(req: UpsertRecords, ctx: Context) -> UpsertedRecords:
    """POST /3.0/mlflow/datasets/{dataset_id}/records

    A record with the inputs of another one is merged with it. Errors: INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST (stock reports its driver's message). Cost: six statements for 1,000
    records.
    """
    sql.check_served(ctx.db.schema)
    await ctx.request_ids().check("dataset", [req.dataset_id or ""])
    await check_text_values(req.records, MAX_RECORD_VALUES, "records")
    if len(req.records) <= INLINE_CHARACTERS:
        given = Upsert(req.records)
    else:
        given = await asyncio.to_thread(Upsert, req.records)
    tries = UPSERT_TRIES
    while True:
        try:
            counts = await ctx.db.write(transactions.upsert, req.dataset_id or "", given)
        except UniqueViolation as error:
            tries -= 1
            if error.table != "evaluation_dataset_records" or not tries:
                raise
        else:
            return UpsertedRecords(inserted_count=counts[0], updated_count=counts[1])


async def list_records(req: ListRecords, ctx: Context) -> Encoded | Chunks:
    """GET /3.0/mlflow/datasets/{dataset_id}/records

    The oldest first. A dataset that does not exist has none. Cost: three statements for a page
    that is read at once.
    """
    sql.check_served(ctx.db.schema)
    limit = req.max_results or RECORDS_DEFAULT
    if limit < 0:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            "It must be a positive integer"
        )
    after, offset = records.position_of(req.page_token)
    page = records_sql.Page(req.dataset_id or "", after, offset, limit)
    return await records.page(ctx.db, page)


async def delete_records(req: DeleteRecords, ctx: Context) -> DeletedRecords:
    """DELETE /3.0/mlflow/datasets/{dataset_id}/records

    Records that do not exist are no error. Errors: RESOURCE_DOES_NOT_EXIST (the dataset, on a server
    with workspaces).
    """
    sql.check_served(ctx.db.schema)
    await ctx.request_ids().check("dataset", [req.dataset_id or ""])
    change = transactions.delete_records
    deleted = await ctx.db.write(change, req.dataset_id or "", req.dataset_record_ids)
    return DeletedRecords(deleted_count=deleted)
