"""SQL of the log-batch path.

Rows are written in the order of (key, run), as in the tables' primary keys. This prevents deadlocks
between processes, and adjacent index entries are written consecutively (20 runs of 500 metrics:
23 µs instead of 30 µs of PostgreSQL's time per point, 2026-11-28).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

from headrace.api.tracking.runs.sql import STAGES, UPDATE_RUN, RunStage, locked
from headrace.commit.kinds import MAX_GROUP_OPS
from headrace.db.base import Tx
from headrace.db.errors import UniqueViolation
from headrace.db.sql import LIMITS_LOCKS, Bulk, Replace, Sql

if TYPE_CHECKING:
    from headrace.api.tracking.runs.batch import Batch, Point

Params = dict[str, dict[str, str]]  # by run and key
_KEY: Final = itemgetter(0)
_RUN_OF_BATCH: Final = attrgetter("run_id")

# The rows of both are of type `Point`. A point that exists already is a repetition of the same
# point. A point replaces the latest one if its stored (step, timestamp, value) is greater.
POINTS: Final = Bulk(
    "metrics",
    key="text",
    timestamp="bigint",
    step="bigint",
    run_uuid="text",
    value="double",
    is_nan="bool",
    on_conflict="ignore",
)
LATEST: Final = Bulk(
    "latest_metrics",
    key="text",
    timestamp="bigint",
    step="bigint",
    run_uuid="text",
    value="double",
    is_nan="bool",
    on_conflict=Replace("key", "run_uuid", if_greater=("step", "timestamp", "value")),
)
PARAMS: Final = Bulk("params", key="text", run_uuid="text", value="text", on_conflict="ignore")
UPSERT_TAGS: Final = Bulk(
    "tags", key="text", run_uuid="text", value="text", on_conflict=Replace("key", "run_uuid")
)
# Points as parameters (`_arguments`): the run ids, one text of all keys, arrays of timestamps,
# steps and values, and two byte strings: the index of each point's run id, and the flags. asyncpg
# takes 0.3-0.6 µs to inspect each item of an array (it checks for nested arrays); with seven arrays
# this was a third of the cost of a point in this process.
_POINTS = """
    SELECT u.key, ($1::varchar[])[get_byte($6::bytea, (u.n - 1)::int) + 1] AS run_uuid, u.timestamp, u.step, u.value,
           get_byte($7::bytea, (u.n - 1)::int) AS flags
    FROM unnest(string_to_array($2::text, E'\\x01'), $3::bigint[], $4::bigint[], $5::float8[])
         WITH ORDINALITY AS u(key, timestamp, step, value, n)"""
IS_NAN: Final = 1
IS_NEWEST: Final = 2  # the latest of the points of its run and key in this group


# One statement for a small group of metrics: it selects the active runs and writes the points and
# the latest points. The points are passed in lock order and keep it, because filtering the rows of
# a function does not sort them.
def _points_of_active(on_duplicate: str, limit: str) -> Sql:
    return Sql(
        postgres=f"""
WITH live AS MATERIALIZED (
    SELECT run_uuid, lifecycle_stage, experiment_id FROM runs WHERE run_uuid {{in $1 text}}{limit}
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
    {LATEST.clause}
) SELECT run_uuid, lifecycle_stage, experiment_id FROM live"""
    )


# A plain INSERT takes a tenth less of PostgreSQL's time than one with ON CONFLICT (docs/decisions).
# Points that exist already are rare: only a client's retry sends them.
NEW_POINTS_OF_ACTIVE = _points_of_active("", LIMITS_LOCKS)
OLD_POINTS_OF_ACTIVE = _points_of_active("ON CONFLICT DO NOTHING", LIMITS_LOCKS)
POINTS_OF_ACTIVE = _points_of_active("ON CONFLICT DO NOTHING", "")  # inside a transaction
# POINTS and LATEST with the parameters of `_POINTS`.
PACKED_POINTS = Sql(
    postgres="INSERT INTO metrics (run_uuid, key, timestamp, step, value, is_nan)"
    f" SELECT run_uuid, key, timestamp, step, value, flags & {IS_NAN} <> 0 FROM ({_POINTS}) AS p"
    + POINTS.clause
)
PACKED_LATEST = Sql(
    postgres="INSERT INTO latest_metrics (run_uuid, key, timestamp, step, value, is_nan)"
    f" SELECT run_uuid, key, timestamp, step, value, flags & {IS_NAN} <> 0 FROM ({_POINTS}) AS p"
    + LATEST.clause
)
STORED_PARAMS = Sql(
    postgres="SELECT p.run_uuid, p.key, p.value FROM params p"
    " JOIN unnest($1::varchar[], $2::varchar[]) AS u(run_uuid, key) USING (run_uuid, key)",
    sqlite="SELECT p.run_uuid, p.key, p.value FROM json_each($1) r JOIN params p"
    " ON p.run_uuid = r.value AND p.key IN (SELECT value FROM json_each($2))",
)
KNOWN_MODELS = Sql("SELECT model_id FROM logged_models WHERE model_id {in $1 text}")
INSERT_MODEL_POINTS = Bulk(
    "logged_model_metrics",
    model_id="text",
    metric_name="text",
    metric_timestamp_ms="bigint",
    metric_step="bigint",
    metric_value="double",
    dataset_name="text",
    dataset_digest="text",
    run_id="text",
    experiment_id="int",
    on_conflict="ignore",
)


def _points(batches: Sequence[Batch]) -> list[Point]:
    """Return the distinct points in lock order: by key and run, as in the primary keys."""
    rows = list(dict.fromkeys(p for b in sorted(batches, key=_RUN_OF_BATCH) for p in b.points))
    rows.sort(key=_KEY)
    return rows


def _newest(rows: list[Point]) -> list[Point]:
    """Return the latest point of each run and key.

    The latest point has the greatest (step, timestamp, value). `rows` must be sorted by key and
    run.
    """
    winners = rows[:1]
    for row in rows:
        best = winners[-1]
        if row[0] != best[0] or row[3] != best[3]:
            winners.append(row)
        elif row[2] >= best[2] and (row[2], row[1], row[4]) > (best[2], best[1], best[4]):
            winners[-1] = row
    return winners


def _arguments(rows: Sequence[Point], flags: bytes) -> tuple[Any, ...]:
    """Return the parameters of a statement that contains `_POINTS`."""
    keys, timestamps, steps, run_ids, values, _ = zip(*rows, strict=True)
    numbers = {run_id: n for n, run_id in enumerate(dict.fromkeys(run_ids))}
    assert len(numbers) <= MAX_GROUP_OPS, "the number of a run is a byte"
    runs = bytes(map(numbers.__getitem__, run_ids))
    return list(numbers), "\x01".join(keys), timestamps, steps, values, runs, flags


def _flags(rows: Sequence[Point]) -> bytes:
    return bytes(row[5] for row in rows)  # IS_NAN is 1


async def insert_points_of_active(tx: Tx, batches: Sequence[Batch]) -> dict[str, RunStage]:
    """Write the points of the active runs, with one statement on PostgreSQL.

    Returns the stages of the runs that exist, by run id.
    """
    if tx.dialect == "sqlite":
        found = await tx.fetch(STAGES, tx.array(sorted({batch.run_id for batch in batches})))
        stages = {row[0]: RunStage(*row) for row in found}
        active = {run for run, stage in stages.items() if stage.lifecycle_stage == "active"}
        await insert_points(tx, [batch for batch in batches if batch.run_id in active])
        return stages
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
    return {row[0]: RunStage(*row) for row in found}


async def insert_points(tx: Tx, batches: Sequence[Batch]) -> None:
    """Write points and latest points of runs that are known to be active."""
    rows = _points(batches)
    if not rows:
        return
    if not await tx.copy_new(POINTS, rows):
        await _write_points(tx, POINTS, PACKED_POINTS, rows)
    # Last, to keep the locks on these rows short for other processes that log to the same runs.
    await _write_points(tx, LATEST, PACKED_LATEST, _newest(rows))


async def _write_points(tx: Tx, sql: Bulk, packed: Sql, rows: Sequence[Point]) -> None:
    if tx.dialect == "postgres":
        await tx.execute(packed, *_arguments(rows, _flags(rows)))
    else:
        await tx.executemany(sql, rows)


async def insert_params(tx: Tx, params: Params) -> bool:
    """Insert params, given by run and key; return whether all of them were new."""
    rows = [(key, run, value) for run in sorted(params) for key, value in params[run].items()]
    rows.sort(key=_KEY)
    return await tx.copy_new(PARAMS, rows) or await tx.executemany(PARAMS, rows) == len(rows)


async def stored_params(tx: Tx, params: Params) -> Params:
    """Return the stored values of the params given by run and key."""
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
    """Write tags; if several batches of the group set a key, the last value is stored."""
    latest = {(b.run_id, key): value for b in batches for key, value in b.tags.items()}
    if latest:
        rows = sorted((key, run_id, value) for (run_id, key), value in latest.items())
        await tx.executemany(UPSERT_TAGS, rows)


async def rename(tx: Tx, names: dict[str, str]) -> None:
    """Set the names of runs: setting the tag `mlflow.runName` renames a run."""
    # Lock the rows in the order of ids, which the UPDATE does not keep, so that processes cannot
    # deadlock.
    await locked(tx, names)
    await tx.executemany(UPDATE_RUN, [(run_id, None, None, name) for run_id, name in names.items()])


async def logged_models(tx: Tx, batches: Sequence[Batch]) -> set[str] | None:
    """Return the ids of the existing logged models that the batches name; None before MLflow 3."""
    if not tx.schema.has("logged_model_metrics"):  # MLflow 2
        return None
    ids = {point[0] for batch in batches for point in batch.model_points}
    return {row[0] for row in await tx.fetch(KNOWN_MODELS, tx.array(sorted(ids)))} if ids else set()


async def insert_model_points(
    tx: Tx, batches: Sequence[Batch], stages_of: dict[str, RunStage]
) -> None:
    """Write the points that name a logged model.

    A model that was deleted in the meantime causes a foreign-key violation.
    """
    if not tx.schema.has("logged_model_metrics"):  # MLflow 2 has no logged models
        return
    rows = sorted(
        {
            (*point, b.run_id, stages_of[b.run_id].experiment_id)
            for b in batches
            for point in b.model_points
        },
        key=repr,
    )
    if rows:
        await tx.executemany(INSERT_MODEL_POINTS, rows)
