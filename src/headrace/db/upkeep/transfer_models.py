"""SQL of `headrace import`: logged models, registered models and traces with given ids and times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.db.sql import Bulk, Replace, Sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Tx

PENDING: Final = 1  # a status of `logged_models`
FIND_LOGGED = Sql(
    "SELECT experiment_id, status, artifact_location FROM logged_models WHERE model_id = $1"
)
INSERT_LOGGED = Sql(
    "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location,"
    " creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage, model_type,"
    f" source_run_id) VALUES ($1, $2, $3, $4, $5, $6, {PENDING}, 'active', $7, $8)"
    " ON CONFLICT DO NOTHING"
)
FINISH_LOGGED = Sql(
    "UPDATE logged_models SET name = $2, last_updated_timestamp_ms = $3, status = $4,"
    " status_message = $5 WHERE model_id = $1"
)
UPSERT_PARAMS = Bulk(
    "logged_model_params",
    model_id="text",
    experiment_id="int",
    param_key="text",
    param_value="text",
    on_conflict=Replace("model_id", "param_key"),
)
# A metric belongs to a run; those of runs that the database does not have are left out.
INSERT_METRIC = Sql(
    "INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step,"
    " metric_value, experiment_id, run_id, dataset_name, dataset_digest)"
    " SELECT CAST($1 AS varchar), CAST($2 AS varchar), CAST($3 AS bigint), CAST($4 AS bigint),"
    " CAST($5 AS float8), r.experiment_id, r.run_uuid, CAST($7 AS varchar), CAST($8 AS varchar)"
    " FROM runs r WHERE r.run_uuid = $6 ON CONFLICT DO NOTHING"
)
RUN_URI = Sql("SELECT artifact_uri FROM runs WHERE run_uuid = $1")
INSERT_REGISTERED = Sql(
    "INSERT INTO registered_models (name, creation_time, last_updated_time, description)"
    " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
)
INSERT_VERSION = Sql(
    "INSERT INTO model_versions (name, version, creation_time, last_updated_time, description, user_id,"
    " current_stage, source, run_id, run_link, status, status_message, storage_location)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING"
)
FIND_TRACE = Sql(
    "SELECT t.experiment_id, t.status, m.value FROM trace_info t"
    " LEFT JOIN trace_request_metadata m ON m.request_id = t.request_id AND m.key = $2"
    " WHERE t.request_id = $1"
)
LOCATION = Sql("SELECT artifact_location FROM experiments WHERE experiment_id = $1")


class StoredModel(NamedTuple):
    """A logged model of the target. `status` is the number of MLflow's enum."""

    experiment_id: int
    status: int
    artifact_location: str


class StoredTrace(NamedTuple):
    """A trace of the target. `finalized`: the value of metadata that is set last."""

    experiment_id: int
    status: str
    finalized: str | None


async def find_logged(tx: Tx, model_id: str) -> StoredModel | None:
    """Return a logged model, deleted or not."""
    row = await tx.fetchrow(FIND_LOGGED, model_id)
    return None if row is None else StoredModel(*row)


async def find_trace(tx: Tx, trace_id: str, key: str) -> StoredTrace | None:
    """Return a trace and the value of its metadata with a key."""
    row = await tx.fetchrow(FIND_TRACE, trace_id, key)
    return None if row is None else StoredTrace(*row)


async def text_of(tx: Tx, sql: Sql, key: int | str) -> str:
    """Return the text that a statement with one parameter finds, or ""."""
    row = await tx.fetchrow(sql, key)
    return "" if row is None else row[0] or ""


async def finish_logged(
    tx: Tx, model_id: str, name: str, updated: int, status: int, message: str | None
) -> None:
    """Set what marks a logged model as complete."""
    await tx.execute(FINISH_LOGGED, model_id, name, updated, status, message)


async def insert_metrics(tx: Tx, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert points of logged models that are not there yet."""
    for row in rows:
        await tx.execute(INSERT_METRIC, *row)
