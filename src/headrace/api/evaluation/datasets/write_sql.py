"""SQL that writes evaluation datasets, their tags and their links to experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.db.sql import Bulk, Replace, Sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Row, Tx

INSERT = Sql(
    "INSERT INTO evaluation_datasets (dataset_id, name, digest, created_time, last_update_time,"
    " created_by, last_updated_by, workspace) VALUES ($1, $2, $3, $4, $4, $5, $5, {workspace})"
)
INSERT_TAG = Bulk("evaluation_dataset_tags", dataset_id="text", key="text", value="text")
UPSERT_TAG = Bulk(
    "evaluation_dataset_tags",
    dataset_id="text",
    key="text",
    value="text",
    on_conflict=Replace("dataset_id", "key"),
)
DELETE_TAG = Sql("DELETE FROM evaluation_dataset_tags WHERE dataset_id = $1 AND key = $2")
# (name, schema, profile); no other transaction writes the records or tags of the dataset meanwhile
LOCK = Sql(
    "SELECT name, schema, profile FROM evaluation_datasets"
    " WHERE workspace = {workspace} AND dataset_id = $1 {for update}"
)
LOCK_TO_DELETE = Sql(
    "SELECT 1 FROM evaluation_datasets WHERE workspace = {workspace} AND dataset_id = $1 {for delete}"
)
TOUCH = Sql(
    "UPDATE evaluation_datasets SET last_update_time = $2 WHERE workspace = {workspace} AND dataset_id = $1"
)
SET_PROFILE = Sql(
    "UPDATE evaluation_datasets SET profile = $2 WHERE workspace = {workspace} AND dataset_id = $1"
)
UPDATE = Sql(  # after an upsert; a null profile keeps the old one
    "UPDATE evaluation_datasets SET schema = $2, profile = coalesce($3, profile), digest = $4,"
    " last_update_time = $5, last_updated_by = $6 WHERE workspace = {workspace} AND dataset_id = $1"
)
_TYPES: Final = {"source_type": "'evaluation_dataset'", "destination_type": "'experiment'"}
INSERT_LINK = Bulk(
    "entity_associations",
    fixed=_TYPES,
    association_id="text",
    source_id="text",
    destination_id="text",
    created_time="bigint",
)
ADD_LINK = Bulk(
    "entity_associations",
    fixed=_TYPES,
    on_conflict="ignore",
    association_id="text",
    source_id="text",
    destination_id="text",
    created_time="bigint",
)
REMOVE_LINKS = Sql(
    "DELETE FROM entity_associations WHERE source_type = 'evaluation_dataset' AND source_id = $1"
    " AND destination_type = 'experiment' AND destination_id {in $2 text}"
)
REMOVE_ALL_LINKS = Sql(
    "DELETE FROM entity_associations WHERE (source_type = 'evaluation_dataset' AND source_id = $1)"
    " OR (destination_type = 'evaluation_dataset' AND destination_id = $1)"
)
LINKS = Sql(
    "SELECT destination_id FROM entity_associations WHERE source_type = 'evaluation_dataset'"
    " AND source_id = $1 AND destination_type = 'experiment' ORDER BY created_time, destination_id"
)
KNOWN_EXPERIMENTS = Sql(
    "SELECT experiment_id FROM experiments WHERE {in workspace}experiment_id {in $1 int}"
)
DELETE_TAGS = Sql("DELETE FROM evaluation_dataset_tags WHERE dataset_id = $1")
DELETE_RECORDS = Sql("DELETE FROM evaluation_dataset_records WHERE dataset_id = $1")
DELETE = Sql("DELETE FROM evaluation_datasets WHERE workspace = {workspace} AND dataset_id = $1")


async def lock(tx: Tx, dataset_id: str) -> Row | None:
    """Lock a dataset, and return its name, schema and profile."""
    return await tx.fetchrow(LOCK, dataset_id)


async def delete(tx: Tx, dataset_id: str) -> None:
    """Delete a dataset with everything in it, if it exists."""
    if await tx.fetchrow(LOCK_TO_DELETE, dataset_id) is None:
        return
    for statement in (REMOVE_ALL_LINKS, DELETE_TAGS, DELETE_RECORDS, DELETE):
        await tx.execute(statement, dataset_id)


async def unknown_experiment(tx: Tx, experiment_ids: Sequence[str]) -> str | None:
    """Return the first id that is not an experiment's, spelt as the database spells it."""
    numbers = [int(id_) for id_ in experiment_ids if id_.isascii() and id_.isdigit()]
    numbers = [number for number in numbers if number < 2**31]
    rows = await tx.fetch(KNOWN_EXPERIMENTS, tx.array(numbers)) if numbers else []
    known = {str(row[0]) for row in rows}
    return next((id_ for id_ in experiment_ids if id_ not in known), None)
