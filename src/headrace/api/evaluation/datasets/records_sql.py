"""SQL for the records of evaluation datasets. Inputs, outputs and the like are JSON texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.pieces import AT_ONCE_BYTES, FIRST_ITEMS, ITEM_BYTES
from headrace.api.results import TooLong
from headrace.db.sql import Bulk, Sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.db.base import Row, Tx


class RecordPosition(NamedTuple):
    """The record after which a page begins: the time of its creation, and its id."""

    created_time: int
    record_id: str


class RecordRow(NamedTuple):
    """A row of `evaluation_dataset_records`, without its hash. Times are milliseconds."""

    dataset_record_id: str
    dataset_id: str
    inputs: str
    expectations: str | None
    tags: str | None
    source: str | None
    source_id: str | None
    source_type: str | None
    created_time: int
    last_update_time: int
    created_by: str | None
    last_updated_by: str | None
    outputs: str | None


_COLUMNS: Final = ", ".join(RecordRow._fields)
_BYTES: Final = (
    "{json bytes inputs} + coalesce({json bytes outputs}, 0) + coalesce({json bytes expectations}, 0)"
    " + coalesce({json bytes tags}, 0) + coalesce({json bytes source}, 0)"
)
INSERT = Bulk(
    "evaluation_dataset_records",
    dataset_record_id="text",
    dataset_id="text",
    inputs="json",
    expectations="json",
    tags="json",
    source="json",
    source_id="text",
    source_type="text",
    created_time="bigint",
    last_update_time="bigint",
    created_by="text",
    last_updated_by="text",
    outputs="json",
    input_hash="text",
)
# (hash, id, bytes of what an upsert merges with) of those of the hashes that exist
KNOWN = Sql(
    "SELECT input_hash, dataset_record_id, coalesce({json bytes expectations}, 0)"
    " + coalesce({json bytes tags}, 0) FROM evaluation_dataset_records"
    " WHERE dataset_id = $1 AND input_hash {in $2 text} ORDER BY input_hash {for update}"
)
MERGED_WITH = Sql(
    "SELECT dataset_record_id, expectations, tags FROM evaluation_dataset_records"
    " WHERE dataset_record_id {in $1 text}"
)
# Nulls keep the values of a record.
UPDATE = Sql(
    postgres="UPDATE evaluation_dataset_records r SET outputs = coalesce(u.outputs, r.outputs),"
    " expectations = coalesce(u.expectations, r.expectations), tags = coalesce(u.tags, r.tags),"
    " last_update_time = u.last_update_time,"
    " last_updated_by = coalesce(u.last_updated_by, r.last_updated_by)"
    " FROM unnest($1::varchar[], $2::json[], $3::json[], $4::json[], $5::bigint[], $6::varchar[])"
    " AS u(id, outputs, expectations, tags, last_update_time, last_updated_by)"
    " WHERE r.dataset_record_id = u.id",
    sqlite="UPDATE evaluation_dataset_records SET outputs = coalesce($2, outputs),"
    " expectations = coalesce($3, expectations), tags = coalesce($4, tags), last_update_time = $5,"
    " last_updated_by = coalesce($6, last_updated_by) WHERE dataset_record_id = $1",
)
COUNT = Sql("SELECT count(*) FROM evaluation_dataset_records WHERE dataset_id = $1")
DELETE = Sql(
    "DELETE FROM evaluation_dataset_records WHERE dataset_id = $1 AND dataset_record_id {in $2 text}"
)
# (id, creation time) of a page; $2, $3: the place after which it begins, or nulls
KEYS = Sql(
    "SELECT dataset_record_id, created_time FROM evaluation_dataset_records WHERE dataset_id = $1"
    " AND (CAST($2 AS bigint) IS NULL OR created_time > $2"
    " OR (created_time = $2 AND dataset_record_id > $3))"
    " ORDER BY created_time, dataset_record_id LIMIT $4 OFFSET $5"
)
WEIGHTS = Sql(
    f"SELECT dataset_record_id, {_BYTES} FROM evaluation_dataset_records"
    " WHERE dataset_record_id {in $1 text}"
)
ROWS = Sql(
    f"SELECT {_COLUMNS} FROM evaluation_dataset_records WHERE dataset_record_id {{in $1 text}}"
    " ORDER BY created_time, dataset_record_id"
)


class Page(NamedTuple):
    """A page of a dataset's records: its first place, and its maximum number of records."""

    dataset_id: str
    after: RecordPosition | None
    offset: int
    limit: int


async def keys(tx: Tx, page: Page, most: int) -> list[RecordPosition]:
    """Return the first keys of a page, at most `most`."""
    created, record_id = page.after or (None, None)
    rows = await tx.fetch(KEYS, page.dataset_id, created, record_id, most, page.offset)
    return [RecordPosition(row[1], row[0]) for row in rows]


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each record."""
    return {id_: int(size) for id_, size in await tx.fetch(WEIGHTS, tx.array(ids))}


async def read(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Return the records with these ids that exist, as values of `RecordRow`, in a page's order."""
    return await tx.fetch(ROWS, tx.array(ids))


async def small_page(tx: Tx, page: Page) -> tuple[list[Row], RecordPosition | None]:
    """Return the records of a page, and the last one if there are more.

    Raises `TooLong` for a page that is sent in pieces.
    """
    if page.limit > FIRST_ITEMS:
        found = await keys(tx, page, FIRST_ITEMS + 1)
        if len(found) > FIRST_ITEMS:
            raise TooLong
    else:
        found = await keys(tx, page, page.limit + 1)
    shown = found[: page.limit]
    ids = [place.record_id for place in shown]
    weights = await weigh(tx, ids)
    if sum(weights.values()) + ITEM_BYTES * len(ids) > AT_ONCE_BYTES:
        raise TooLong
    return await read(tx, ids), shown[-1] if len(found) > page.limit else None
