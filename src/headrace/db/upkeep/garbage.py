"""SQL of `headrace gc`: finds deleted runs, models and experiments, and removes them in short transactions.

It removes the same rows as `mlflow gc` (SqlAlchemyStore._hard_delete_run and its siblings, 3.17).

Artifacts are removed after the rows that name them. In between an *orphan* records their location:
a row of `runs`, inserted by the transaction that deletes the run or model. It has no experiment and
no lifecycle stage, so that no search, no restore and no `mlflow gc` finds it. It is deleted after
the artifacts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString, NamedTuple
from uuid import uuid4

from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Row, Tx

CHUNK_ROWS: Final = 10_000  # per transaction: 20-60 ms, which bounds the wait of other writers
CHUNK_TRACES: Final = 200  # fewer, since their spans are deleted with them
PAGE_ROWS: Final = 100  # runs, models or experiments per page
ORPHAN: Final = "headrace-gc-"  # prefix of an orphan's id; 20 hexadecimal digits fill the column

_ENDED: Final = "status IN (2, 3, 4, 5) AND creation_time < $1"


class Candidates(NamedTuple):
    """The statements that find what a collection may remove.

    $1: deleted at or before (experiments: before) this time in milliseconds, as stock compares; $2:
    last id of the previous page; $3: rows per page.
    """

    runs: Sql
    runs_of_experiment: Sql
    models: Sql
    experiments: Sql
    # Without an age, stock does not compare times (databases of old releases have none for
    # experiments).
    all_experiments: Sql
    # $1: ids named by the user. (id, artifact location or name, stage, time of deletion or last change)
    runs_named: Sql
    models_named: Sql
    experiments_named: Sql
    # The number of candidates, for the progress of a collection. $1 as above.
    count_runs: Sql
    count_models: Sql
    count_experiments: Sql
    # Jobs that have ended (succeeded, failed, timed out, canceled). $1: made before; $2: rows of a
    # chunk, or ids.
    jobs: Sql
    jobs_named: Sql
    count_jobs: Sql
    count_jobs_named: Sql


def _candidates(in_experiments: LiteralString, in_workspace: LiteralString) -> Candidates:
    """The statements, with conditions on the column `experiment_id` or `workspace`."""
    runs = f"FROM runs WHERE {in_experiments}lifecycle_stage = 'deleted'"
    models = f"FROM logged_models WHERE {in_experiments}lifecycle_stage = 'deleted'"
    experiments = f"FROM experiments WHERE {in_workspace}lifecycle_stage = 'deleted'"
    jobs = f"FROM jobs WHERE {in_workspace}{_ENDED}"
    return Candidates(
        runs=Sql(
            f"SELECT run_uuid, artifact_uri {runs}"
            " AND deleted_time <= $1 AND run_uuid > $2 ORDER BY run_uuid LIMIT $3"
        ),
        runs_of_experiment=Sql(
            f"SELECT run_uuid, artifact_uri, deleted_time {runs}"
            " AND (deleted_time <= $1 OR deleted_time IS NULL) AND experiment_id = $4"
            " AND run_uuid > $2 ORDER BY run_uuid LIMIT $3"
        ),
        models=Sql(
            f"SELECT model_id, artifact_location {models}"
            " AND last_updated_timestamp_ms <= $1 AND model_id > $2 ORDER BY model_id LIMIT $3"
        ),
        experiments=Sql(
            f"SELECT experiment_id, name {experiments}"
            " AND last_update_time < $1 AND experiment_id > $2 ORDER BY experiment_id LIMIT $3"
        ),
        all_experiments=Sql(
            f"SELECT experiment_id, name {experiments} AND coalesce(last_update_time, 0) <= $1"
            " AND experiment_id > $2 ORDER BY experiment_id LIMIT $3"
        ),
        runs_named=Sql(
            "SELECT run_uuid, artifact_uri, lifecycle_stage, deleted_time FROM runs"
            f" WHERE {in_experiments}run_uuid {{in $1 text}}"
        ),
        models_named=Sql(
            "SELECT model_id, artifact_location, lifecycle_stage, last_updated_timestamp_ms"
            f" FROM logged_models WHERE {in_experiments}model_id {{in $1 text}}"
        ),
        experiments_named=Sql(
            "SELECT experiment_id, name, lifecycle_stage, last_update_time FROM experiments"
            f" WHERE {in_workspace}experiment_id {{in $1 int}}"
        ),
        count_runs=Sql(f"SELECT count(*) {runs} AND deleted_time <= $1"),
        count_models=Sql(f"SELECT count(*) {models} AND last_updated_timestamp_ms <= $1"),
        count_experiments=Sql(
            f"SELECT count(*) {experiments} AND coalesce(last_update_time, 0) <= $1"
        ),
        jobs=Sql(f"DELETE FROM jobs WHERE id IN (SELECT id {jobs} LIMIT $2)"),
        jobs_named=Sql(f"DELETE {jobs} AND id {{in $2 text}}"),
        count_jobs=Sql(f"SELECT count(*) {jobs}"),
        count_jobs_named=Sql(f"SELECT count(*) {jobs} AND id {{in $2 text}}"),
    )


EVERYWHERE: Final = _candidates("", "")
IN_WORKSPACE: Final = _candidates(
    "experiment_id IN (SELECT experiment_id FROM experiments WHERE workspace = {workspace}) AND ",
    "workspace = {workspace} AND ",
)
WORKSPACE = Sql("SELECT 1 FROM workspaces WHERE name = {workspace}")
RUNS_LEFT = Sql("SELECT count(*) FROM runs WHERE experiment_id = $1")
METRICS_BY_RUN = Sql(
    "SELECT run_uuid, count(*) FROM metrics WHERE run_uuid {in $1 text} GROUP BY run_uuid"
)
COUNT_METRICS = Sql("SELECT count(*) FROM metrics WHERE run_uuid {in $1 text}")
# The lock makes a concurrent restore wait for the end of the transaction. $2: deleted at or
# before; $1 as above.
STILL_DELETED_RUNS = Sql(
    "SELECT run_uuid, artifact_uri FROM runs WHERE run_uuid {in $1 text}"
    " AND lifecycle_stage = 'deleted' AND coalesce(deleted_time, 0) <= $2"
    " ORDER BY run_uuid {for delete}"
)
STILL_DELETED_MODELS = Sql(
    "SELECT model_id, artifact_location FROM logged_models WHERE model_id {in $1 text}"
    " AND lifecycle_stage = 'deleted' AND last_updated_timestamp_ms <= $2"
    " ORDER BY model_id {for delete}"
)
STILL_DELETED_EXPERIMENT = Sql(
    "SELECT 1 FROM experiments WHERE experiment_id = $1 AND lifecycle_stage = 'deleted' {for delete}"
)
DELETE_RUNS = Sql("DELETE FROM runs WHERE run_uuid {in $1 text}")
DELETE_MODELS = Sql("DELETE FROM logged_models WHERE model_id {in $1 text}")
# An address of up to 500 characters fits into source_name, 200 into artifact_uri. $1 … $3: as in `Orphan`.
INSERT_ORPHAN = Sql("INSERT INTO runs (run_uuid, name, source_name) VALUES ($1, $2, $3)")
# $1: last id of the previous page; $2: rows per page.
_IS_ORPHAN: Final = (
    f"run_uuid LIKE '{ORPHAN}%' AND lifecycle_stage IS NULL AND experiment_id IS NULL"
)
ORPHANS = Sql(
    "SELECT run_uuid, name, source_name FROM runs"
    f" WHERE run_uuid > $1 AND {_IS_ORPHAN} ORDER BY run_uuid LIMIT $2"
)
COUNT_ORPHANS = Sql(f"SELECT count(*) FROM runs WHERE {_IS_ORPHAN}")
DELETE_EXPERIMENT = Sql(
    "DELETE FROM experiments WHERE experiment_id = $1 AND lifecycle_stage = 'deleted'"
    " AND NOT EXISTS (SELECT 1 FROM runs WHERE experiment_id = $1)"
)


def _chunk_of(table: LiteralString, column: LiteralString) -> Sql:
    """Delete at most $2 rows whose `column` is one of $1."""
    return Sql(
        postgres=f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}"
        f" WHERE {column} = ANY($1::varchar[]) LIMIT $2))",
        sqlite=f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table}"
        f" WHERE {column} IN (SELECT value FROM json_each($1)) LIMIT $2)",
    )


def _chunk_of_experiment(table: LiteralString) -> Sql:
    """Delete at most $2 rows of experiment $1."""
    return Sql(
        postgres=f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}"
        " WHERE experiment_id = $1 LIMIT $2))",
        sqlite=f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table}"
        " WHERE experiment_id = $1 LIMIT $2)",
    )


# In this order: referring rows are deleted before the rows they refer to. ON DELETE CASCADE deletes
# the rest.
OF_RUNS: Final = {
    table: _chunk_of(table, column)
    for table, column in (
        ("latest_metrics", "run_uuid"),
        ("metrics", "run_uuid"),
        ("params", "run_uuid"),
        ("tags", "run_uuid"),
        ("logged_model_metrics", "run_id"),
    )
}
OF_MODELS: Final = {
    table: _chunk_of(table, "model_id")
    for table in ("logged_model_metrics", "logged_model_params", "logged_model_tags")
}
OF_EXPERIMENT: Final = {
    table: _chunk_of_experiment(table)
    for table in (
        "logged_model_metrics",
        "logged_model_params",
        "logged_model_tags",
        "logged_models",
        "trace_info",
        "online_scoring_configs",
        "experiment_tags",
        "sql_trace_metric_daily_rollups",
        "sql_span_cost_daily_rollups",
        "sql_assessment_daily_rollups",
        "sql_trace_rollup_rebuild_queue",
    )
}
# The datasets and models that a run used. MLflow never deletes these rows.
_INPUTS_OF_RUNS: Final = (
    "(destination_type = 'RUN' AND destination_id {in $1 text})"
    " OR (source_type IN ('RUN_INPUT', 'RUN_OUTPUT') AND source_id {in $1 text})"
)
INPUT_TAGS_OF_RUNS = Sql(
    "DELETE FROM input_tags WHERE input_uuid IN"
    f" (SELECT input_uuid FROM inputs WHERE {_INPUTS_OF_RUNS})"
)
INPUTS_OF_RUNS = Sql(f"DELETE FROM inputs WHERE {_INPUTS_OF_RUNS}")


async def page(tx: Tx, sql: Sql, *args: object) -> list[Row]:
    """A page of candidates: (id, artifact location) or, for experiments, (id, name)."""
    return await tx.fetch(sql, *args)


async def named(tx: Tx, sql: Sql, ids: Sequence[object]) -> list[Row]:
    """The rows of `ids` that exist, in any stage."""
    return await tx.fetch(sql, tx.array(ids))


async def count(tx: Tx, sql: Sql, *args: object) -> int:
    """The single number that a statement returns; a list among `args` becomes an array."""
    row = await tx.fetchrow(sql, *(tx.array(a) if isinstance(a, list) else a for a in args))
    assert row is not None, "a count has a row"
    return int(row[0])


async def runs_left(tx: Tx, experiment_id: int) -> int:
    """The number of runs of an experiment, in any stage."""
    return await count(tx, RUNS_LEFT, experiment_id)


async def count_points(tx: Tx, run_ids: Sequence[str]) -> int:
    """The number of metric points of runs."""
    return await count(tx, COUNT_METRICS, list(run_ids))


async def chunk_of_jobs(
    tx: Tx, which: Candidates, before_ms: int, job_ids: list[str] | None
) -> int:
    """Delete finished jobs; returns their number."""
    if job_ids is None:
        return await tx.execute(which.jobs, before_ms, CHUNK_ROWS)
    return await tx.execute(which.jobs_named, before_ms, tx.array(job_ids))


async def workspace_exists(tx: Tx) -> bool:
    """Whether the workspace of the transaction exists."""
    return tx.schema.has("workspaces") and await tx.fetchrow(WORKSPACE) is not None


class Orphan(NamedTuple):
    """Artifacts at `uri` without a run or model. `of`: their former owner, for messages."""

    orphan_id: str
    of: str
    uri: str


class Deletion(NamedTuple):
    """The result of one transaction: deleted runs or models, partly deleted ones, number of deleted rows."""

    gone: list[str]
    left: list[str]
    rows: int
    orphans: list[Orphan]


async def metrics_by_run(tx: Tx, run_ids: Sequence[str]) -> dict[str, int]:
    """The number of metric points of each run that has any."""
    return {row[0]: row[1] for row in await tx.fetch(METRICS_BY_RUN, tx.array(run_ids))}


async def orphans_after(tx: Tx, orphan_id: str) -> list[Orphan]:
    """A page of orphans of this or an earlier collection; `orphan_id`: the last of the previous page, or ''."""
    return [Orphan(*row) for row in await tx.fetch(ORPHANS, orphan_id, PAGE_ROWS)]


async def forget(tx: Tx, orphans: Sequence[Orphan]) -> int:
    """Delete the records of orphans whose artifacts are deleted."""
    return await tx.execute(DELETE_RUNS, tx.array([orphan.orphan_id for orphan in orphans]))


async def delete_runs(
    tx: Tx, run_ids: Sequence[str], before_ms: int, with_inputs: bool, with_orphans: bool
) -> Deletion:
    """Delete the runs that are still in the stage "deleted", with all rows that fit into one transaction.

    `with_inputs`: also delete the records of the datasets and models they used. `with_orphans`:
    record their artifacts as orphans.
    """
    found = await tx.fetch(STILL_DELETED_RUNS, tx.array(sorted(run_ids)), before_ms)
    ids = [row[0] for row in found]
    rows = await _clear(tx, OF_RUNS, ids)
    if rows >= CHUNK_ROWS:
        return Deletion([], ids, rows, [])
    if with_inputs and tx.schema.has("inputs"):
        await tx.execute(INPUT_TAGS_OF_RUNS, tx.array(ids))
        await tx.execute(INPUTS_OF_RUNS, tx.array(ids))
    await tx.execute(DELETE_RUNS, tx.array(ids))
    return Deletion(ids, [], rows, await _orphans(tx, "run", found) if with_orphans else [])


async def delete_models(
    tx: Tx, model_ids: Sequence[str], before_ms: int, with_orphans: bool
) -> Deletion:
    """As `delete_runs`, for logged models."""
    found = await tx.fetch(STILL_DELETED_MODELS, tx.array(sorted(model_ids)), before_ms)
    ids = [row[0] for row in found]
    rows = await _clear(tx, OF_MODELS, ids)
    if rows >= CHUNK_ROWS:
        return Deletion([], ids, rows, [])
    await tx.execute(DELETE_MODELS, tx.array(ids))
    return Deletion(
        ids, [], rows, await _orphans(tx, "logged model", found) if with_orphans else []
    )


async def _clear(tx: Tx, statements: dict[str, Sql], ids: Sequence[str]) -> int:
    """Delete at most CHUNK_ROWS rows that belong to `ids`; returns their number. Fewer: none remain."""
    rows = 0
    for table, statement in statements.items():
        if ids and rows < CHUNK_ROWS and tx.schema.has(table):
            rows += await tx.execute(statement, tx.array(ids), CHUNK_ROWS - rows)
    return rows


async def _orphans(tx: Tx, kind: str, found: Sequence[Row]) -> list[Orphan]:
    orphans = [
        Orphan(f"{ORPHAN}{uuid4().hex[:20]}", f"{kind} {name}", uri) for name, uri in found if uri
    ]
    for orphan in orphans:
        await tx.execute(INSERT_ORPHAN, *orphan)
    return orphans


async def chunk_of_experiment(tx: Tx, experiment_id: int, table: str) -> int:
    """Delete rows of the experiment; returns their number, 0 when none remain or it was restored."""
    if not tx.schema.has(table, "experiment_id"):
        return 0
    if not await tx.fetch(STILL_DELETED_EXPERIMENT, experiment_id):
        return 0
    rows = CHUNK_TRACES if table == "trace_info" else CHUNK_ROWS
    return await tx.execute(OF_EXPERIMENT[table], experiment_id, rows)


async def last_of_experiment(tx: Tx, experiment_id: int) -> int:
    """Delete the experiment, if it has no runs; returns the number of deleted rows."""
    return await tx.execute(DELETE_EXPERIMENT, experiment_id)
