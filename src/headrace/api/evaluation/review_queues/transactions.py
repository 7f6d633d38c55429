"""Transactions on review queues. Each that changes one locks it first."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.evaluation.label_schemas.transactions import check_experiment
from headrace.api.evaluation.review_queues import rules, sql
from headrace.contract.clock import now_ms
from headrace.contract.errors import (
    ApiError,
    ErrorCode,
    invalid,
    not_found,
    review_queue_not_found,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Row, Tx

ITEMS_PER_STATEMENT: Final = 1000
MOST_SHOWN: Final = 100  # ids in a message


class Changes(NamedTuple):
    """The fields of an update; None leaves a field as it is."""

    users: Sequence[str] | None
    schema_ids: Sequence[str] | None
    name: str | None
    new_owner: str | None


async def _check_schemas(tx: Tx, experiment_id: int, ids: Sequence[str]) -> None:
    if ids:
        known = {row[0] for row in await tx.fetch(sql.KNOWN_SCHEMAS, experiment_id, tx.array(ids))}
        if missing := [id_ for id_ in ids if id_ not in known]:
            raise invalid(
                f"Label schema id(s) {missing} not found for experiment '{experiment_id}'."
            )


async def create(tx: Tx, experiment_id: int, new: rules.Queue, owner: str | None) -> sql.Found:
    """Create a queue, and return it.

    Raises RESOURCE_DOES_NOT_EXIST (no active experiment), INVALID_PARAMETER_VALUE (label schemas),
    RESOURCE_ALREADY_EXISTS (the name).
    """
    await check_experiment(tx, experiment_id)
    await _check_schemas(tx, experiment_id, new.schema_ids)
    await _check_free(tx, experiment_id, new.name)
    return await _insert(tx, experiment_id, new, owner)


async def _check_free(tx: Tx, experiment_id: int, name: str) -> None:
    if await tx.fetchrow(sql.BY_NAME, experiment_id, name.lower()) is not None:
        raise rules.name_taken(name)


async def _insert(tx: Tx, experiment_id: int, new: rules.Queue, owner: str | None) -> sql.Found:
    queue_id, now = f"rq-{uuid.uuid4().hex}", now_ms()
    key = new.name.lower()
    row = sql.QueueRow(queue_id, experiment_id, new.name, key, new.type, owner, now, now)
    await tx.execute(sql.INSERT, *row)
    await _set_users(tx, queue_id, new.users)
    await _set_schemas(tx, queue_id, new.schema_ids)
    return await sql.read(tx, [queue_id])


async def _set_users(tx: Tx, queue_id: str, users: Sequence[str]) -> None:
    if users:
        await tx.executemany(sql.INSERT_USERS, [(queue_id, user) for user in users])


async def _set_schemas(tx: Tx, queue_id: str, ids: Sequence[str]) -> None:
    if ids:
        await tx.executemany(sql.INSERT_SCHEMAS, [(queue_id, id_) for id_ in ids])


async def get_or_create(tx: Tx, experiment_id: int, new: rules.Queue) -> sql.Found:
    """Return the queue of a user, which is created if necessary. Raises as `create`."""
    await check_experiment(tx, experiment_id)
    row = await tx.fetchrow(sql.BY_NAME, experiment_id, new.name)
    if row is None:
        return await _insert(tx, experiment_id, new, new.name)
    if sql.QueueRow(*row).queue_type != "user":
        raise ApiError(
            ErrorCode.RESOURCE_ALREADY_EXISTS,
            f"A non-user queue named '{new.name}' already exists; cannot get-or-create "
            "a user queue with that name.",
        )
    return await sql.read(tx, [row[0]])


async def get(tx: Tx, queue_id: str) -> sql.Found:
    """Return a queue. Raises RESOURCE_DOES_NOT_EXIST."""
    found = await sql.read(tx, [queue_id])
    if not found.rows:
        raise review_queue_not_found(queue_id)
    return found


async def get_by_name(tx: Tx, experiment_id: int, name: str, spelt: str) -> sql.Found:
    """Return the queue of an active experiment; the case of names does not count.

    Raises RESOURCE_DOES_NOT_EXIST; `spelt` is how the request spells the experiment.
    """
    await check_experiment(tx, experiment_id)
    row = await tx.fetchrow(sql.BY_NAME, experiment_id, name.lower())
    if row is None:
        raise not_found(f"Review queue with name '{name}' not found for experiment '{spelt}'.")
    return await sql.read(tx, [row[0]])


async def _locked(tx: Tx, queue_id: str) -> sql.QueueRow:
    row = await tx.fetchrow(sql.LOCKED, queue_id)
    if row is None:
        raise review_queue_not_found(queue_id)
    return sql.QueueRow(*row)


async def update(tx: Tx, queue_id: str, given: Changes) -> sql.Found:
    """Change a queue, and return it.

    Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS.
    """
    row = await _locked(tx, queue_id)
    if row.queue_type == "user":
        raise invalid(
            "A user queue's name, assigned user, schemas, and owner are fixed "
            "and cannot be updated."
        )
    if not any(one is not None for one in given):
        return await sql.read(tx, [queue_id])
    owner = row.created_by if given.new_owner is None else rules.owner_of(given.new_owner)
    name = row.name if given.name is None else rules.custom_name(given.name)
    if name.lower() != row.name_key:
        await _check_free(tx, row.experiment_id, name)
    if given.users is not None:
        users = rules.users_of(given.users)
        await tx.execute(sql.DELETE_USERS, queue_id)
        await _set_users(tx, queue_id, users)
    if given.schema_ids is not None:
        await _replace_schemas(tx, row, given.schema_ids)
    await tx.execute(sql.UPDATE, queue_id, name, name.lower(), owner, now_ms())
    return await sql.read(tx, [queue_id])


async def _replace_schemas(tx: Tx, row: sql.QueueRow, given: Sequence[str]) -> None:
    if await tx.fetchrow(sql.HAS_ITEMS, row.queue_id) is not None:
        raise invalid(
            "A review queue's questions are locked once items are assigned to it. "
            "Remove the items before changing its questions."
        )
    ids = rules.schema_ids_of(given)
    await _check_schemas(tx, row.experiment_id, ids)
    await tx.execute(sql.DELETE_SCHEMAS, row.queue_id)
    await _set_schemas(tx, row.queue_id, ids)


async def delete(tx: Tx, queue_id: str) -> None:
    """Delete a queue with its items, if it exists."""
    if await tx.fetchrow(sql.LOCKED_TO_DELETE, queue_id) is None:
        return
    for statement in (sql.DELETE_USERS, sql.DELETE_ITEMS, sql.DELETE_SCHEMAS, sql.DELETE):
        await tx.execute(statement, queue_id)


async def add_items(tx: Tx, queue_id: str, item_ids: Sequence[str], item_type: str) -> None:
    """Add traces to a queue; those that are in it stay as they are.

    Raises RESOURCE_DOES_NOT_EXIST (the queue, a trace of its experiment).
    """
    row = await _locked(tx, queue_id)
    known: set[str] = set()
    for some in _portions(item_ids):
        rows: Sequence[Row] = await tx.fetch(sql.KNOWN_TRACES, row.experiment_id, tx.array(some))
        known.update(found[0] for found in rows)
    if unknown := [id_ for id_ in item_ids if id_ not in known]:
        raise not_found(
            f"Cannot attach trace(s) {unknown[:MOST_SHOWN]} to review queue '{queue_id}': "
            f"they do not exist in experiment '{row.experiment_id}'."
        )
    now = now_ms()
    for some in _portions(item_ids):
        items = [(queue_id, item_type, id_, "pending", now, now) for id_ in some]
        await tx.executemany(sql.INSERT_ITEMS, items)


async def remove_items(tx: Tx, queue_id: str, item_ids: Sequence[str]) -> None:
    """Remove items from a queue. Raises RESOURCE_DOES_NOT_EXIST (the queue)."""
    await _locked(tx, queue_id)
    for some in _portions(item_ids):
        await tx.execute(sql.REMOVE_ITEMS, queue_id, tx.array(some))


def _portions(item_ids: Sequence[str]) -> list[Sequence[str]]:
    starts = range(0, len(item_ids), ITEMS_PER_STATEMENT)
    return [item_ids[start : start + ITEMS_PER_STATEMENT] for start in starts]


async def set_status(
    tx: Tx, queue_id: str, item_id: str, status: str, user: str | None
) -> sql.ItemRow:
    """Set the status of an item, and return it. An item that has the status does not change.

    Raises RESOURCE_DOES_NOT_EXIST.
    """
    await get(tx, queue_id)
    found = await tx.fetchrow(sql.LOCKED_ITEM, queue_id, item_id)
    if found is None:
        raise not_found(f"Item '{item_id}' is not attached to review queue '{queue_id}'.")
    row = sql.ItemRow(*found)
    if row.status == status:
        return row
    now = now_ms()
    completed = None if user is None else now
    await tx.execute(sql.SET_STATUS, queue_id, item_id, status, user, completed, now)
    return row._replace(
        status=status, completed_by=user, completed_time_ms=completed, last_update_time_ms=now
    )
