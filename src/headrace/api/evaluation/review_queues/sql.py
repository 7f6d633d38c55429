"""SQL for review queues and their items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.results import NotNative
from headrace.db.sql import Bulk, Sql
from headrace.search.compile import Parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.db.base import Dialect, Row, Schema, Tx
    from headrace.search import Page


class QueueRow(NamedTuple):
    """A row of `review_queues`. Times are milliseconds since the epoch."""

    queue_id: str
    experiment_id: int
    name: str
    name_key: str  # the name in lower case
    queue_type: str  # user or custom
    created_by: str | None
    creation_time_ms: int
    last_update_time_ms: int


class ItemRow(NamedTuple):
    """A row of `review_queue_items`. Times are milliseconds since the epoch."""

    queue_id: str
    item_type: str  # trace
    item_id: str
    status: str  # pending, complete or declined
    completed_by: str | None
    completed_time_ms: int | None
    creation_time_ms: int
    last_update_time_ms: int


class Found(NamedTuple):
    """Some queues, with their users and label schemas as (queue_id, user or schema_id)."""

    rows: Sequence[QueueRow]
    users: Sequence[Row]
    schema_ids: Sequence[Row]


_QUEUE: Final = ", ".join(QueueRow._fields)
_ITEM: Final = ", ".join(ItemRow._fields)
BY_IDS = Sql(f"SELECT {_QUEUE} FROM review_queues WHERE queue_id {{in $1 text}}")
BY_NAME = Sql(f"SELECT {_QUEUE} FROM review_queues WHERE experiment_id = $1 AND name_key = $2")
LOCKED = Sql(f"SELECT {_QUEUE} FROM review_queues WHERE queue_id = $1 {{for update}}")
LOCKED_TO_DELETE = Sql("SELECT 1 FROM review_queues WHERE queue_id = $1 {for delete}")
USERS = Sql(
    "SELECT queue_id, user_id FROM review_queue_users WHERE queue_id {in $1 text} ORDER BY user_id"
)
SCHEMA_IDS = Sql(
    "SELECT queue_id, schema_id FROM review_queue_label_schemas WHERE queue_id {in $1 text}"
    " ORDER BY schema_id"
)
WEIGHTS = Sql(  # a queue has at most ten users
    "SELECT q.queue_id, {bytes q.name} + 2500 + 40 * (SELECT count(*)"
    " FROM review_queue_label_schemas s WHERE s.queue_id = q.queue_id)"
    " FROM review_queues q WHERE q.queue_id {in $1 text}"
)
_NUMBERED: Final = ", ".join(f"${n}" for n in range(1, len(QueueRow._fields) + 1))
INSERT = Sql(f"INSERT INTO review_queues ({_QUEUE}) VALUES ({_NUMBERED})")
INSERT_USERS = Bulk("review_queue_users", queue_id="text", user_id="text")
INSERT_SCHEMAS = Bulk("review_queue_label_schemas", queue_id="text", schema_id="text")
KNOWN_SCHEMAS = Sql(
    "SELECT schema_id FROM label_schemas WHERE experiment_id = $1 AND schema_id {in $2 text}"
)
UPDATE = Sql(
    "UPDATE review_queues SET name = $2, name_key = $3, created_by = $4, last_update_time_ms = $5"
    " WHERE queue_id = $1"
)
DELETE_USERS = Sql("DELETE FROM review_queue_users WHERE queue_id = $1")
DELETE_SCHEMAS = Sql("DELETE FROM review_queue_label_schemas WHERE queue_id = $1")
DELETE_ITEMS = Sql("DELETE FROM review_queue_items WHERE queue_id = $1")
DELETE = Sql("DELETE FROM review_queues WHERE queue_id = $1")
HAS_ITEMS = Sql("SELECT 1 FROM review_queue_items WHERE queue_id = $1 LIMIT 1")
KNOWN_TRACES = Sql(
    "SELECT request_id FROM trace_info WHERE experiment_id = $1 AND request_id {in $2 text}"
)
INSERT_ITEMS = Bulk(
    "review_queue_items",
    on_conflict="ignore",
    queue_id="text",
    item_type="text",
    item_id="text",
    status="text",
    creation_time_ms="bigint",
    last_update_time_ms="bigint",
)
ITEMS = Sql(
    f"SELECT {_ITEM} FROM review_queue_items WHERE queue_id = $1 AND item_id {{in $2 text}}"
)
LOCKED_ITEM = Sql(
    f"SELECT {_ITEM} FROM review_queue_items WHERE queue_id = $1 AND item_id = $2 {{for update}}"
)
REMOVE_ITEMS = Sql("DELETE FROM review_queue_items WHERE queue_id = $1 AND item_id {in $2 text}")
SET_STATUS = Sql(
    "UPDATE review_queue_items SET status = $3, completed_by = $4, completed_time_ms = $5,"
    " last_update_time_ms = $6 WHERE queue_id = $1 AND item_id = $2"
)


def page(
    experiment_id: int,
    users: Sequence[str],
    item_id: str | None,
    max_results: int,
    offset: int,
    dialect: Dialect,
) -> Page:
    """The ids of a page of queues that are assigned to all of these users, and have this item."""
    parameters = Parameters(dialect)
    where = [f"q.experiment_id = {parameters.add(experiment_id)}"]
    of_queue = "x WHERE x.queue_id = q.queue_id AND x."
    where += [
        parameters.exists(f"review_queue_users {of_queue}user_id = {parameters.add(user)}")
        for user in users
    ]
    if item_id is not None:
        item = parameters.add(item_id)
        where.append(parameters.exists(f"review_queue_items {of_queue}item_id = {item}"))
    text = (
        f"SELECT q.queue_id FROM review_queues q WHERE {' AND '.join(where)}"
        " ORDER BY q.creation_time_ms DESC, q.queue_id"
    )
    return parameters.page(text, offset, max_results)


def items_page(
    queue_id: str, status: str | None, max_results: int, offset: int, dialect: Dialect
) -> Page:
    """The ids of a page of the items of a queue."""
    parameters = Parameters(dialect)
    where = f"queue_id = {parameters.add(queue_id)}"
    if status is not None:
        where += f" AND status = {parameters.add(status)}"
    text = (
        f"SELECT item_id FROM review_queue_items WHERE {where}"
        " ORDER BY creation_time_ms DESC, item_id"
    )
    return parameters.page(text, offset, max_results)


def check_served(schema: Schema) -> None:
    """Leave the request to stock MLflow if the database is older than MLflow 3.14."""
    if not (schema.has("review_queues", "name_key") and schema.has("label_schemas")):
        raise NotNative


async def read(tx: Tx, ids: Sequence[str]) -> Found:
    """Return the queues with these ids that exist, in this order."""
    rows = {row[0]: QueueRow(*row) for row in await tx.fetch(BY_IDS, tx.array(ids))}
    users = await tx.fetch(USERS, tx.array(ids))
    schema_ids = await tx.fetch(SCHEMA_IDS, tx.array(ids))
    return Found([rows[id_] for id_ in ids if id_ in rows], users, schema_ids)


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each queue, or more."""
    return {id_: int(size) for id_, size in await tx.fetch(WEIGHTS, tx.array(ids))}


async def items(tx: Tx, item_ids: Sequence[str], queue_id: str) -> list[ItemRow]:
    """Return the items of a queue with these ids that exist, in this order."""
    found = [ItemRow(*row) for row in await tx.fetch(ITEMS, queue_id, tx.array(item_ids))]
    rows = {row.item_id: row for row in found}
    return [rows[id_] for id_ in item_ids if id_ in rows]


async def weigh_items(tx: Tx, item_ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of long items: there are none."""
    return {}
