"""SQL for logged models, their params, tags and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.pieces import ALL_ROWS, MOST_VALUES, PAIR_BYTES, at_most, at_once, first_rows
from headrace.db import keyed
from headrace.db.base import Row, Tx
from headrace.db.sql import Bulk, Replace, Sql

if TYPE_CHECKING:
    from headrace.search import Page


class ModelRow(NamedTuple):
    """A row of `logged_models`. Times are milliseconds since the epoch."""

    model_id: str
    experiment_id: int
    name: str
    artifact_location: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    status: int
    lifecycle_stage: str
    model_type: str | None
    source_run_id: str | None
    status_message: str | None


COLUMNS: Final = ModelRow._fields
_COLUMNS: Final = ", ".join(COLUMNS)

MODEL = Sql(f"SELECT {_COLUMNS} FROM logged_models WHERE model_id = $1")
INSERT = Sql(
    "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
    " last_updated_timestamp_ms, status, lifecycle_stage, model_type, source_run_id)"
    " VALUES ($1, $2, $3, $4, $5, $5, $6, 'active', $7, $8)"
)
INSERT_PARAM = Bulk(
    "logged_model_params",
    model_id="text",
    experiment_id="int",
    param_key="text",
    param_value="text",
)
INSERT_TAG = Bulk(
    "logged_model_tags", model_id="text", experiment_id="int", tag_key="text", tag_value="text"
)
UPSERT_TAG = Bulk(
    "logged_model_tags",
    model_id="text",
    experiment_id="int",
    tag_key="text",
    tag_value="text",
    on_conflict=Replace("model_id", "tag_key"),
)
DELETE_TAG = Sql("DELETE FROM logged_model_tags WHERE model_id = $1 AND tag_key = $2")
SET_STATUS = Sql(
    "UPDATE logged_models SET status = $2, last_updated_timestamp_ms = $3 WHERE model_id = $1"
)
DELETE = Sql(  # a soft delete, which keeps the row and its params, tags and metrics
    "UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_timestamp_ms = $2"
    " WHERE model_id = $1"
)


MODELS = Sql(f"SELECT {_COLUMNS} FROM logged_models WHERE model_id {{in $1 text}}")
# Params, tags and metrics are sorted by their table's primary key, the order in which SQLite
# returns them to stock.
PARAMS = Sql(
    "SELECT model_id, param_key, param_value FROM logged_model_params WHERE model_id {in $1 text}"
    " ORDER BY model_id {bytewise}, param_key {bytewise} LIMIT $2"
)
TAGS = Sql(
    "SELECT model_id, tag_key, tag_value FROM logged_model_tags WHERE model_id {in $1 text}"
    " ORDER BY model_id {bytewise}, tag_key {bytewise} LIMIT $2"
)
METRICS = Sql(
    "SELECT model_id, metric_name, metric_value, metric_timestamp_ms, metric_step, dataset_name,"
    " dataset_digest, run_id FROM logged_model_metrics WHERE model_id {in $1 text}"
    " ORDER BY model_id {bytewise}, metric_name {bytewise}, metric_timestamp_ms, metric_step,"
    " run_id {bytewise} LIMIT $2"
)
METRIC_BYTES: Final = 200  # of a metric as JSON, without its name and its dataset
WEIGHTS = Sql(
    "SELECT model_id, sum(bytes) FROM ("
    f"SELECT model_id, {METRIC_BYTES} + {{bytes metric_name}} + coalesce({{bytes dataset_name}}, 0) AS bytes"
    " FROM logged_model_metrics WHERE model_id {in $1 text} UNION ALL"
    f" SELECT model_id, {PAIR_BYTES} + {{bytes param_key}} + {{bytes param_value}}"
    " FROM logged_model_params WHERE model_id {in $1 text} UNION ALL"
    f" SELECT model_id, {PAIR_BYTES} + {{bytes tag_key}} + {{bytes tag_value}}"
    " FROM logged_model_tags WHERE model_id {in $1 text}) AS found GROUP BY model_id"
)


class Logged:
    """The params, tags and metrics of models, as rows that begin with the model id."""

    __slots__ = ("metrics", "params", "tags")

    def __init__(self, params: list[Row], tags: list[Row], metrics: list[Row]) -> None:
        self.params = params
        self.tags = tags
        self.metrics = metrics


async def logged(tx: Tx, model_ids: Sequence[str], most: int = ALL_ROWS) -> Logged:
    """Return the params, tags and metrics of models: three statements for any number of models.

    Raises `TooLong` for more than `most` rows of one kind.
    """
    ids = tx.array(model_ids)
    return Logged(
        at_most(await tx.fetch(PARAMS, ids, most + 1), most),
        at_most(await tx.fetch(TAGS, ids, most + 1), most),
        at_most(await tx.fetch(METRICS, ids, most + 1), most),
    )


def _of_one(text: Callable[..., str], kind: str) -> Sql:
    return Sql(text(f"logged_model_{kind}s", "model_id = $1", f"{kind}_key", f"{kind}_value", 1))


PARAM_SIZES = _of_one(keyed.sizes, "param")
PARAMS_BY_KEY = _of_one(keyed.rows, "param")
TAG_SIZES = _of_one(keyed.sizes, "tag")
TAGS_BY_KEY = _of_one(keyed.rows, "tag")
_ORDER: Final = "metric_name {bytewise}, metric_timestamp_ms, metric_step, run_id {bytewise}"
# At most $6 points of a model after the position (name, timestamp, step, run); nulls select from
# the first point on.
METRICS_PART = Sql(
    "SELECT model_id, metric_name, metric_value, metric_timestamp_ms, metric_step, dataset_name,"
    " dataset_digest, run_id FROM logged_model_metrics WHERE model_id = $1"
    f" AND (CAST($2 AS varchar) IS NULL OR ({_ORDER}) > ($2, $3, $4, $5)) ORDER BY {_ORDER} LIMIT $6"
)


async def metrics_part(tx: Tx, model_id: str, place: Sequence[object], limit: int) -> list[Row]:
    """Return points of a model (`METRICS`) that follow a position."""
    return await tx.fetch(METRICS_PART, model_id, *place, limit)


async def row_of(tx: Tx, model_id: str) -> ModelRow | None:
    """Return a model, deleted or not; None if there is no such model."""
    row = await tx.fetchrow(MODEL, model_id)
    return None if row is None else ModelRow(*row)


async def find(tx: Tx, model_id: str, most: int = ALL_ROWS) -> tuple[ModelRow, Logged] | None:
    """Return a model, deleted or not, and its params, tags and metrics.

    Returns None if there is no such model. Raises `TooLong` for more than `most` rows of one kind.
    """
    row = await row_of(tx, model_id)
    return None if row is None else (row, await logged(tx, [model_id], most))


async def small_page(tx: Tx, page: Page) -> tuple[Sequence[Row], Logged, str | None]:
    """Return a page of models, their params, tags and metrics, and the token of the next page.

    Raises `TooLong` for a page that is too large for one read.
    """
    rows, token = await first_rows(tx, page)
    ids = [row[0] for row in rows]
    if not ids:
        return rows, Logged([], [], []), token
    found = await at_once(tx, weigh, ids, partial(logged, tx, ids), MOST_VALUES, ALL_ROWS)
    return rows, found, token


async def weigh(tx: Tx, model_ids: Sequence[str]) -> Mapping[str, int]:
    """Return the approximate size of each model in an answer, in bytes."""
    return {model_id: int(size) for model_id, size in await tx.fetch(WEIGHTS, tx.array(model_ids))}


async def read(tx: Tx, model_ids: Sequence[str]) -> tuple[list[Row], Logged]:
    """Return the existing models in the order of `model_ids`, and the data logged to them."""
    found = {row[0]: row for row in await tx.fetch(MODELS, tx.array(model_ids))}
    rows = [found[model_id] for model_id in model_ids if model_id in found]
    return rows, await logged(tx, [row[0] for row in rows])
