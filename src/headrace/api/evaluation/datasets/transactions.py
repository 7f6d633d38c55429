"""Transactions on evaluation datasets. Each locks the dataset first."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.evaluation.datasets import records_sql, sql, write_sql
from headrace.api.evaluation.datasets.upsert import Record, Upsert, as_json, merged
from headrace.api.pieces import groups
from headrace.contract.clock import now_ms
from headrace.contract.errors import not_found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.db.base import Tx

RECORDS_PER_STATEMENT: Final = 1000


class New(NamedTuple):
    """A dataset to create."""

    name: str
    tags: Mapping[str, str | None]
    experiment_ids: Sequence[str]
    user: str | None


def digest(name: str, time_ms: int) -> str:
    """The digest of a dataset that was changed at this time."""
    return hashlib.sha256(f"{name}:{time_ms}".encode()).hexdigest()[:8]


async def create(tx: Tx, new: New) -> sql.Found:
    """Create a dataset, and return it."""
    dataset_id = f"d-{uuid.uuid4().hex}"
    now = now_ms()
    mark = digest(new.name, now)
    await tx.execute(write_sql.INSERT, dataset_id, new.name, mark, now, new.user)
    tags = [(dataset_id, key, value) for key, value in new.tags.items()]
    if tags:
        await tx.executemany(write_sql.INSERT_TAG, tags)
    if new.experiment_ids:
        links = [_link(dataset_id, id_, now) for id_ in new.experiment_ids]
        await tx.executemany(write_sql.INSERT_LINK, links)
    row = sql.DatasetRow(dataset_id, new.name, None, None, mark, now, now, new.user, new.user)
    return sql.Found([row], tags)


def _link(dataset_id: str, experiment_id: str, now: int) -> tuple[str, str, str, int]:
    return f"a-{uuid.uuid4().hex}", dataset_id, experiment_id, now


async def set_tags(tx: Tx, dataset_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a dataset. Raises RESOURCE_DOES_NOT_EXIST."""
    if await write_sql.lock(tx, dataset_id) is None:
        raise not_found(f"Could not find evaluation dataset with ID {dataset_id}")
    if tags:
        await tx.executemany(
            write_sql.UPSERT_TAG, [(dataset_id, key, value) for key, value in tags.items()]
        )


async def delete_tag(tx: Tx, dataset_id: str, key: str) -> None:
    """Remove a tag of a dataset, if both exist."""
    if await write_sql.lock(tx, dataset_id) is not None:
        await tx.execute(write_sql.DELETE_TAG, dataset_id, key)


async def add_experiments(tx: Tx, dataset_id: str, experiment_ids: Sequence[str]) -> sql.Found:
    """Link a dataset to experiments, and return it. Raises RESOURCE_DOES_NOT_EXIST."""
    await _lock(tx, dataset_id)
    unknown = await write_sql.unknown_experiment(tx, experiment_ids)
    if unknown is not None:
        raise not_found(f"No Experiment with id={unknown}")
    now = now_ms()
    if experiment_ids:
        links = [_link(dataset_id, id_, now) for id_ in dict.fromkeys(experiment_ids)]
        await tx.executemany(write_sql.ADD_LINK, links)
    await tx.execute(write_sql.TOUCH, dataset_id, now)
    return await sql.read(tx, [dataset_id])


async def remove_experiments(tx: Tx, dataset_id: str, experiment_ids: Sequence[str]) -> sql.Found:
    """Remove the links of a dataset to experiments, and return it. Raises RESOURCE_DOES_NOT_EXIST."""
    await _lock(tx, dataset_id)
    if await tx.execute(write_sql.REMOVE_LINKS, dataset_id, tx.array(experiment_ids)):
        await tx.execute(write_sql.TOUCH, dataset_id, now_ms())
    return await sql.read(tx, [dataset_id])


async def _lock(tx: Tx, dataset_id: str) -> None:
    if await write_sql.lock(tx, dataset_id) is None:
        raise not_found(f"Dataset '{dataset_id}' not found")


async def delete_records(tx: Tx, dataset_id: str, record_ids: Sequence[str]) -> int:
    """Delete records of a dataset. Return how many there were."""
    locked = await write_sql.lock(tx, dataset_id)
    if locked is None:
        return 0
    deleted = await tx.execute(records_sql.DELETE, dataset_id, tx.array(record_ids))
    if deleted:
        profile = (json.loads(locked[2]) if locked[2] else None) or {}
        left = max(0, profile.get("num_records", 0) - deleted)
        text = json.dumps({"num_records": left} if left else None)
        await tx.execute(write_sql.SET_PROFILE, dataset_id, text)
    return deleted


async def upsert(tx: Tx, dataset_id: str, given: Upsert) -> tuple[int, int]:
    """Write records of a dataset. Return how many were new, and how many not.

    Raises RESOURCE_DOES_NOT_EXIST.
    """
    locked = await write_sql.lock(tx, dataset_id)
    if locked is None and not given.count:
        return 0, 0
    if locked is None:
        raise not_found(f"Evaluation dataset with id '{dataset_id}' not found")
    now = now_ms()
    records = given.records
    known = await tx.fetch(records_sql.KNOWN, dataset_id, tx.array(list(records)))
    ids = {row[0]: row[1] for row in known}
    new = [(hash_, record) for hash_, record in records.items() if hash_ not in ids]
    # In the order of their ids, in which pages list the records of one upsert.
    new_ids = iter(sorted(f"dr-{uuid.uuid4().hex}" for _ in new))
    for some in _portions(new):
        rows = [_row(dataset_id, next(new_ids), hash_, one, now) for hash_, one in some]
        await tx.executemany(records_sql.INSERT, rows)
    await _merge(tx, records, ids, {row[1]: row[2] for row in known}, now)
    (count,) = (await tx.fetch(records_sql.COUNT, dataset_id))[0]
    name, schema, _ = locked
    await tx.execute(
        write_sql.UPDATE,
        dataset_id,
        given.schema.merged(schema),
        json.dumps({"num_records": count}) if count else None,
        digest(name, now),
        now,
        given.user,
    )
    return len(new), given.count - len(new)


def _portions(
    records: Sequence[tuple[str, Record]],
) -> Iterator[Sequence[tuple[str, Record]]]:
    """The records in groups for one statement each: the event loop encodes it in one step."""
    weights = {key: len(one.inputs) for key, one in records}
    by_key = dict(records)
    for keys in groups([key for key, _ in records], weights) if records else ():
        for start in range(0, len(keys), RECORDS_PER_STATEMENT):
            some = keys[start : start + RECORDS_PER_STATEMENT]
            yield [(key, by_key[key]) for key in some]


def _row(dataset_id: str, record_id: str, hash_: str, one: Record, now: int) -> tuple[object, ...]:
    """The values of `records_sql.INSERT`."""
    expectations = one.expectations or one.first_expectations
    return (
        record_id,
        dataset_id,
        one.inputs,
        as_json(expectations),
        as_json(one.tags),
        "null" if one.source is None else as_json(one.source),
        one.source_id,
        one.source_type,
        now,
        now,
        one.created_by,
        one.updated_by,
        one.new_outputs(),
        hash_,
    )


async def _merge(
    tx: Tx,
    records: Mapping[str, Record],
    ids: Mapping[str, str],
    weights: Mapping[str, int],
    now: int,
) -> None:
    """Update the records that exist, a portion at a time: stored expectations may be long."""
    by_id = {record_id: records[hash_] for hash_, record_id in ids.items()}
    for group in groups(list(by_id), weights) if by_id else ():
        stored = {}
        if any(by_id[id_].expectations or by_id[id_].tags for id_ in group):
            rows = await tx.fetch(records_sql.MERGED_WITH, tx.array(group))
            stored = {row[0]: (row[1], row[2]) for row in rows}
        changes = []
        for id_ in group:
            one, (expectations, tags) = by_id[id_], stored.get(id_, (None, None))
            changes.append(
                (
                    id_,
                    one.merged_outputs(),
                    merged(expectations, one.expectations),
                    merged(tags, one.tags),
                    now,
                    one.updated_by,
                )
            )
        await tx.executemany(records_sql.UPDATE, changes)
