"""SQL that reads evaluation datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.results import NotNative
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from headrace.db.base import Row, Schema, Tx


class DatasetRow(NamedTuple):
    """A row of `evaluation_datasets`. Times are milliseconds since the epoch."""

    dataset_id: str
    name: str
    schema: str | None
    profile: str | None
    digest: str | None
    created_time: int | None
    last_update_time: int | None
    created_by: str | None
    last_updated_by: str | None


class Found(NamedTuple):
    """Some datasets, and their tags as (dataset_id, key, value)."""

    rows: Sequence[DatasetRow]
    tags: Sequence[Row]


_COLUMNS: Final = ", ".join(DatasetRow._fields)
BY_ID = Sql(
    f"SELECT {_COLUMNS} FROM evaluation_datasets WHERE workspace = {{workspace}} AND dataset_id {{in $1 text}}"
)
TAGS = Sql(
    "SELECT dataset_id, key, value FROM evaluation_dataset_tags WHERE dataset_id {in $1 text}"
    " ORDER BY dataset_id, {stored}"
)
WEIGHTS = Sql(
    "SELECT d.dataset_id, coalesce({bytes d.schema}, 0) + coalesce({bytes d.profile}, 0)"
    " + coalesce((SELECT sum({bytes x.key} + coalesce({bytes x.value}, 0)) FROM evaluation_dataset_tags x"
    " WHERE x.dataset_id = d.dataset_id), 0) FROM evaluation_datasets d"
    " WHERE d.workspace = {workspace} AND d.dataset_id {in $1 text}"
)


def check_served(schema: Schema) -> None:
    """Leave the request to stock MLflow if the database is older than MLflow 3.10."""
    if not schema.has("evaluation_datasets", "workspace"):
        raise NotNative


async def read(tx: Tx, ids: Sequence[str]) -> Found:
    """Return the datasets with these ids that exist, in this order."""
    by_id = {row[0]: DatasetRow(*row) for row in await tx.fetch(BY_ID, tx.array(ids))}
    tags = await tx.fetch(TAGS, tx.array(ids))
    return Found([by_id[id_] for id_ in ids if id_ in by_id], tags)


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each dataset."""
    return {id_: int(size) for id_, size in await tx.fetch(WEIGHTS, tx.array(ids))}
