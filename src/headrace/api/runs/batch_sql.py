"""SQL of the log-batch path: whole columns as arrays on PostgreSQL, executemany on SQLite.

Rows are sorted by (run, key) before they are written, so two processes never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from headrace.api.runs.sql import STAGES
from headrace.db.base import Sql, Tx
from headrace.db.errors import UniqueViolation

if TYPE_CHECKING:
    from headrace.api.runs.batch import Batch

# A new point wins over the latest one when (step, timestamp, value) is greater, on stored values.
_WINS = (
    "(EXCLUDED.step, EXCLUDED.timestamp, EXCLUDED.value)"
    " > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"
)
_LATEST_ON_CONFLICT = (
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value, timestamp = EXCLUDED.timestamp,"
    f" step = EXCLUDED.step, is_nan = EXCLUDED.is_nan WHERE {_WINS}"
)


# One statement for a group of metrics: which runs are there and active, the points, the latest points.
# $1 run ids; the others one item per point, `newest` marking the winner of its (run, key) in this group.
def _points_of_active(on_duplicate: str) -> Sql:
    return Sql(
        postgres=f"""
WITH live AS MATERIALIZED (
    SELECT run_uuid, lifecycle_stage, experiment_id FROM runs WHERE run_uuid = ANY($1::varchar[])
), point AS MATERIALIZED (
    SELECT u.* FROM unnest($2::varchar[], $3::varchar[], $4::bigint[], $5::bigint[], $6::float8[], $7::bool[],
                           $8::bool[]) AS u(run_uuid, key, timestamp, step, value, is_nan, newest)
    WHERE u.run_uuid IN (SELECT run_uuid FROM live WHERE lifecycle_stage = 'active')
), history AS (
    INSERT INTO metrics (run_uuid, key, timestamp, step, value, is_nan)
    SELECT run_uuid, key, timestamp, step, value, is_nan FROM point ORDER BY run_uuid, key, timestamp, step
    {on_duplicate}
), latest AS (
    INSERT INTO latest_metrics (run_uuid, key, timestamp, step, value, is_nan)
    SELECT run_uuid, key, timestamp, step, value, is_nan FROM point WHERE newest ORDER BY run_uuid, key
    {_LATEST_ON_CONFLICT}
) SELECT run_uuid, lifecycle_stage, experiment_id FROM live""",
        sqlite="SELECT 1",  # SQLite runs INSERT_POINTS and UPSERT_LATEST in its transaction instead
    )


# A plain INSERT costs a tenth less of PostgreSQL's time than one with ON CONFLICT (docs/decisions), and a point
# that is there already is rare: only a client's retry sends one.
NEW_POINTS_OF_ACTIVE = _points_of_active("")
POINTS_OF_ACTIVE = _points_of_active("ON CONFLICT DO NOTHING")
INSERT_POINTS = Sql(
    "INSERT INTO metrics (run_uuid, key, timestamp, step, value, is_nan)"
    " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
)
UPSERT_LATEST = Sql(
    "INSERT INTO latest_metrics (run_uuid, key, timestamp, step, value, is_nan)"
    " VALUES ($1, $2, $3, $4, $5, $6)" + _LATEST_ON_CONFLICT
)
INSERT_PARAMS = Sql(
    postgres="INSERT INTO params (run_uuid, key, value)"
    " SELECT * FROM unnest($1::varchar[], $2::varchar[], $3::varchar[]) ON CONFLICT DO NOTHING",
    sqlite="INSERT INTO params (run_uuid, key, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
)
STORED_PARAMS = Sql(
    postgres="SELECT p.run_uuid, p.key, p.value FROM params p"
    " JOIN unnest($1::varchar[], $2::varchar[]) AS u(run_uuid, key) USING (run_uuid, key)",
    sqlite="SELECT p.run_uuid, p.key, p.value FROM json_each($1) r JOIN params p"
    " ON p.run_uuid = r.value AND p.key IN (SELECT value FROM json_each($2))",
)
UPSERT_TAGS = Sql(
    postgres="INSERT INTO tags (run_uuid, key, value)"
    " SELECT * FROM unnest($1::varchar[], $2::varchar[], $3::varchar[])"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value",
    sqlite="INSERT INTO tags (run_uuid, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value",
)
RENAME = Sql("UPDATE runs SET name = $2 WHERE run_uuid = $1")
INSERT_MODEL_POINTS = Sql(
    "INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step, metric_value,"
    " dataset_name, dataset_digest, run_id, experiment_id)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING"
)


async def stages(tx: Tx, run_ids: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Lifecycle stage and experiment id of the runs that exist."""
    rows = await tx.fetch(STAGES, tx.array(sorted(run_ids)))
    return {row[0]: (row[1], row[2]) for row in rows}


def _points(batches: Sequence[Batch]) -> tuple[list[tuple[Any, ...]], list[bool]]:
    """Rows (run, key, timestamp, step, value, is_nan) in lock order, and which are their key's newest."""
    rows = sorted({(b.run_id, *point) for b in batches for point in b.points})
    newest: dict[tuple[str, str], int] = {}
    for n, row in enumerate(rows):
        best = newest.setdefault((row[0], row[1]), n)
        if best != n and (row[3], row[2], row[4]) > (rows[best][3], rows[best][2], rows[best][4]):
            newest[row[0], row[1]] = n
    winners = set(newest.values())
    return rows, [n in winners for n in range(len(rows))]


async def insert_points_of_active(tx: Tx, batches: Sequence[Batch]) -> dict[str, tuple[str, int]]:
    """Write the points of all runs that are active; returns what `stages` would. PostgreSQL only."""
    rows, newest = _points(batches)
    run_ids = sorted({b.run_id for b in batches})
    columns = list(zip(*rows, strict=True)) or [()] * 6
    try:
        sql = NEW_POINTS_OF_ACTIVE if tx.alone else POINTS_OF_ACTIVE
        found = await tx.fetch(sql, run_ids, *columns, newest)
    except UniqueViolation:
        if not tx.alone:
            raise
        found = await tx.fetch(POINTS_OF_ACTIVE, run_ids, *columns, newest)
    tx.wrote(len(rows) + sum(newest))
    return {row[0]: (row[1], row[2]) for row in found}


async def insert_points(tx: Tx, batches: Sequence[Batch]) -> None:
    """Write points and latest points of runs that are known to be active."""
    if not any(b.points for b in batches):
        return
    if tx.dialect == "postgres":
        await insert_points_of_active(tx, batches)
        return
    rows, newest = _points(batches)
    await tx.executemany(INSERT_POINTS, rows)
    await tx.executemany(UPSERT_LATEST, [r for r, wins in zip(rows, newest, strict=True) if wins])


async def insert_params(tx: Tx, rows: Sequence[tuple[str, str, str]]) -> int:
    """Insert (run, key, value) rows that are not there; returns how many were not."""
    return await tx.insert_many(INSERT_PARAMS, rows)


async def params(tx: Tx, rows: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    """The stored values of the (run, key) pairs of `rows`, by run and key."""
    if tx.dialect == "postgres":
        args = ([r[0] for r in rows], [r[1] for r in rows])
    else:
        args = (tx.array(sorted({r[0] for r in rows})), tx.array(sorted({r[1] for r in rows})))
    stored: dict[str, dict[str, str]] = {}
    for run_id, key, value in await tx.fetch(STORED_PARAMS, *args):
        stored.setdefault(run_id, {})[key] = value
    return stored


async def upsert_tags(tx: Tx, batches: Sequence[Batch]) -> None:
    """Write tags; of a key set twice in the group the later batch wins."""
    latest = {(b.run_id, key): value for b in batches for key, value in b.tags.items()}
    if latest:
        await tx.insert_many(UPSERT_TAGS, sorted((*pair, value) for pair, value in latest.items()))


async def rename(tx: Tx, names: dict[str, str]) -> None:
    """Set the name of runs (`mlflow.runName` renames)."""
    await tx.executemany(RENAME, sorted(names.items()))


async def insert_model_points(
    tx: Tx, batches: Sequence[Batch], stages_of: dict[str, tuple[str, int]]
) -> None:
    """Write the points that name a logged model. An unknown model is a foreign-key violation."""
    if not tx.schema.has("logged_model_metrics"):  # MLflow 2 has no logged models
        return
    rows = sorted(
        {(*point, b.run_id, stages_of[b.run_id][1]) for b in batches for point in b.model_points},
        key=repr,
    )
    if rows:
        await tx.executemany(INSERT_MODEL_POINTS, rows)
