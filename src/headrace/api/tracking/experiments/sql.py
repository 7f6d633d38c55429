"""SQL for experiments.

The rules are in handlers.py; `headrace.search` builds the search statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.api.pieces import ALL_ROWS, PAIR_BYTES, at_most, at_once, first_rows
from headrace.db import keyed
from headrace.db.base import Row, Tx
from headrace.db.sql import Bulk, Sql, statement
from headrace.db.workspaces_sql import Root

if TYPE_CHECKING:
    from headrace.search import Page

MOST_TAGS = 2000  # maximum number of tags, each up to 20,000 characters, that a page reads at once


class ExperimentRow(NamedTuple):
    """A row of `experiments`. Times are milliseconds since the epoch."""

    experiment_id: int
    name: str
    artifact_location: str | None
    lifecycle_stage: str
    creation_time: int | None
    last_update_time: int | None


_COLUMNS = ", ".join(ExperimentRow._fields)
BY_ID = Sql(f"SELECT {_COLUMNS} FROM experiments WHERE {{in workspace}}experiment_id = $1")
# Other transactions cannot change the experiment until this one ends; they can create runs in it.
LOCK = Sql("SELECT 1 FROM experiments WHERE {in workspace}experiment_id = $1 {for update}")
BY_NAME = Sql(f"SELECT {_COLUMNS} FROM experiments WHERE {{in workspace}}name = $1")


BY_IDS = Sql(
    f"SELECT {_COLUMNS} FROM experiments WHERE {{in workspace}}experiment_id {{in $1 int}}"
)
# In the order of the table, as stock returns them: see `api.tracking.runs.sql`.
TAGS = Sql(
    "SELECT experiment_id, key, value FROM experiment_tags WHERE experiment_id {in $1 int}"
    " ORDER BY {stored} LIMIT $2"
)
WEIGHTS = Sql(  # total bytes of each experiment's tags
    f"SELECT experiment_id, sum({PAIR_BYTES} + {{bytes key}} + coalesce({{bytes value}}, 0))"
    " FROM experiment_tags WHERE experiment_id {in $1 int} GROUP BY experiment_id"
)
INSERT = Sql(  # returns the new id
    "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time,"
    " last_update_time{workspace column}) VALUES ($1, $2, 'active', $3, $3{workspace value}) RETURNING experiment_id"
)
SET_LOCATION = Sql(
    "UPDATE experiments SET artifact_location = $2 WHERE {in workspace}experiment_id = $1"
)
INSERT_TAG = Bulk("experiment_tags", experiment_id="int", key="text", value="text")
UPSERT_TAG = Sql(
    "INSERT INTO experiment_tags (experiment_id, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, experiment_id) DO UPDATE SET value = EXCLUDED.value"
)
DELETE_TAG = Sql("DELETE FROM experiment_tags WHERE experiment_id = $1 AND key = $2")
RENAME = Sql(
    "UPDATE experiments SET name = $2, last_update_time = $3 WHERE {in workspace}experiment_id = $1"
)
SET_STAGE = Sql(
    "UPDATE experiments SET lifecycle_stage = $2, last_update_time = $3"
    " WHERE {in workspace}experiment_id = $1 AND lifecycle_stage <> $2"
)
LOCK_TO_DELETE = Sql(
    "SELECT 1 FROM experiments WHERE {in workspace}experiment_id = $1 {for delete}"
)
# One statement per table whose rows would be deleted together with their experiment, or prevent it.
HAS_CONTENTS = {
    table: Sql(f"SELECT 1 FROM {table} WHERE experiment_id = $1 LIMIT 1")
    for table in ("runs", "logged_models", "trace_info", "datasets")
}
DELETE_TAGS = Sql("DELETE FROM experiment_tags WHERE experiment_id = $1")
DELETE = Sql("DELETE FROM experiments WHERE {in workspace}experiment_id = $1")
DELETE_RUNS = Sql(
    "UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = $2"
    " WHERE experiment_id = $1 AND lifecycle_stage = 'active'"
)
RESTORE_RUNS = Sql(
    "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL"
    " WHERE experiment_id = $1 AND lifecycle_stage = 'deleted'"
)


_TAGS_OF_ONE = ("experiment_tags", "experiment_id = $1", "key", "value", 1)
TAG_SIZES = Sql(keyed.sizes(*_TAGS_OF_ONE))
TAGS_BY_KEY = Sql(keyed.rows(*_TAGS_OF_ONE))


async def row_of(tx: Tx, sql: Sql, key: Any) -> ExperimentRow | None:
    """Return the experiment that `sql` (BY_ID, BY_NAME) finds by `key`, or None."""
    row = await tx.fetchrow(sql, key)
    return None if row is None else ExperimentRow(*row)


async def find(
    tx: Tx, sql: Sql, key: Any, most: int = ALL_ROWS
) -> tuple[ExperimentRow, list[Row]] | None:
    """Return the experiment that `sql` (BY_ID, BY_NAME) finds by `key`, and its tags, or None.

    Raises `TooLong` for more than `most` tags.
    """
    row = await row_of(tx, sql, key)
    if row is None:
        return None
    return row, at_most(await tx.fetch(TAGS, tx.array([row.experiment_id]), most + 1), most)


async def search(tx: Tx, page: Page) -> tuple[Sequence[Row], list[Row], str | None]:
    """Return a page of experiments, all their tags, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    tags = await tx.fetch(TAGS, tx.array([row[0] for row in rows]), ALL_ROWS) if rows else []
    return rows, tags, token


async def small_page(tx: Tx, page: Page) -> tuple[Sequence[Row], list[Row], str | None]:
    """Like `search`, but raises `TooLong` for a page that is too large for one read."""
    rows, token = await first_rows(tx, page)
    numbers = [row[0] for row in rows]
    if not numbers:
        return rows, [], token

    async def read_tags(most: int) -> list[Row]:
        return at_most(await tx.fetch(TAGS, tx.array(numbers), most + 1), most)

    return rows, await at_once(tx, weigh, numbers, read_tags, MOST_TAGS, ALL_ROWS), token


async def weigh(tx: Tx, numbers: Sequence[int]) -> Mapping[int, int]:
    """Return the approximate size of each experiment in an answer, in bytes."""
    return {number: int(size) for number, size in await tx.fetch(WEIGHTS, tx.array(numbers))}


async def read(tx: Tx, numbers: Sequence[int]) -> tuple[list[Row], list[Row]]:
    """Return the existing experiments in the order of `numbers`, and their tags."""
    found = {row[0]: row for row in await tx.fetch(BY_IDS, tx.array(numbers))}
    rows = [found[number] for number in numbers if number in found]
    return rows, await tx.fetch(TAGS, tx.array(numbers), ALL_ROWS)


async def create(
    tx: Tx,
    name: str,
    location: str | None,
    root: Root,
    now_ms: int,
    tags: Sequence[tuple[str, str]],
) -> int:
    """Insert an experiment and its tags; without a location, it is below `root`."""
    row = await tx.fetchrow(INSERT, name, location or "", now_ms)
    assert row is not None, "INSERT must return the new id"
    experiment_id: int = row[0]
    if not location:
        await tx.execute(SET_LOCATION, experiment_id, await root.location(tx, experiment_id))
    if tags:
        await tx.executemany(INSERT_TAG, [(experiment_id, key, value) for key, value in tags])
    return experiment_id
