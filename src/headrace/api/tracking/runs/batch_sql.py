"""SQL of the log-batch path: whole columns as arrays on PostgreSQL, executemany on SQLite.

Rows are sorted by (key, run), as the tables' primary keys are, before they are written: two processes never wait
for each other in a circle, and neighbours in an index are written one after the other (20 runs of 500 metrics:
23 instead of 30 µs of PostgreSQL's time per point, 2026-11-28).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

from headrace.api.tracking.runs.sql import STAGES
from headrace.commit.kinds import MAX_GROUP_OPS
from headrace.db.base import Copy, Sql, Tx
from headrace.db.errors import UniqueViolation

if TYPE_CHECKING:
    from headrace.api.tracking.runs.batch import Batch, Point

Params = dict[str, dict[str, str]]  # by run and key
_KEY: Final = itemgetter(0)
_RUN_OF_BATCH: Final = attrgetter("run_id")

# A new point wins over the latest one when (step, timestamp, value) is greater, on stored values.
_WINS = (
    "(EXCLUDED.step, EXCLUDED.timestamp, EXCLUDED.value)"
    " > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"
)
_LATEST_ON_CONFLICT = (
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value, timestamp = EXCLUDED.timestamp,"
    f" step = EXCLUDED.step, is_nan = EXCLUDED.is_nan WHERE {_WINS}"
)


# Points as parameters (`_arguments`): run ids, one text of all keys, arrays of timestamps, steps and values, and two
# strings of bytes: which of the run ids, and flags. asyncpg looks at every item of an array for 0.3-0.6 µs (a nested
# array?), which with seven arrays was a third of what a point cost this process.
_POINTS = """
    SELECT u.key, ($1::varchar[])[get_byte($6::bytea, (u.n - 1)::int) + 1] AS run_uuid, u.timestamp, u.step, u.value,
           get_byte($7::bytea, (u.n - 1)::int) AS flags
    FROM unnest(string_to_array($2::text, E'\\x01'), $3::bigint[], $4::bigint[], $5::float8[])
         WITH ORDINALITY AS u(key, timestamp, step, value, n)"""
IS_NAN: Final = 1
IS_NEWEST: Final = 2  # wins over the other points of its run and key in this group


# The time limit for locks of a statement that is a transaction by itself: set once, before it locks anything. Nothing
# stays set in the session, which may be a pooler's.
_LIMITS_LOCKS = " AND (SELECT set_config('lock_timeout', '500ms', true)) IS NOT NULL"


# One statement for a small group of metrics: which runs are there and active, the points, the latest points. What
# comes in lock order stays in it: a filter on a function's rows sorts nothing.
def _points_of_active(on_duplicate: str, limit: str) -> Sql:
    return Sql(
        postgres=f"""
WITH live AS MATERIALIZED (
    SELECT run_uuid, lifecycle_stage, experiment_id FROM runs WHERE run_uuid = ANY($1::varchar[]){limit}
), point AS MATERIALIZED (
    SELECT * FROM ({_POINTS}) AS p
    WHERE (run_uuid IN (SELECT run_uuid FROM live WHERE lifecycle_stage = 'active')) IS TRUE
), history AS (
    INSERT INTO metrics (run_uuid, key, timestamp, step, value, is_nan)
    SELECT run_uuid, key, timestamp, step, value, flags & {IS_NAN} <> 0 FROM point
    {on_duplicate}
), latest AS (
    INSERT INTO latest_metrics (run_uuid, key, timestamp, step, value, is_nan)
    SELECT run_uuid, key, timestamp, step, value, flags & {IS_NAN} <> 0 FROM point WHERE flags & {IS_NEWEST} <> 0
    {_LATEST_ON_CONFLICT}
) SELECT run_uuid, lifecycle_stage, experiment_id FROM live""",
        sqlite="SELECT 1",  # SQLite runs INSERT_POINTS and UPSERT_LATEST in its transaction instead
    )


# A plain INSERT costs a tenth less of PostgreSQL's time than one with ON CONFLICT (docs/decisions), and a point
# that is there already is rare: only a client's retry sends one.
NEW_POINTS_OF_ACTIVE = _points_of_active("", _LIMITS_LOCKS)
OLD_POINTS_OF_ACTIVE = _points_of_active("ON CONFLICT DO NOTHING", _LIMITS_LOCKS)
POINTS_OF_ACTIVE = _points_of_active("ON CONFLICT DO NOTHING", "")  # inside a transaction
POINT_COPY = Copy("metrics", "key", "timestamp", "step", "run_uuid", "value", "is_nan")
PARAM_COPY = Copy("params", "key", "run_uuid", "value")
INSERT_POINTS = Sql(
    postgres="INSERT INTO metrics (run_uuid, key, timestamp, step, value, is_nan)"
    f" SELECT run_uuid, key, timestamp, step, value, flags & {IS_NAN} <> 0 FROM ({_POINTS}) AS p"
    " ON CONFLICT DO NOTHING",
    sqlite="INSERT INTO metrics (key, timestamp, step, run_uuid, value, is_nan)"
    " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
)
UPSERT_LATEST = Sql(
    postgres="INSERT INTO latest_metrics (run_uuid, key, timestamp, step, value, is_nan)"
    f" SELECT run_uuid, key, timestamp, step, value, flags & {IS_NAN} <> 0 FROM ({_POINTS}) AS p"
    + _LATEST_ON_CONFLICT,
    sqlite="INSERT INTO latest_metrics (key, timestamp, step, run_uuid, value, is_nan)"
    " VALUES ($1, $2, $3, $4, $5, $6)" + _LATEST_ON_CONFLICT,
)
INSERT_PARAMS = Sql(
    postgres="INSERT INTO params (key, run_uuid, value)"
    " SELECT * FROM unnest($1::varchar[], $2::varchar[], $3::varchar[]) ON CONFLICT DO NOTHING",
    sqlite="INSERT INTO params (key, run_uuid, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
)
STORED_PARAMS = Sql(
    postgres="SELECT p.run_uuid, p.key, p.value FROM params p"
    " JOIN unnest($1::varchar[], $2::varchar[]) AS u(run_uuid, key) USING (run_uuid, key)",
    sqlite="SELECT p.run_uuid, p.key, p.value FROM json_each($1) r JOIN params p"
    " ON p.run_uuid = r.value AND p.key IN (SELECT value FROM json_each($2))",
)
UPSERT_TAGS = Sql(
    postgres="INSERT INTO tags (key, run_uuid, value)"
    " SELECT * FROM unnest($1::varchar[], $2::varchar[], $3::varchar[])"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value",
    sqlite="INSERT INTO tags (key, run_uuid, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value",
)
KNOWN_MODELS = Sql(
    postgres="SELECT model_id FROM logged_models WHERE model_id = ANY($1::varchar[])",
    sqlite="SELECT model_id FROM logged_models WHERE model_id IN (SELECT value FROM json_each($1))",
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


def _points(batches: Sequence[Batch]) -> list[Point]:
    """All points, each once, in lock order: by key and run, as the primary keys are sorted."""
    rows = list(dict.fromkeys(p for b in sorted(batches, key=_RUN_OF_BATCH) for p in b.points))
    rows.sort(key=_KEY)
    return rows


def _newest(rows: list[Point]) -> list[Point]:
    """Of sorted points, the winner of each run and key: the greatest (step, timestamp, value)."""
    winners = rows[:1]
    for row in rows:
        best = winners[-1]
        if row[0] != best[0] or row[3] != best[3]:
            winners.append(row)
        elif row[2] >= best[2] and (row[2], row[1], row[4]) > (best[2], best[1], best[4]):
            winners[-1] = row
    return winners


def _arguments(rows: Sequence[Point], flags: bytes) -> tuple[Any, ...]:
    """The parameters of a statement with `_POINTS`."""
    keys, timestamps, steps, run_ids, values, _ = zip(*rows, strict=True)
    numbers = {run_id: n for n, run_id in enumerate(dict.fromkeys(run_ids))}
    assert len(numbers) <= MAX_GROUP_OPS, "the number of a run is a byte"
    runs = bytes(map(numbers.__getitem__, run_ids))
    return list(numbers), "\x01".join(keys), timestamps, steps, values, runs, flags


def _flags(rows: Sequence[Point]) -> bytes:
    return bytes(row[5] for row in rows)  # IS_NAN is 1


async def insert_points_of_active(tx: Tx, batches: Sequence[Batch]) -> dict[str, tuple[str, int]]:
    """Write the points of all runs that are active; returns what `stages` would. PostgreSQL only."""
    rows = _points(batches)
    newest = set(map(id, _newest(rows)))
    flags = bytes(row[5] | (IS_NEWEST if id(row) in newest else 0) for row in rows)
    arguments = _arguments(rows, flags)
    try:
        sql = NEW_POINTS_OF_ACTIVE if tx.alone else POINTS_OF_ACTIVE
        found = await tx.fetch(sql, *arguments)
    except UniqueViolation:
        if not tx.alone:
            raise
        found = await tx.fetch(OLD_POINTS_OF_ACTIVE, *arguments)
    tx.wrote(len(rows) + len(newest))
    return {row[0]: (row[1], row[2]) for row in found}


async def insert_points(tx: Tx, batches: Sequence[Batch]) -> None:
    """Write points and latest points of runs that are known to be active."""
    rows = _points(batches)
    if not rows:
        return
    if not await tx.copy_new(POINT_COPY, rows):
        await _write_points(tx, INSERT_POINTS, rows)
    # Last, so that another process that logs to the same runs waits for the locks of these rows least.
    await _write_points(tx, UPSERT_LATEST, _newest(rows))


async def _write_points(tx: Tx, sql: Sql, rows: Sequence[Point]) -> None:
    if tx.dialect == "postgres":
        await tx.execute(sql, *_arguments(rows, _flags(rows)))
    else:
        await tx.executemany(sql, rows)


async def insert_params(tx: Tx, params: Params) -> bool:
    """Insert params, by run and key; whether all of them were new."""
    rows = [(key, run, value) for run in sorted(params) for key, value in params[run].items()]
    rows.sort(key=_KEY)
    return await tx.copy_new(PARAM_COPY, rows) or (
        await tx.insert_many(INSERT_PARAMS, rows) == len(rows)
    )


async def stored_params(tx: Tx, params: Params) -> Params:
    """What is stored of the params given by run and key."""
    if tx.dialect == "postgres":
        pairs = [(run, key) for run, of_run in params.items() for key in of_run]
        args: tuple[Any, ...] = ([run for run, _ in pairs], [key for _, key in pairs])
    else:
        keys = {key for of_run in params.values() for key in of_run}
        args = (tx.array(sorted(params)), tx.array(sorted(keys)))
    stored: Params = {}
    for run_id, key, value in await tx.fetch(STORED_PARAMS, *args):
        stored.setdefault(run_id, {})[key] = value
    return stored


async def upsert_tags(tx: Tx, batches: Sequence[Batch]) -> None:
    """Write tags; of a key set twice in the group the later batch wins."""
    latest = {(b.run_id, key): value for b in batches for key, value in b.tags.items()}
    if latest:
        rows = sorted((key, run_id, value) for (run_id, key), value in latest.items())
        await tx.insert_many(UPSERT_TAGS, rows)


async def rename(tx: Tx, names: dict[str, str]) -> None:
    """Set the name of runs (`mlflow.runName` renames)."""
    await tx.executemany(RENAME, sorted(names.items()))


async def logged_models(tx: Tx, batches: Sequence[Batch]) -> set[str] | None:
    """Which of the logged models that the batches name exist; None where there are no logged models."""
    if not tx.schema.has("logged_model_metrics"):  # MLflow 2
        return None
    ids = {point[0] for batch in batches for point in batch.model_points}
    return {row[0] for row in await tx.fetch(KNOWN_MODELS, tx.array(sorted(ids)))} if ids else set()


async def insert_model_points(
    tx: Tx, batches: Sequence[Batch], stages_of: dict[str, tuple[str, int]]
) -> None:
    """Write the points that name a logged model. A model that was deleted since is a foreign-key violation."""
    if not tx.schema.has("logged_model_metrics"):  # MLflow 2 has no logged models
        return
    rows = sorted(
        {(*point, b.run_id, stages_of[b.run_id][1]) for b in batches for point in b.model_points},
        key=repr,
    )
    if rows:
        await tx.executemany(INSERT_MODEL_POINTS, rows)
