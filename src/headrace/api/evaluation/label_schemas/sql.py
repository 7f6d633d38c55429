"""SQL for label schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.results import NotNative
from headrace.db.sql import Sql
from headrace.search import Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.db.base import Row, Schema, Tx


class SchemaRow(NamedTuple):
    """A row of `label_schemas`. Times are milliseconds since the epoch; `input_config` is JSON."""

    schema_id: str
    experiment_id: int
    name: str
    type: str  # feedback or expectation
    instruction: str | None
    enable_comment: bool
    input_type: str  # pass_fail, categorical, numeric or text
    input_config: str
    created_by: str | None
    created_time: int
    last_update_time: int
    is_default: bool


_COLUMNS: Final = ", ".join(SchemaRow._fields)
_NUMBERED: Final = ", ".join(f"${n}" for n in range(1, len(SchemaRow._fields) + 1))
BY_ID = Sql(f"SELECT {_COLUMNS} FROM label_schemas WHERE schema_id = $1")
BY_IDS = Sql(f"SELECT {_COLUMNS} FROM label_schemas WHERE schema_id {{in $1 text}}")
LOCKED = Sql(f"SELECT {_COLUMNS} FROM label_schemas WHERE schema_id = $1 {{for delete}}")
BY_NAME = Sql(f"SELECT {_COLUMNS} FROM label_schemas WHERE experiment_id = $1 AND name = $2")
INSERT = Sql(f"INSERT INTO label_schemas ({_COLUMNS}) VALUES ({_NUMBERED})")
# The first list of an experiment's schemas creates its default schema.
INSERT_DEFAULT = Sql(
    f"INSERT INTO label_schemas ({_COLUMNS}) VALUES ({_NUMBERED}) ON CONFLICT DO NOTHING"
)
HAS_DEFAULT = Sql("SELECT 1 FROM label_schemas WHERE experiment_id = $1 AND is_default LIMIT 1")
UPDATE = Sql(
    "UPDATE label_schemas SET name = $2, instruction = $3, enable_comment = $4, input_config = $5,"
    " last_update_time = $6 WHERE schema_id = $1"
)
DELETE = Sql("DELETE FROM label_schemas WHERE schema_id = $1")
STAGE = Sql("SELECT lifecycle_stage FROM experiments WHERE {in workspace}experiment_id = $1")
_PAGE: Final = (
    "SELECT {} FROM label_schemas WHERE experiment_id = $1 ORDER BY created_time DESC, schema_id"
    " LIMIT $2 OFFSET $3"
)
_BYTES: Final = "{bytes name} + coalesce({bytes instruction}, 0) + {bytes input_config}"
WEIGHTS = Sql(f"SELECT schema_id, {_BYTES} FROM label_schemas WHERE schema_id {{in $1 text}}")


PAGE = Sql(_PAGE.format(_COLUMNS))


def page(experiment_id: int, max_results: int, offset: int, *, keys: bool = False) -> Page:
    """A page of an experiment's schemas, or of their ids."""
    text = _PAGE.format("schema_id" if keys else _COLUMNS)
    return Page(text, (experiment_id, max_results + 1, offset), offset, max_results)


def check_served(schema: Schema) -> None:
    """Leave the request to stock MLflow if the database is older than MLflow 3.17."""
    if not schema.has("label_schemas", "is_default"):
        raise NotNative


async def by_id(tx: Tx, schema_id: str) -> SchemaRow | None:
    """Return a schema."""
    row = await tx.fetchrow(BY_ID, schema_id)
    return None if row is None else SchemaRow(*row)


async def is_active(tx: Tx, experiment_id: int) -> bool:
    """Whether the experiment exists and is not deleted."""
    row = await tx.fetchrow(STAGE, experiment_id)
    return row is not None and row[0] == "active"


async def read(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Return the schemas with these ids that exist, in this order."""
    rows = {row[0]: row for row in await tx.fetch(BY_IDS, tx.array(ids))}
    return [rows[id_] for id_ in ids if id_ in rows]


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each schema."""
    return {id_: int(size) for id_, size in await tx.fetch(WEIGHTS, tx.array(ids))}
