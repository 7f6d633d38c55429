"""SQL for many or large runs, which are read in limited parts: see `headrace.api.pieces`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from headrace.api.pieces import ALL_ROWS, PAIR_BYTES
from headrace.api.tracking.runs import sql
from headrace.db.base import Row, Tx
from headrace.db.sql import Sql

METRIC_BYTES: Final = 100  # of a metric as JSON, without its key

WEIGHTS = Sql(
    "SELECT run_uuid, sum(bytes) FROM ("
    f" SELECT run_uuid, {METRIC_BYTES} + {{bytes key}} AS bytes FROM latest_metrics WHERE run_uuid {{in $1 text}}"
    + "".join(
        f" UNION ALL SELECT run_uuid, {PAIR_BYTES} + {{bytes key}} + coalesce({{bytes value}}, 0)"
        f" FROM {table} WHERE run_uuid {{in $1 text}}"
        for table in ("params", "tags")
    )
    + " UNION ALL SELECT i.destination_id, {bytes d.dataset_source} + coalesce({bytes d.dataset_schema}, 0)"
    " + coalesce({bytes d.dataset_profile}, 0) FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
    " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id {in $1 text}"
    ") AS found GROUP BY run_uuid"
)


def _part(table: str, columns: str, place: str) -> Sql:
    """Return the statement for at most $3 rows of one run after a position ($2).

    The first column of a row is its position. On PostgreSQL the order is by key: in the order of
    the table, a row that is changed between two parts would move to the end and be read twice.
    """
    return Sql(
        postgres=f'SELECT key, {columns} FROM {table} WHERE run_uuid = $1 AND key COLLATE "C" > $2'
        ' ORDER BY key COLLATE "C" LIMIT $3',
        sqlite=f"SELECT {place}, {columns} FROM {table} WHERE run_uuid = $1 AND {place} > $2"
        f" ORDER BY {place} LIMIT $3",
    )


METRICS_PART = _part("latest_metrics", "key, value, timestamp, step, is_nan", "rowid")
PARAMS_PART = _part("params", "key, value", "rowid")
TAGS_PART = _part("tags", "key, value", "rowid")
INPUTS = Sql(  # the datasets of a run; each may be as large as 16 MB
    "SELECT input_uuid FROM inputs WHERE source_type = 'DATASET' AND destination_type = 'RUN'"
    " AND destination_id = $1 ORDER BY input_uuid {bytewise}"
)
DATASET = Sql(
    "SELECT i.destination_id, i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source,"
    " d.dataset_schema, d.dataset_profile, 0"
    " FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id WHERE i.input_uuid = $1"
)
DATASET_TAGS = Sql(
    "SELECT input_uuid, name, value FROM input_tags WHERE input_uuid = $1 ORDER BY name {bytewise}"
)


async def weigh(tx: Tx, run_ids: Sequence[str]) -> Mapping[str, int]:
    """Return the approximate size of each run in an answer, in bytes."""
    return {run_id: int(size) for run_id, size in await tx.fetch(WEIGHTS, tx.array(run_ids))}


async def read(
    tx: Tx, run_ids: Sequence[str], most: sql.Most = sql.ALL
) -> tuple[list[Row], sql.Logged]:
    """Return the rows of the existing runs in the order of `run_ids`, and the data logged to them.

    Raises `TooLong` for more than `most`.
    """
    found = {row[0]: row for row in await tx.fetch(sql.RUNS, tx.array(run_ids))}
    rows = [found[run_id] for run_id in run_ids if run_id in found]
    ids = [row[0] for row in rows]
    return rows, await sql.logged(tx, ids, inputs_of_models=False, most=most)


async def read_few(tx: Tx, run_ids: Sequence[str]) -> tuple[list[Row], sql.Logged]:
    """Like `read`, for runs that were not weighed. Raises `TooLong` for too many rows or bytes."""
    return await read(tx, run_ids, sql.AT_ONCE)


async def row_of(tx: Tx, run_id: str) -> Row | None:
    """Return the row of a run, or None."""
    return await tx.fetchrow(sql.RUNS, tx.array([run_id]))


async def part(tx: Tx, statement: Sql, run_id: str, place: object, limit: int) -> list[Row]:
    """Return at most `limit` rows of a run that follow `place`; None starts at the first row.

    `statement` is `METRICS_PART`, `PARAMS_PART` or `TAGS_PART`.
    """
    if place is None:
        place = 0 if tx.dialect == "sqlite" else ""
    return await tx.fetch(statement, run_id, place, limit)


async def inputs(tx: Tx, run_id: str) -> list[str]:
    """Return the ids of a run's inputs that are datasets."""
    return [input_id for (input_id,) in await tx.fetch(INPUTS, run_id)]


async def dataset(tx: Tx, input_id: str) -> sql.Logged:
    """Return one dataset that a run read, with its tags."""
    found = sql.Logged()
    found.datasets = await tx.fetch(DATASET, input_id)
    found.input_tags = await tx.fetch(DATASET_TAGS, input_id)
    return found


async def models(tx: Tx, run_id: str, inputs_of_models: bool) -> sql.Logged:
    """Return the logged models that a run read and wrote."""
    found = sql.Logged()
    if tx.schema.has("inputs", "step"):
        ids = tx.array([run_id])
        if inputs_of_models:
            found.models_in = await tx.fetch(sql.MODELS_IN, ids, ALL_ROWS)
        found.models_out = await tx.fetch(sql.MODELS_OUT, ids, ALL_ROWS)
    return found
