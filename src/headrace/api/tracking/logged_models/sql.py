"""SQL for logged models, their params, tags and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from headrace.api.pieces import ALL_ROWS, MOST_VALUES, PAIR_BYTES, at_most, at_once, first_rows
from headrace.db import keyed
from headrace.db.base import Row, Sql, Tx

if TYPE_CHECKING:
    from headrace.search import Page

COLUMNS: Final = (
    "model_id",
    "experiment_id",
    "name",
    "artifact_location",
    "creation_timestamp_ms",
    "last_updated_timestamp_ms",
    "status",
    "lifecycle_stage",
    "model_type",
    "source_run_id",
    "status_message",
)
_COLUMNS: Final = ", ".join(COLUMNS)

MODEL = Sql(f"SELECT {_COLUMNS} FROM logged_models WHERE model_id = $1")
INSERT = Sql(
    "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
    " last_updated_timestamp_ms, status, lifecycle_stage, model_type, source_run_id)"
    " VALUES ($1, $2, $3, $4, $5, $5, $6, 'active', $7, $8)"
)
INSERT_PARAM = Sql(
    "INSERT INTO logged_model_params (model_id, experiment_id, param_key, param_value)"
    " VALUES ($1, $2, $3, $4)"
)
INSERT_TAG = Sql(
    "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value)"
    " VALUES ($1, $2, $3, $4)"
)
UPSERT_TAG = Sql(
    "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value)"
    " VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = EXCLUDED.tag_value"
)
DELETE_TAG = Sql("DELETE FROM logged_model_tags WHERE model_id = $1 AND tag_key = $2")
SET_STATUS = Sql(
    "UPDATE logged_models SET status = $2, last_updated_timestamp_ms = $3 WHERE model_id = $1"
)
DELETE = Sql(  # softly: the row and all that is its stay
    "UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_timestamp_ms = $2"
    " WHERE model_id = $1"
)


def _of_models(select: str, order: Sequence[str] = ()) -> Sql:
    """Rows in the order of the table's primary key, which is how SQLite finds them for stock."""
    on_postgres = ", ".join(f"{key}{_BYTEWISE if key in _TEXTS else ''}" for key in order)
    rest = " ORDER BY {} LIMIT $2" if order else ""
    return Sql(
        postgres=f"{select} WHERE model_id = ANY($1::varchar[])" + rest.format(on_postgres),
        sqlite=f"{select} WHERE model_id IN (SELECT value FROM json_each($1))"
        + rest.format(", ".join(order)),
    )


_BYTEWISE: Final = ' COLLATE "C"'
_TEXTS: Final = ("model_id", "param_key", "tag_key", "metric_name", "run_id")
MODELS = _of_models(f"SELECT {_COLUMNS} FROM logged_models")
PARAMS = _of_models(
    "SELECT model_id, param_key, param_value FROM logged_model_params", ("model_id", "param_key")
)
TAGS = _of_models(
    "SELECT model_id, tag_key, tag_value FROM logged_model_tags", ("model_id", "tag_key")
)
METRICS = _of_models(
    "SELECT model_id, metric_name, metric_value, metric_timestamp_ms, metric_step, dataset_name,"
    " dataset_digest, run_id FROM logged_model_metrics",
    ("model_id", "metric_name", "metric_timestamp_ms", "metric_step", "run_id"),
)
METRIC_BYTES: Final = 200  # of a metric as JSON, beside its name and its dataset
_WEIGHTS: Final = (
    "SELECT model_id, sum(bytes) FROM ("
    f"SELECT model_id, {METRIC_BYTES} + {{bytes}}(metric_name) + coalesce({{bytes}}(dataset_name), 0) AS bytes"
    " FROM logged_model_metrics WHERE model_id {of_models} UNION ALL"
    f" SELECT model_id, {PAIR_BYTES} + {{bytes}}(param_key) + {{bytes}}(param_value)"
    " FROM logged_model_params WHERE model_id {of_models} UNION ALL"
    f" SELECT model_id, {PAIR_BYTES} + {{bytes}}(tag_key) + {{bytes}}(tag_value)"
    " FROM logged_model_tags WHERE model_id {of_models}) AS found GROUP BY model_id"
)
WEIGHTS = Sql(
    postgres=_WEIGHTS.format(bytes="octet_length", of_models="= ANY($1::varchar[])"),
    sqlite=_WEIGHTS.format(bytes="length", of_models="IN (SELECT value FROM json_each($1))"),
)


class Logged:
    """The rows of what belongs to some models; each begins with the model id."""

    __slots__ = ("metrics", "params", "tags")

    def __init__(self, params: list[Row], tags: list[Row], metrics: list[Row]) -> None:
        self.params = params
        self.tags = tags
        self.metrics = metrics


async def logged(tx: Tx, model_ids: Sequence[str], most: int = ALL_ROWS) -> Logged:
    """What belongs to some models: three statements for any number of them.

    Raises `TooLong` for more than `most` rows of one of them.
    """
    ids = tx.array(model_ids)
    return Logged(
        at_most(await tx.fetch(PARAMS, ids, most + 1), most),
        at_most(await tx.fetch(TAGS, ids, most + 1), most),
        at_most(await tx.fetch(METRICS, ids, most + 1), most),
    )


def _of_one(texts: Callable[..., keyed.Texts], kind: str) -> Sql:
    names = (f"logged_model_{kind}s", "model_id = $1", f"{kind}_key", f"{kind}_value", 1)
    return Sql(**texts(*names)._asdict())


PARAM_SIZES = _of_one(keyed.sizes, "param")
PARAMS_BY_KEY = _of_one(keyed.rows, "param")
TAG_SIZES = _of_one(keyed.sizes, "tag")
TAGS_BY_KEY = _of_one(keyed.rows, "tag")
_PART: Final = (
    "SELECT model_id, metric_name, metric_value, metric_timestamp_ms, metric_step, dataset_name,"
    " dataset_digest, run_id FROM logged_model_metrics WHERE model_id = $1 AND ({place})"
    " ORDER BY {order} LIMIT $6"
)
_ORDER: Final = "metric_name{c}, metric_timestamp_ms, metric_step, run_id{c}"
_PLACE: Final = "{first} IS NULL OR ({order}) > ($2, $3, $4, $5)"
METRICS_PART = (
    Sql(  # points of a model after one (name, timestamp, step, run), at most so many; nulls begin
        postgres=_PART.format(
            place=_PLACE.format(first="$2::varchar", order=_ORDER.format(c=' COLLATE "C"')),
            order=_ORDER.format(c=' COLLATE "C"'),
        ),
        sqlite=_PART.format(
            place=_PLACE.format(first="$2", order=_ORDER.format(c="")), order=_ORDER.format(c="")
        ),
    )
)


async def metrics_part(tx: Tx, model_id: str, place: Sequence[object], limit: int) -> list[Row]:
    """Points of a model (`METRICS`) that come after a place."""
    return await tx.fetch(METRICS_PART, model_id, *place, limit)


async def find(tx: Tx, model_id: str, most: int = ALL_ROWS) -> tuple[Row, Logged] | None:
    """One model, deleted or not, and what belongs to it. Raises `TooLong` for more than `most` rows of one kind."""
    row = await tx.fetchrow(MODEL, model_id)
    return None if row is None else (row, await logged(tx, [model_id], most))


async def row_of(tx: Tx, model_id: str) -> Row | None:
    """The row of a model, deleted or not, or None."""
    return await tx.fetchrow(MODEL, model_id)


async def live(tx: Tx, model_id: str) -> Row | None:
    """One model that is there and not deleted; None too where the database has no logged models."""
    if not tx.schema.has("logged_models"):
        return None
    row = await tx.fetchrow(MODEL, model_id)
    return None if row is None or row[7] == "deleted" else row


async def small_page(tx: Tx, page: Page) -> tuple[Sequence[Row], Logged, str | None]:
    """One page of models, what belongs to them, and the token of the next page.

    Raises `TooLong` for a page that is too large to be held at once.
    """
    rows, token = await first_rows(tx, page)
    ids = [row[0] for row in rows]
    if not ids:
        return rows, Logged([], [], []), token
    found = await at_once(tx, weigh, ids, partial(logged, tx, ids), MOST_VALUES, ALL_ROWS)
    return rows, found, token


async def weigh(tx: Tx, model_ids: Sequence[str]) -> Mapping[str, int]:
    """About how many bytes of an answer belong to each model."""
    return {model_id: int(size) for model_id, size in await tx.fetch(WEIGHTS, tx.array(model_ids))}


async def read(tx: Tx, model_ids: Sequence[str]) -> tuple[list[Row], Logged]:
    """The models that exist, in the order of `model_ids`, and what belongs to them."""
    found = {row[0]: row for row in await tx.fetch(MODELS, tx.array(model_ids))}
    rows = [found[model_id] for model_id in model_ids if model_id in found]
    return rows, await logged(tx, [row[0] for row in rows])
