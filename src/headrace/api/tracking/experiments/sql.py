"""SQL for experiments.

Rules are in handlers.py; the search statement is made by `headrace.search`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.api.pieces import ALL_ROWS, PAIR_BYTES, at_most, at_once, first_rows
from headrace.db import keyed
from headrace.db.base import Row, Tx
from headrace.db.sql import Bulk, Sql, statement

if TYPE_CHECKING:
    from headrace.search import Page

MOST_TAGS = 2000  # of 20,000 characters, which a page reads at once


class ExperimentRow(NamedTuple):
    """A row of `experiments`. Times are milliseconds since the epoch."""

    experiment_id: int
    name: str
    artifact_location: str | None
    lifecycle_stage: str
    creation_time: int | None
    last_update_time: int | None


_COLUMNS = ", ".join(ExperimentRow._fields)
BY_ID = Sql(f"SELECT {_COLUMNS} FROM experiments WHERE experiment_id = $1")
# Nobody else changes the experiment until the transaction ends; runs may be made in it.
LOCK = Sql("SELECT 1 FROM experiments WHERE experiment_id = $1 {for update}")
BY_NAME = Sql(f"SELECT {_COLUMNS} FROM experiments WHERE name = $1")


BY_IDS = Sql(f"SELECT {_COLUMNS} FROM experiments WHERE experiment_id {{in $1 int}}")
# In the order in which they lie in the table, as stock finds them: see `api.runs.sql`.
TAGS = Sql(
    "SELECT experiment_id, key, value FROM experiment_tags WHERE experiment_id {in $1 int}"
    " ORDER BY {stored} LIMIT $2"
)
WEIGHTS = Sql(  # bytes of the tags of each
    f"SELECT experiment_id, sum({PAIR_BYTES} + {{bytes key}} + coalesce({{bytes value}}, 0))"
    " FROM experiment_tags WHERE experiment_id {in $1 int} GROUP BY experiment_id"
)
INSERT = Sql(  # returns the new id
    "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time)"
    " VALUES ($1, $2, 'active', $3, $3) RETURNING experiment_id"
)
SET_LOCATION = Sql("UPDATE experiments SET artifact_location = $2 WHERE experiment_id = $1")
INSERT_TAG = Bulk("experiment_tags", experiment_id="int", key="text", value="text")
UPSERT_TAG = Sql(
    "INSERT INTO experiment_tags (experiment_id, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (key, experiment_id) DO UPDATE SET value = EXCLUDED.value"
)
DELETE_TAG = Sql("DELETE FROM experiment_tags WHERE experiment_id = $1 AND key = $2")
RENAME = Sql("UPDATE experiments SET name = $2, last_update_time = $3 WHERE experiment_id = $1")
SET_STAGE = Sql(
    "UPDATE experiments SET lifecycle_stage = $2, last_update_time = $3"
    " WHERE experiment_id = $1 AND lifecycle_stage <> $2"
)
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
    """The experiment that `sql` (BY_ID, BY_NAME) finds by `key`."""
    row = await tx.fetchrow(sql, key)
    return None if row is None else ExperimentRow(*row)


async def find(
    tx: Tx, sql: Sql, key: Any, most: int = ALL_ROWS
) -> tuple[ExperimentRow, list[Row]] | None:
    """The experiment that `sql` (BY_ID, BY_NAME) finds by `key`, and its tags; `TooLong` for more than `most`."""
    row = await row_of(tx, sql, key)
    if row is None:
        return None
    return row, at_most(await tx.fetch(TAGS, tx.array([row.experiment_id]), most + 1), most)


async def search(tx: Tx, page: Page) -> tuple[Sequence[Row], list[Row], str | None]:
    """One page of experiments, the tags of all of them, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(statement(page.text), *page.args))
    tags = await tx.fetch(TAGS, tx.array([row[0] for row in rows]), ALL_ROWS) if rows else []
    return rows, tags, token


async def small_page(tx: Tx, page: Page) -> tuple[Sequence[Row], list[Row], str | None]:
    """As `search`. Raises `TooLong` for a page that is too large to be held at once."""
    rows, token = await first_rows(tx, page)
    numbers = [row[0] for row in rows]
    if not numbers:
        return rows, [], token

    async def read_tags(most: int) -> list[Row]:
        return at_most(await tx.fetch(TAGS, tx.array(numbers), most + 1), most)

    return rows, await at_once(tx, weigh, numbers, read_tags, MOST_TAGS, ALL_ROWS), token


async def weigh(tx: Tx, numbers: Sequence[int]) -> Mapping[int, int]:
    """About how many bytes of an answer belong to each experiment."""
    return {number: int(size) for number, size in await tx.fetch(WEIGHTS, tx.array(numbers))}


async def read(tx: Tx, numbers: Sequence[int]) -> tuple[list[Row], list[Row]]:
    """The experiments that exist, in the order of their numbers here, and their tags."""
    found = {row[0]: row for row in await tx.fetch(BY_IDS, tx.array(numbers))}
    rows = [found[number] for number in numbers if number in found]
    return rows, await tx.fetch(TAGS, tx.array(numbers), ALL_ROWS)


async def create(
    tx: Tx,
    name: str,
    location: str | None,
    default_root: str,
    now_ms: int,
    tags: Sequence[tuple[str, str]],
) -> int:
    """Insert an experiment and its tags; without a location it gets `<default_root>/<id>`."""
    row = await tx.fetchrow(INSERT, name, location or "", now_ms)
    assert row is not None, "INSERT must return the new id"
    experiment_id: int = row[0]
    if not location:
        await tx.execute(SET_LOCATION, experiment_id, f"{default_root}/{experiment_id}")
    if tags:
        await tx.executemany(INSERT_TAG, [(experiment_id, key, value) for key, value in tags])
    return experiment_id
