"""SQL for logged models, their params, tags and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

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
LOCK = Sql(  # the experiment of a model; nobody else changes the model until the transaction ends
    postgres="SELECT experiment_id FROM logged_models"
    " WHERE model_id = $1 AND lifecycle_stage <> 'deleted' FOR NO KEY UPDATE",
    sqlite="SELECT experiment_id FROM logged_models"
    " WHERE model_id = $1 AND lifecycle_stage <> 'deleted'",
)
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
CLAIM_TAG = (
    Sql(  # its value ($4 where it is new); nobody else changes it until the transaction ends
        "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value)"
        " VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = logged_model_tags.tag_value"
        " RETURNING tag_value"
    )
)
DELETE_TAG = Sql("DELETE FROM logged_model_tags WHERE model_id = $1 AND tag_key = $2")
SET_STATUS = Sql(
    "UPDATE logged_models SET status = $2, last_updated_timestamp_ms = $3 WHERE model_id = $1"
)
DELETE = Sql(  # softly: the row and all that is its stay
    "UPDATE logged_models SET lifecycle_stage = 'deleted', last_updated_timestamp_ms = $2"
    " WHERE model_id = $1"
)


def _of_models(select: str) -> Sql:
    return Sql(
        postgres=f"{select} WHERE model_id = ANY($1::varchar[])",
        sqlite=f"{select} WHERE model_id IN (SELECT value FROM json_each($1))",
    )


PARAMS = _of_models("SELECT model_id, param_key, param_value FROM logged_model_params")
TAGS = _of_models("SELECT model_id, tag_key, tag_value FROM logged_model_tags")
METRICS = _of_models(
    "SELECT model_id, metric_name, metric_value, metric_timestamp_ms, metric_step, dataset_name,"
    " dataset_digest, run_id FROM logged_model_metrics"
)


class Logged:
    """The rows of what belongs to some models; each begins with the model id."""

    __slots__ = ("metrics", "params", "tags")

    def __init__(self, params: list[Row], tags: list[Row], metrics: list[Row]) -> None:
        self.params = params
        self.tags = tags
        self.metrics = metrics


async def logged(tx: Tx, model_ids: Sequence[str]) -> Logged:
    """What belongs to some models: three statements for any number of them."""
    ids = tx.array(model_ids)
    return Logged(
        await tx.fetch(PARAMS, ids), await tx.fetch(TAGS, ids), await tx.fetch(METRICS, ids)
    )


async def find(tx: Tx, model_id: str) -> tuple[Row, Logged] | None:
    """One model, deleted or not, and what belongs to it."""
    row = await tx.fetchrow(MODEL, model_id)
    return None if row is None else (row, await logged(tx, [model_id]))


async def live(tx: Tx, model_id: str) -> Row | None:
    """One model that is there and not deleted; None too where the database has no logged models."""
    if not tx.schema.has("logged_models"):
        return None
    row = await tx.fetchrow(MODEL, model_id)
    return None if row is None or row[7] == "deleted" else row


async def search(tx: Tx, page: Page) -> tuple[Sequence[Row], Logged, str | None]:
    """One page of models, what belongs to them, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(page.sql, *page.args))
    belongings = await logged(tx, [row[0] for row in rows]) if rows else Logged([], [], [])
    return rows, belongings, token
