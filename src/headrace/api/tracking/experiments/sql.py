"""SQL for experiments: one constant per statement, PostgreSQL and SQLite side by side.

Rules are in handlers.py; the search statement is made by `headrace.search`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headrace.api.pieces import ALL_ROWS, PAIR_BYTES, at_most, at_once, first_rows
from headrace.db import keyed
from headrace.db.base import Row, Sql, Tx

if TYPE_CHECKING:
    from headrace.search import Page

MOST_TAGS = 2000  # of 20,000 characters, which a page reads at once
_COLUMNS = (
    "experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time"
)
BY_ID = Sql(f"SELECT {_COLUMNS} FROM experiments WHERE experiment_id = $1")
LOCK = Sql(  # nobody else changes the experiment until the transaction ends; runs may be made in it
    postgres="SELECT 1 FROM experiments WHERE experiment_id = $1 FOR NO KEY UPDATE",
    sqlite="SELECT 1 FROM experiments WHERE experiment_id = $1",
)
BY_NAME = Sql(f"SELECT {_COLUMNS} FROM experiments WHERE name = $1")


def _of_experiments(select: str, rest: str = "") -> Sql:
    return Sql(
        postgres=f"{select} WHERE experiment_id = ANY($1::int[]){rest}",
        sqlite=f"{select} WHERE experiment_id IN (SELECT value FROM json_each($1)){rest}".replace(
            "ctid", "rowid"
        ).replace("octet_length", "length"),
    )


BY_IDS = _of_experiments(f"SELECT {_COLUMNS} FROM experiments")
# In the order in which they lie in the table, as stock finds them: see `api.runs.sql`.
TAGS = _of_experiments(
    "SELECT experiment_id, key, value FROM experiment_tags", " ORDER BY ctid LIMIT $2"
)
WEIGHTS = _of_experiments(  # bytes of the tags of each
    f"SELECT experiment_id, sum({PAIR_BYTES} + octet_length(key) + coalesce(octet_length(value), 0))"
    " FROM experiment_tags",
    " GROUP BY experiment_id",
)
INSERT = Sql(  # returns the new id
    "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time)"
    " VALUES ($1, $2, 'active', $3, $3) RETURNING experiment_id"
)
SET_LOCATION = Sql("UPDATE experiments SET artifact_location = $2 WHERE experiment_id = $1")
INSERT_TAG = Sql("INSERT INTO experiment_tags (experiment_id, key, value) VALUES ($1, $2, $3)")
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
TAG_SIZES = Sql(**keyed.sizes(*_TAGS_OF_ONE)._asdict())
TAGS_BY_KEY = Sql(**keyed.rows(*_TAGS_OF_ONE)._asdict())


async def find(tx: Tx, sql: Sql, key: Any, most: int = ALL_ROWS) -> tuple[Row, list[Row]] | None:
    """The experiment that `sql` (BY_ID, BY_NAME) finds by `key`, and its tags; `TooLong` for more than `most`."""
    row = await tx.fetchrow(sql, key)
    if row is None:
        return None
    return row, at_most(await tx.fetch(TAGS, tx.array([row[0]]), most + 1), most)


async def row_of(tx: Tx, sql: Sql, key: Any) -> Row | None:
    """The row that `sql` (BY_ID, BY_NAME) finds by `key`, or None."""
    return await tx.fetchrow(sql, key)


async def search(tx: Tx, page: Page) -> tuple[Sequence[Row], list[Row], str | None]:
    """One page of experiments, the tags of all of them, and the token of the next page."""
    rows, token = page.cut(await tx.fetch(page.sql, *page.args))
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
