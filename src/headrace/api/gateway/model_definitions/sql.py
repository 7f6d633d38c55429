"""SQL for model definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Row, Tx


class DefinitionRow(NamedTuple):
    """A row of `model_definitions`. Times are milliseconds since the epoch."""

    model_definition_id: str
    name: str
    secret_id: str | None
    provider: str
    model_name: str
    created_by: str | None
    created_at: int
    last_updated_by: str | None
    last_updated_at: int


class Definition(NamedTuple):
    """A model definition, and the name of its secret."""

    row: DefinitionRow
    secret_name: str | None


_COLUMNS: Final = ", ".join(DefinitionRow._fields)
_NUMBERED: Final = ", ".join(f"${n}" for n in range(1, len(DefinitionRow._fields) + 1))
_SELECT: Final = (
    f"SELECT {', '.join(f'd.{name}' for name in DefinitionRow._fields)}, s.secret_name"
    " FROM model_definitions d LEFT JOIN secrets s ON s.secret_id = d.secret_id"
    " WHERE d.workspace = {workspace}"
)
BY_ID = Sql(f"{_SELECT} AND d.model_definition_id = $1")
BY_IDS = Sql(f"{_SELECT} AND d.model_definition_id {{in $1 text}}")
INSERT = Sql(
    f"INSERT INTO model_definitions ({_COLUMNS}, workspace) VALUES ({_NUMBERED}, {{workspace}})"
)
UPDATE = Sql(  # null keeps the value of a column
    "UPDATE model_definitions SET name = coalesce($2, name), secret_id = coalesce($3, secret_id),"
    " model_name = coalesce($4, model_name), provider = coalesce($5, provider),"
    " last_updated_by = coalesce($6, last_updated_by), last_updated_at = $7"
    " WHERE workspace = {workspace} AND model_definition_id = $1"
)
LOCK = Sql(
    "SELECT 1 FROM model_definitions WHERE workspace = {workspace} AND model_definition_id = $1"
    " {for delete}"
)
IS_USED = Sql("SELECT 1 FROM endpoint_model_mappings WHERE model_definition_id = $1 LIMIT 1")
DELETE = Sql(
    "DELETE FROM model_definitions WHERE workspace = {workspace} AND model_definition_id = $1"
)


def definition(row: Row) -> Definition:
    """A model definition from a row of `read`."""
    return Definition(DefinitionRow(*row[:-1]), row[-1])


async def by_id(tx: Tx, model_definition_id: str) -> Definition | None:
    """Return a model definition."""
    row = await tx.fetchrow(BY_ID, model_definition_id)
    return None if row is None else definition(row)


async def read(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Return the model definitions with these ids that exist, in this order."""
    rows = {row[0]: row for row in await tx.fetch(BY_IDS, tx.array(ids))}
    return [rows[id_] for id_ in ids if id_ in rows]
