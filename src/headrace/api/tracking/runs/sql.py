"""SQL for runs: one constant per statement, PostgreSQL and SQLite side by side.

What log-batch writes is in batch_sql.py; rules are in handlers.py; the search statement is made by
`headrace.search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from headrace.api.pieces import ALL_ROWS, AT_ONCE_BYTES, MOST_ROWS, MOST_VALUES, at_most
from headrace.api.results import TooLong
from headrace.contract.scalars import INT64_MAX
from headrace.db.base import Row, Sql, Tx

COLUMNS = (
    "run_uuid",
    "experiment_id",
    "name",
    "user_id",
    "status",
    "start_time",
    "end_time",
    "artifact_uri",
    "lifecycle_stage",
)
_COLUMNS = ", ".join(COLUMNS)


def _of_runs(select: str) -> Sql:
    return Sql(
        postgres=f"{select} = ANY($1::varchar[])",
        sqlite=f"{select} IN (SELECT value FROM json_each($1))",
    )


RUNS = _of_runs(f"SELECT {_COLUMNS} FROM runs WHERE run_uuid")
LOCKED_RUNS = Sql(
    postgres=f"{RUNS.postgres} ORDER BY run_uuid FOR NO KEY UPDATE", sqlite=RUNS.sqlite
)
STAGES = _of_runs("SELECT run_uuid, lifecycle_stage, experiment_id FROM runs WHERE run_uuid")


# What belongs to a run comes in the order of its rows in the table, which is that of logging until a row is changed
# (on PostgreSQL; on SQLite also then). MLflow states no order, but this is what its own statements find.
def _logged(table: str, columns: str) -> Sql:
    select = f"SELECT run_uuid, {columns} FROM {table} WHERE run_uuid"
    return Sql(
        postgres=f"{select} = ANY($1::varchar[]) ORDER BY ctid LIMIT $2",
        sqlite=f"{select} IN (SELECT value FROM json_each($1)) ORDER BY run_uuid, rowid LIMIT $2",
    )


METRICS = _logged("latest_metrics", "key, value, timestamp, step, is_nan")
PARAMS = _logged("params", "key, value")
TAGS = _logged("tags", "key, value")


def _linked(select: str, order: str) -> Sql:
    """Of edges, which have random ids: those that headrace makes are in the order of logging."""
    return Sql(
        postgres=f"{select} = ANY($1::varchar[]) ORDER BY {order} LIMIT $2".format(
            c=' COLLATE "C"'
        ),
        sqlite=f"{select} IN (SELECT value FROM json_each($1)) ORDER BY {order} LIMIT $2".format(
            c=""
        ),
    )


# Of the last row the bytes of all up to it: the first row beyond $3 bytes is the last.
_DATASETS: Final = (
    "SELECT destination_id, input_uuid, name, digest, dataset_source_type, dataset_source, dataset_schema,"
    " dataset_profile, bytes FROM ("
    "SELECT i.destination_id, i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source,"
    " d.dataset_schema, d.dataset_profile, {size} AS size, sum({size}) OVER (ORDER BY i.input_uuid{c}) AS bytes"
    " FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
    " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id {of_runs}) AS found"
    " WHERE bytes - size <= $3 ORDER BY input_uuid{c} LIMIT $2"
)
DATASETS = Sql(
    postgres=_DATASETS.format(
        size="(octet_length(d.dataset_source) + coalesce(octet_length(d.dataset_schema), 0)"
        " + coalesce(octet_length(d.dataset_profile), 0))::bigint",
        of_runs="= ANY($1::varchar[])",
        c=' COLLATE "C"',
    ),
    sqlite=_DATASETS.format(
        size="(length(CAST(d.dataset_source AS BLOB)) + coalesce(length(CAST(d.dataset_schema AS BLOB)), 0)"
        " + coalesce(length(CAST(d.dataset_profile AS BLOB)), 0))",
        of_runs="IN (SELECT value FROM json_each($1))",
        c="",
    ),
)
INPUT_TAGS = _linked(
    "SELECT t.input_uuid, t.name, t.value FROM inputs i JOIN input_tags t USING (input_uuid)"
    " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id",
    "t.input_uuid{c}, t.name{c}",
)
MODELS_IN = _linked(
    "SELECT source_id, destination_id, 0 FROM inputs"
    " WHERE source_type = 'RUN_INPUT' AND destination_type = 'MODEL_INPUT' AND source_id",
    "input_uuid{c}",
)
MODELS_OUT = _linked(
    "SELECT source_id, destination_id, step FROM inputs"
    " WHERE source_type = 'RUN_OUTPUT' AND destination_type = 'MODEL_OUTPUT' AND source_id",
    "input_uuid{c}",
)
LOCATIONS = Sql(  # of experiments: what create-run needs; none of them is deleted until the transaction ends
    postgres="SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments"
    " WHERE experiment_id = ANY($1::int[]) FOR SHARE",
    sqlite="SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments"
    " WHERE experiment_id IN (SELECT value FROM json_each($1))",
)
# Of new ids: a conflict means that a COMMIT whose answer was lost did take place.
INSERT_RUN = Sql(
    postgres="INSERT INTO runs (run_uuid, experiment_id, name, user_id, start_time, artifact_uri, source_type,"
    " source_name, entry_point_name, status, source_version, lifecycle_stage)"
    " SELECT *, 'UNKNOWN', '', '', 'RUNNING', '', 'active' FROM unnest($1::varchar[], $2::int[], $3::varchar[],"
    " $4::varchar[], $5::bigint[], $6::varchar[]) ON CONFLICT DO NOTHING",
    sqlite="INSERT INTO runs (run_uuid, experiment_id, name, user_id, start_time, artifact_uri, source_type,"
    " source_name, entry_point_name, status, source_version, lifecycle_stage)"
    " VALUES ($1, $2, $3, $4, $5, $6, 'UNKNOWN', '', '', 'RUNNING', '', 'active') ON CONFLICT DO NOTHING",
)
INSERT_TAG = Sql(
    postgres="INSERT INTO tags (run_uuid, key, value)"
    " SELECT * FROM unnest($1::varchar[], $2::varchar[], $3::varchar[])",
    sqlite="INSERT INTO tags (run_uuid, key, value) VALUES ($1, $2, $3)",
)
UPDATE_RUN = Sql(
    postgres="UPDATE runs SET status = COALESCE(u.status, runs.status), end_time = COALESCE(u.end_time, runs.end_time),"
    " name = COALESCE(u.name, runs.name)"
    " FROM unnest($1::varchar[], $2::varchar[], $3::bigint[], $4::varchar[]) AS u(run_uuid, status, end_time, name)"
    " WHERE runs.run_uuid = u.run_uuid",
    sqlite="UPDATE runs SET status = COALESCE($2, status), end_time = COALESCE($3, end_time), name = COALESCE($4, name)"
    " WHERE run_uuid = $1",
)
SET_STAGE = Sql(  # not of a row that `headrace gc` keeps for itself: it has no stage
    "UPDATE runs SET lifecycle_stage = $2, deleted_time = $3"
    " WHERE run_uuid = $1 AND lifecycle_stage IS NOT NULL"
)
DELETE_TAG = Sql("DELETE FROM tags WHERE run_uuid = $1 AND key = $2")
CLAIM_TAG = (
    Sql(  # its value ($3 where it is new); nobody else changes it until the transaction ends
        "INSERT INTO tags (run_uuid, key, value) VALUES ($1, $2, $3)"
        " ON CONFLICT (key, run_uuid) DO UPDATE SET value = tags.value RETURNING value"
    )
)
UPSERT_TAG = Sql(
    "INSERT INTO tags (run_uuid, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value"
)


class Logged:
    """The rows of what was logged to some runs, by run id."""

    __slots__ = ("datasets", "input_tags", "metrics", "models_in", "models_out", "params", "tags")

    def __init__(self) -> None:
        self.metrics: list[Row] = []
        self.params: list[Row] = []
        self.tags: list[Row] = []
        self.datasets: list[Row] = []
        self.input_tags: list[Row] = []
        self.models_in: list[Row] = []
        self.models_out: list[Row] = []


class Most(NamedTuple):
    """How much may be read at once; a read of more raises `TooLong`."""

    rows: int = ALL_ROWS  # of each kind
    values: int = ALL_ROWS  # params, tags
    dataset_bytes: int = INT64_MAX


ALL: Final = Most()
AT_ONCE: Final = Most(MOST_ROWS, MOST_VALUES, AT_ONCE_BYTES)


async def logged(
    tx: Tx, run_ids: Sequence[str], *, inputs_of_models: bool, most: Most = ALL
) -> Logged:
    """What was logged to the runs: a fixed number of statements, whatever the number of runs."""
    ids = tx.array(run_ids)
    found = await links(tx, ids, inputs_of_models=inputs_of_models, most=most)
    found.metrics = at_most(await tx.fetch(METRICS, ids, most.rows + 1), most.rows)
    found.params = at_most(await tx.fetch(PARAMS, ids, most.values + 1), most.values)
    found.tags = at_most(await tx.fetch(TAGS, ids, most.values + 1), most.values)
    return found


async def links(tx: Tx, ids: Any, *, inputs_of_models: bool, most: Most = ALL) -> Logged:
    """What the runs read and wrote: datasets, logged models. `ids` is a `tx.array`."""
    found = Logged()
    limit = most.rows + 1
    found.datasets = await tx.fetch(DATASETS, ids, limit, most.dataset_bytes)
    if found.datasets:
        if len(found.datasets) > most.rows or found.datasets[-1][8] > most.dataset_bytes:
            raise TooLong
        found.input_tags = at_most(await tx.fetch(INPUT_TAGS, ids, limit), most.rows)
    if tx.schema.has("inputs", "step"):  # heads before mlflow 3 know no models of runs
        if inputs_of_models:
            found.models_in = at_most(await tx.fetch(MODELS_IN, ids, limit), most.rows)
        found.models_out = at_most(await tx.fetch(MODELS_OUT, ids, limit), most.rows)
    return found


def _arrays(table: str, columns: Sequence[str], most: int = MOST_VALUES) -> str:
    aggregated = ", ".join(f"array_agg({column}) AS {column}" for column in columns)
    return (
        f" LEFT JOIN LATERAL (SELECT {aggregated} FROM (SELECT {', '.join(columns)} FROM {table}"
        f" WHERE {table}.run_uuid = r.run_uuid ORDER BY ctid LIMIT {most + 1}) AS sorted)"
        f" AS {table} ON true"
    )


_METRIC_COLUMNS = ("key", "value", "timestamp", "step", "is_nan")
_PAIR_COLUMNS = ("key", "value")
# A few runs by id with all that was logged, one row each, columns of the child tables as arrays: one round
# trip where LOGGED takes seven. For pages of many runs plain rows are cheaper (docs/decisions).
WHOLE_RUNS = Sql(
    postgres="SELECT "
    + ", ".join(f"r.{column}" for column in COLUMNS)
    + "".join(f", latest_metrics.{column}" for column in _METRIC_COLUMNS)
    + "".join(f", {table}.{column}" for table in ("params", "tags") for column in _PAIR_COLUMNS)
    + ", EXISTS (SELECT FROM inputs i WHERE i.destination_type = 'RUN' AND i.destination_id = r.run_uuid)"
    " OR EXISTS (SELECT FROM inputs i WHERE i.source_type IN ('RUN_INPUT', 'RUN_OUTPUT')"
    " AND i.source_id = r.run_uuid)"
    " FROM runs r"
    + _arrays("latest_metrics", _METRIC_COLUMNS, MOST_ROWS)
    + _arrays("params", _PAIR_COLUMNS)
    + _arrays("tags", _PAIR_COLUMNS)
    + " WHERE r.run_uuid = ANY($1::varchar[])",
    sqlite="SELECT 1",  # SQLite has no round trips to save: it runs RUNS and LOGGED
)
# The row of a run and what was logged to it; None where that is too much to be read at once.
Found = dict[str, tuple[Row, Logged | None]]


async def get_many(tx: Tx, run_ids: Sequence[str]) -> Found:
    """The runs that exist and what was logged to each, by run id."""
    if tx.dialect == "sqlite":
        rows = await tx.fetch(RUNS, tx.array(run_ids))
        return {row[0]: (row, await _logged_to_one(tx, row[0])) for row in rows}
    found: Found = {}
    linked: list[str] = []
    for row in await tx.fetch(WHOLE_RUNS, run_ids):
        run_id = row[0]
        many = ((row[9], MOST_ROWS), (row[14], MOST_VALUES), (row[16], MOST_VALUES))
        if any(len(keys or ()) > most for keys, most in many):
            found[run_id] = (row[:9], None)
            continue
        what = Logged()
        what.metrics = _rows(run_id, row[9:14])
        what.params = _rows(run_id, row[14:16])
        what.tags = _rows(run_id, row[16:18])
        if row[18]:
            linked.append(run_id)
        found[run_id] = (row[:9], what)
    if linked:
        await _add_links(tx, linked, found)
    return found


async def get_whole(tx: Tx, run_id: str) -> tuple[Row, Logged] | None:
    """A run and all that was logged to it, however much it is: for programs, which hold it anyway."""
    found = (await get_many(tx, [run_id])).get(run_id)
    if found is None:
        return None
    row, what = found
    return row, what or await logged(tx, [run_id], inputs_of_models=True)


async def _logged_to_one(tx: Tx, run_id: str) -> Logged | None:
    try:
        return await logged(tx, [run_id], inputs_of_models=True, most=AT_ONCE)
    except TooLong:
        return None


def _rows(run_id: str, columns: Sequence[list[Any] | None]) -> list[Row]:
    if columns[0] is None:
        return []
    return [(run_id, *values) for values in zip(*columns, strict=True)]


async def _add_links(tx: Tx, linked: Sequence[str], found: Found) -> None:
    try:
        everything = await links(tx, tx.array(linked), inputs_of_models=True, most=AT_ONCE)
    except TooLong:
        for run_id in linked:
            if len(linked) > 1:
                await _add_links(tx, [run_id], found)
            else:
                found[run_id] = (found[run_id][0], None)
        return
    whats = {run_id: what for run_id in linked if (what := found[run_id][1]) is not None}
    inputs = {row[1]: row[0] for row in everything.datasets}
    for row in everything.datasets:
        whats[row[0]].datasets.append(row)
    for row in everything.input_tags:
        whats[inputs[row[0]]].input_tags.append(row)
    for row in everything.models_in:
        whats[row[0]].models_in.append(row)
    for row in everything.models_out:
        whats[row[0]].models_out.append(row)
