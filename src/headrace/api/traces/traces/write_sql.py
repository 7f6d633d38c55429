"""SQL that writes traces: their rows, tags, metadata and links.

Locks are taken in one order by every process: existing rows of `trace_info` by id, new ones by id,
then spans, tags and metadata by key. A row of a trace is written only under its lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from headrace.contract.errors import ApiError, ErrorCode
from headrace.db.base import Row, Tx
from headrace.db.errors import Retryable
from headrace.db.sql import Bulk, Replace, Sql

TOKENS: Final = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_input_tokens_above_1hr",
)
COSTS: Final = ("input_cost", "output_cost", "total_cost")


class Experiment(NamedTuple):
    """The artifact location and the stage of an experiment."""

    experiment_id: int
    artifact_location: str | None
    lifecycle_stage: str


# The columns of `trace_info` in the order of a row of `INSERT` and `UPDATE`.
COLUMNS: Final = (
    "request_id",
    "experiment_id",
    "timestamp_ms",
    "execution_time_ms",
    "status",
    "client_request_id",
    "request_preview",
    "response_preview",
    "db_payload_generation",
    "trace_name",
    "session_id",
    *TOKENS,
    *COSTS,
)
EXPERIMENTS = Sql(
    "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments"
    " WHERE experiment_id {in $1 int}"
)
LOCKED = Sql(
    f"SELECT {', '.join(COLUMNS)} FROM trace_info WHERE request_id {{in $1 text}}"
    " ORDER BY request_id {for update}"
)
INSERT = Bulk(
    "trace_info",
    request_id="text",
    experiment_id="int",
    timestamp_ms="bigint",
    execution_time_ms="bigint",
    status="text",
    client_request_id="text",
    request_preview="text",
    response_preview="text",
    db_payload_generation="int",
    trace_name="text",
    session_id="text",
    input_tokens="bigint",
    output_tokens="bigint",
    total_tokens="bigint",
    cache_read_input_tokens="bigint",
    cache_creation_input_tokens="bigint",
    cache_creation_input_tokens_above_1hr="bigint",
    input_cost="double",
    output_cost="double",
    total_cost="double",
    on_conflict="ignore",
)
# Of the columns, in order.
_TYPES: Final = (
    *("varchar", "int", "bigint", "bigint", *["varchar"] * 4, "int", "varchar", "varchar"),
    *["bigint"] * len(TOKENS),
    *["float8"] * len(COSTS),
)
_ARRAYS: Final = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(_TYPES, 1))
# Updates many rows, for `Tx.executemany`. The experiment of a trace never changes.
_CHANGED: Final = COLUMNS[2:]
UPDATE = Sql(
    postgres=f"UPDATE trace_info t SET {', '.join(f'{name} = u.{name}' for name in _CHANGED)}"
    f" FROM unnest({_ARRAYS}) AS u({', '.join(COLUMNS)}) WHERE t.request_id = u.request_id",
    sqlite=f"UPDATE trace_info SET {', '.join(f'{name} = ${n}' for n, name in enumerate(_CHANGED, 3))}"
    " WHERE request_id = $1 AND experiment_id = $2",
)
_KEYED: Final = "SELECT request_id, key, value FROM {table} WHERE request_id {{in $1 text}} AND key {{in $2 text}}"
TAGS = Sql(_KEYED.format(table="trace_tags"))
METADATA = Sql(_KEYED.format(table="trace_request_metadata"))
_PAIR: Final = Replace("key", "request_id")
UPSERT_TAGS = Bulk("trace_tags", key="text", request_id="text", value="text", on_conflict=_PAIR)
UPSERT_METADATA = Bulk(
    "trace_request_metadata", key="text", request_id="text", value="text", on_conflict=_PAIR
)
DELETE_TAGS = Sql(
    postgres="DELETE FROM trace_tags t USING unnest($1::varchar[], $2::varchar[]) AS u(key, request_id)"
    " WHERE t.key = u.key AND t.request_id = u.request_id",
    sqlite="DELETE FROM trace_tags WHERE key = $1 AND request_id = $2",
)
LINK = Bulk(
    "entity_associations",
    association_id="text",
    source_type="text",
    source_id="text",
    destination_type="text",
    destination_id="text",
    created_time="bigint",
    on_conflict="ignore",
)
# After a time and an id ($3, $4).
OLDEST = Sql(
    "SELECT timestamp_ms, request_id FROM trace_info WHERE experiment_id = $1 AND timestamp_ms <= $2"
    " AND (timestamp_ms, request_id) > (CAST($3 AS bigint), CAST($4 AS varchar))"
    " ORDER BY timestamp_ms, request_id LIMIT $5"
)
LOCK_FOR_DELETE = Sql(
    "SELECT request_id FROM trace_info WHERE experiment_id = $1 AND request_id {in $2 text}"
    " ORDER BY request_id {for delete}"
)
# (request_id, artifact URI or NULL) of archived traces
ARCHIVED = Sql(
    "SELECT t.request_id, (SELECT u.value FROM trace_tags u WHERE u.request_id = t.request_id"
    " AND u.key = 'mlflow.trace.archiveLocation') FROM trace_tags t WHERE t.request_id {in $1 text}"
    " AND t.key = 'mlflow.trace.spansLocation' AND t.value = 'ARCHIVE_REPO'"
)
DELETE_REVIEWS = Sql(
    "DELETE FROM review_queue_items WHERE item_type = 'trace' AND item_id {in $1 text}"
)
DELETE = Sql("DELETE FROM trace_info WHERE request_id {in $1 text}")  # the other rows cascade
# The lengths of columns in characters. SQLite does not check them, and stock on SQLite accepts any.
LENGTHS: Final = {
    "request_id": 50,
    "client_request_id": 50,
    "request_preview": 1000,
    "response_preview": 1000,
    "key": 250,
    "value": 8000,
}


async def experiments(tx: Tx, numbers: Iterable[int]) -> dict[int, Experiment]:
    """Return the experiments with these ids, by id."""
    rows = await tx.fetch(EXPERIMENTS, tx.array(sorted(numbers)))
    return {row[0]: Experiment(*row) for row in rows}


async def locked(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Lock the existing traces and return their rows. `ids` are sorted."""
    return await tx.fetch(LOCKED, tx.array(ids))


async def pairs(
    tx: Tx, sql: Sql, ids: Sequence[str], keys: Sequence[str]
) -> dict[str, dict[str, str | None]]:
    """Return the tags or metadata (`sql`) of the traces with one of the keys, by trace and key."""
    found: dict[str, dict[str, str | None]] = {}
    for trace_id, key, value in await tx.fetch(sql, tx.array(ids), tx.array(keys)):
        found.setdefault(trace_id, {})[key] = value
    return found


async def insert(tx: Tx, rows: Sequence[Sequence[Any]]) -> None:
    """Insert new traces, sorted by id.

    Raises Retryable if another process has inserted one of them meanwhile: to lock it now would be
    out of order.
    """
    if rows and await tx.executemany(INSERT, rows) != len(rows):
        raise Retryable("another process has created the same trace")


def too_long(tx: Tx, values: Mapping[str, str | None]) -> ApiError | None:
    """Return the error for a text that is longer than its column (a key of LENGTHS), if any."""
    if tx.dialect == "sqlite":
        return None
    for name, value in values.items():
        if value is not None and len(value) > LENGTHS[name]:
            return ApiError(
                ErrorCode.BAD_REQUEST,
                f"value too long for type character varying({LENGTHS[name]}): {name}",
            )
    return None


async def oldest(
    tx: Tx, experiment_id: int, max_ms: int, after: tuple[int, str], most: int
) -> list[tuple[int, str]]:
    """Return times and ids of the oldest traces up to a time that follow a place."""
    rows = await tx.fetch(OLDEST, experiment_id, max_ms, *after, most)
    return [(row[0], row[1]) for row in rows]


async def lock_for_delete(tx: Tx, experiment_id: int, ids: Sequence[str]) -> list[str]:
    """Lock those of the traces that the experiment has; return their ids."""
    return [id_ for (id_,) in await tx.fetch(LOCK_FOR_DELETE, experiment_id, tx.array(sorted(ids)))]


async def archived(tx: Tx, ids: Sequence[str]) -> dict[str, str | None]:
    """Return those of the traces whose spans are files of an archive, with its artifact URI."""
    return {row[0]: row[1] for row in await tx.fetch(ARCHIVED, tx.array(ids))}


async def delete(tx: Tx, ids: Sequence[str]) -> int:
    """Delete locked traces with their tags, metadata, spans, assessments and reviews."""
    await tx.execute(DELETE_REVIEWS, tx.array(ids))
    return await tx.execute(DELETE, tx.array(ids))
