"""SQL for runs.

The statements of log-batch are in batch_sql.py and the rules in handlers.py; `headrace.search`
builds the search statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from headrace.api.pieces import ALL_ROWS, AT_ONCE_BYTES, MOST_ROWS, MOST_VALUES, at_most
from headrace.api.results import TooLong
from headrace.contract.scalars import INT64_MAX
from headrace.contract.steps import with_integers
from headrace.db.base import Row, Tx
from headrace.db.sql import Sql


class RunRow(NamedTuple):
    """A row of `runs`. Times are milliseconds since the epoch."""

    run_uuid: str
    experiment_id: int
    name: str | None
    user_id: str | None
    status: str
    start_time: int | None
    end_time: int | None
    artifact_uri: str | None
    lifecycle_stage: str


class RunStage(NamedTuple):
    """The stage of a run, which determines whether it may be written to."""

    run_uuid: str
    lifecycle_stage: str
    experiment_id: int


COLUMNS = RunRow._fields
_COLUMNS = ", ".join(COLUMNS)


_OF_RUNS = f"SELECT {_COLUMNS} FROM runs WHERE run_uuid {{in $1 text}}"
RUNS = Sql(_OF_RUNS)
LOCKED_RUNS = Sql(f"{_OF_RUNS} ORDER BY run_uuid {{for update}}")
STAGES = Sql(
    "SELECT run_uuid, lifecycle_stage, experiment_id FROM runs WHERE run_uuid {in $1 text}"
)


# The data of a run is returned in the order of its rows in the table. This is the order of logging,
# on PostgreSQL only until a row is changed. MLflow does not define an order, but its own statements
# return this one. PostgreSQL reads run by run: a scan of one run's rows is never parallel, and
# returns them in that order. ORDER BY ctid took 30 % more CPU time for 1,000 runs, and without
# either a LIMIT leads to a scan of the whole table. SQLite reads the rows of one run in the order of
# their rowid, from the index as well as from the table; ORDER BY would make it sort the rows of all
# runs.
def _logged(table: str, columns: str, where: str = "") -> Sql:
    return Sql(
        postgres=f"SELECT r.run_uuid, found.* FROM unnest($1::varchar[]) AS r(run_uuid),"
        f" LATERAL (SELECT {columns.format(size='octet_length')} FROM {table}"
        f" WHERE {table}.run_uuid = r.run_uuid{where} LIMIT $2) AS found LIMIT $2",
        # SQLite's length counts characters without copying the value.
        sqlite=f"SELECT run_uuid, {columns.format(size='length')} FROM {table}"
        f" WHERE run_uuid {{in $1 text}}{where} LIMIT $2",
    )


METRICS = _logged("latest_metrics", "key, value, timestamp, step, is_nan")
# Values of more than SHORT bytes (SQLite: characters) are read separately, because a page full of
# them would be too much for one read.
SHORT: Final = 800
MOST_LONG_VALUES: Final = 1000  # each up to 8,000 characters
_SHORT_VALUE: Final = f"key, CASE WHEN {{size}}(value) <= {SHORT} THEN value END"
_OF_KEYS: Final = " AND key {in $3 text}"
PARAMS = _logged("params", _SHORT_VALUE)
LONG_PARAMS = _logged("params", "key, value", _OF_KEYS)
TAGS = _logged("tags", _SHORT_VALUE)
LONG_TAGS = _logged("tags", "key, value", _OF_KEYS)


# MLflow's edges have random ids; the ids of headrace's edges are in the order of logging.
_DATASET_BYTES: Final = (
    "CAST({bytes d.dataset_source} + coalesce({bytes d.dataset_schema}, 0)"
    " + coalesce({bytes d.dataset_profile}, 0) AS bigint)"
)
# `bytes` of a row is the total size of all rows up to this one. The first row with a total beyond
# $3 bytes is the last.
DATASETS = Sql(
    "SELECT destination_id, input_uuid, name, digest, dataset_source_type, dataset_source, dataset_schema,"
    " dataset_profile, bytes FROM ("
    "SELECT i.destination_id, i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source,"
    f" d.dataset_schema, d.dataset_profile, {_DATASET_BYTES} AS size,"
    f" sum({_DATASET_BYTES}) OVER (ORDER BY i.input_uuid {{bytewise}}) AS bytes"
    " FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
    " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN'"
    " AND i.destination_id {in $1 text}) AS found"
    " WHERE bytes - size <= $3 ORDER BY input_uuid {bytewise} LIMIT $2"
)
INPUT_TAGS = Sql(
    "SELECT t.input_uuid, t.name, t.value FROM inputs i JOIN input_tags t USING (input_uuid)"
    " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id {in $1 text}"
    " ORDER BY t.input_uuid {bytewise}, t.name {bytewise} LIMIT $2"
)
MODELS_IN = Sql(
    "SELECT source_id, destination_id, 0 FROM inputs"
    " WHERE source_type = 'RUN_INPUT' AND destination_type = 'MODEL_INPUT' AND source_id {in $1 text}"
    " ORDER BY input_uuid {bytewise} LIMIT $2"
)
MODELS_OUT = Sql(
    "SELECT source_id, destination_id, step FROM inputs"
    " WHERE source_type = 'RUN_OUTPUT' AND destination_type = 'MODEL_OUTPUT' AND source_id {in $1 text}"
    " ORDER BY input_uuid {bytewise} LIMIT $2"
)
# Updates many rows, for `Tx.executemany`. NULL leaves a column unchanged.
UPDATE_RUN = Sql(
    postgres="UPDATE runs SET status = COALESCE(u.status, runs.status), end_time = COALESCE(u.end_time, runs.end_time),"
    " name = COALESCE(u.name, runs.name)"
    " FROM unnest($1::varchar[], $2::varchar[], $3::bigint[], $4::varchar[]) AS u(run_uuid, status, end_time, name)"
    " WHERE runs.run_uuid = u.run_uuid",
    sqlite="UPDATE runs SET status = COALESCE($2, status), end_time = COALESCE($3, end_time), name = COALESCE($4, name)"
    " WHERE run_uuid = $1",
)
SET_STAGE = Sql(  # rows without a stage belong to `headrace gc` and are not changed
    "UPDATE runs SET lifecycle_stage = $2, deleted_time = $3"
    " WHERE run_uuid = $1 AND lifecycle_stage IS NOT NULL"
)
DELETE_TAG = Sql("DELETE FROM tags WHERE run_uuid = $1 AND key = $2")
# Returns the value of a tag ($3 if it is new). Other transactions cannot change the tag until this
# one ends.
CLAIM_TAG = Sql(
    "INSERT INTO tags (run_uuid, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = tags.value RETURNING value"
)
UPSERT_TAG = Sql(
    "INSERT INTO tags (run_uuid, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value"
)


async def stages(tx: Tx, run_ids: Iterable[str]) -> dict[str, RunStage]:
    """Return the stages of the existing runs, by run id."""
    rows = await tx.fetch(STAGES, tx.array(sorted(run_ids)))
    return {row[0]: RunStage(*row) for row in rows}


async def locked(tx: Tx, run_ids: Iterable[str]) -> dict[str, RunRow]:
    """Return the existing runs by run id, and lock them until the transaction ends."""
    rows = await tx.fetch(LOCKED_RUNS, tx.array(sorted(run_ids)))
    return {row[0]: RunRow(*row) for row in rows}


class Logged:
    """The data logged to runs, as rows that begin with the run id or the input id."""

    __slots__ = ("datasets", "input_tags", "metrics", "models_in", "models_out", "params", "tags")

    def __init__(self) -> None:
        self.metrics: list[Row] = []
        self.params: list[Row] = []
        self.tags: list[Row] = []
        self.datasets: list[Row] = []
        self.input_tags: list[Row] = []
        self.models_in: list[Row] = []
        self.models_out: list[Row] = []


_VALUE: Final = itemgetter(2)  # of a param or tag


class Most(NamedTuple):
    """The limits of one read; a read that exceeds them raises `TooLong`."""

    rows: int = ALL_ROWS  # of each kind
    values: int = ALL_ROWS  # long values of params or tags
    dataset_bytes: int = INT64_MAX


ALL: Final = Most()
AT_ONCE: Final = Most(MOST_ROWS, MOST_LONG_VALUES, AT_ONCE_BYTES)
PAGE: Final = AT_ONCE._replace(rows=2 * MOST_ROWS)


async def logged(
    tx: Tx,
    run_ids: Sequence[str],
    *,
    inputs_of_models: bool,
    most: Most = ALL,
    linked: bool = True,
) -> Logged:
    """Return the data logged to the runs, with a fixed number of statements for any number of runs.

    `linked`: whether the runs may have read or written datasets or models. Raises `TooLong` for
    more than `most`.
    """
    ids = tx.array(run_ids)
    found = Logged()
    if linked:
        found = await links(tx, ids, inputs_of_models=inputs_of_models, most=most)
    found.metrics = at_most(await tx.fetch(METRICS, ids, most.rows + 1), most.rows)
    if tx.dialect == "sqlite":
        found.metrics = with_integers(found.metrics, 4)
    found.params = await _values(tx, PARAMS, LONG_PARAMS, ids, most)
    found.tags = await _values(tx, TAGS, LONG_TAGS, ids, most)
    return found


async def _values(tx: Tx, short: Sql, long: Sql, ids: Any, most: Most) -> list[Row]:
    """Return params or tags. Values that the first statement omits are fetched by their keys."""
    rows = at_most(await tx.fetch(short, ids, most.rows + 1), most.rows)
    if None not in map(_VALUE, rows):
        return rows
    wanted = {(row[0], row[1]) for row in rows if row[2] is None}
    values = await long_values(tx, long, wanted, most)
    whole: list[Row] = []
    for row in rows:
        if row[2] is not None:
            whole.append(row)
        elif (row[0], row[1]) in values:  # otherwise it was deleted in the meantime
            whole.append((row[0], row[1], values[row[0], row[1]]))
    return whole


async def long_values(
    tx: Tx, statement: Sql, wanted: Iterable[tuple[str, str]], most: Most
) -> dict[tuple[str, str], str]:
    """Return values of params or tags by run id and key: LONG_PARAMS, LONG_TAGS."""
    run_ids, keys = ({pair[n] for pair in wanted} for n in (0, 1))
    found = await tx.fetch(
        statement, tx.array(list(run_ids)), most.values + 1, tx.array(list(keys))
    )
    return {(run_id, key): value for run_id, key, value in at_most(found, most.values)}


async def links(tx: Tx, ids: Any, *, inputs_of_models: bool, most: Most = ALL) -> Logged:
    """Return the datasets and logged models that the runs read and wrote. `ids` is a `tx.array`."""
    found = Logged()
    limit = most.rows + 1
    found.datasets = await tx.fetch(DATASETS, ids, limit, most.dataset_bytes)
    if found.datasets:
        if len(found.datasets) > most.rows or found.datasets[-1][8] > most.dataset_bytes:
            raise TooLong
        found.input_tags = at_most(await tx.fetch(INPUT_TAGS, ids, limit), most.rows)
    if tx.schema.has("inputs", "step"):  # schemas before MLflow 3 have no models of runs
        if inputs_of_models:
            found.models_in = at_most(await tx.fetch(MODELS_IN, ids, limit), most.rows)
        found.models_out = at_most(await tx.fetch(MODELS_OUT, ids, limit), most.rows)
    return found


def _arrays(table: str, columns: Sequence[str], most: int = MOST_VALUES) -> str:
    """Return the SQL that joins the rows of one run as arrays, in the order of the table.

    PostgreSQL reads the rows in that order: the index on run_uuid holds the rows of one run in it,
    and scans of one run's rows are never parallel. Sorting them again would take 25 µs per run.
    """
    aggregated = ", ".join(f"array_agg({column}) AS {column}" for column in columns)
    return (
        f" LEFT JOIN LATERAL (SELECT {aggregated} FROM (SELECT {', '.join(columns)} FROM {table}"
        f" WHERE {table}.run_uuid = r.run_uuid LIMIT {most + 1}) AS found)"
        f" AS {table} ON true"
    )


_METRIC_COLUMNS = ("key", "value", "timestamp", "step", "is_nan")
_PAIR_COLUMNS = ("key", "value")
_IS_LINKED = (
    "EXISTS (SELECT 1 FROM inputs i WHERE i.destination_type = 'RUN' AND i.destination_id = r.run_uuid)"
    " OR EXISTS (SELECT 1 FROM inputs i WHERE i.source_type IN ('RUN_INPUT', 'RUN_OUTPUT')"
    " AND i.source_id = r.run_uuid)"
)
# A few runs by id with all their logged data: one row per run, with the columns of the child tables
# as arrays. This takes one round trip where `logged` takes seven. For pages of many runs plain rows
# are cheaper (docs/decisions).
WHOLE_RUNS = Sql(
    postgres="SELECT "
    + ", ".join(f"r.{column}" for column in COLUMNS)
    + "".join(f", latest_metrics.{column}" for column in _METRIC_COLUMNS)
    + "".join(f", {table}.{column}" for table in ("params", "tags") for column in _PAIR_COLUMNS)
    + f", {_IS_LINKED} FROM runs r"
    + _arrays("latest_metrics", _METRIC_COLUMNS, MOST_ROWS)
    + _arrays("params", _PAIR_COLUMNS)
    + _arrays("tags", _PAIR_COLUMNS)
    + " WHERE r.run_uuid = ANY($1::varchar[])",
    # SQLite has no round trips to save: the statements above read the logged data.
    sqlite="SELECT "
    + ", ".join(f"r.{column}" for column in COLUMNS)
    + f", {_IS_LINKED} FROM runs r WHERE r.run_uuid {{in $1 text}}",
)
# The row of a run and the data logged to it; None if the data is too much for one read.
Found = dict[str, tuple[Row, Logged | None]]


async def get_many(tx: Tx, run_ids: Sequence[str]) -> Found:
    """Return the existing runs and the data logged to each, by run id."""
    if tx.dialect == "sqlite":
        rows = await tx.fetch(WHOLE_RUNS, tx.array(run_ids))
        return {row[0]: (row[:9], await _logged_to_one(tx, row[0], row[9])) for row in rows}
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
    """Return a run and all its logged data, without a limit: programs hold it in memory anyway."""
    found = (await get_many(tx, [run_id])).get(run_id)
    if found is None:
        return None
    row, what = found
    return row, what or await logged(tx, [run_id], inputs_of_models=True)


async def _logged_to_one(tx: Tx, run_id: str, linked: bool) -> Logged | None:
    try:
        return await logged(tx, [run_id], inputs_of_models=True, most=AT_ONCE, linked=linked)
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
