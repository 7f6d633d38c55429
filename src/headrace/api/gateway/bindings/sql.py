"""SQL for bindings of gateway endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.db.sql import Sql, statement
from headrace.search.compile import Parameters

if TYPE_CHECKING:
    from headrace.api.gateway.bindings.types import ListBindings
    from headrace.db.base import Tx


class BindingRow(NamedTuple):
    """A row of `endpoint_bindings`, whose key is its first three columns."""

    endpoint_id: str
    resource_type: str
    resource_id: str
    created_at: int
    last_updated_at: int
    created_by: str | None
    last_updated_by: str | None
    display_name: str | None


KEY: Final = ("endpoint_id", "resource_type", "resource_id")
_COLUMNS: Final = ", ".join(BindingRow._fields)
INSERT = Sql(f"INSERT INTO endpoint_bindings ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
DELETE = Sql(
    "DELETE FROM endpoint_bindings WHERE {in workspace endpoint_id endpoints}"
    "endpoint_id = $1 AND resource_type = $2 AND resource_id = $3"
)


async def following(
    tx: Tx, only: ListBindings, after: BindingRow | None, limit: int
) -> list[BindingRow]:
    """Return the next bindings of a list, in the order of their keys."""
    parameters = Parameters(tx.dialect)
    where = [
        f"{column} = {parameters.add(value)}"
        for column, value in zip(
            KEY, (only.endpoint_id, only.resource_type, only.resource_id), strict=True
        )
        if value
    ]
    order = ", ".join(f"{column} {{bytewise}}" for column in KEY)
    if after is not None:
        place = ", ".join(map(parameters.add, after[:3]))
        where.append(f"({order}) > ({place})")
    text = (
        f"SELECT {_COLUMNS} FROM endpoint_bindings"
        f" WHERE {{in workspace endpoint_id endpoints}}{' AND '.join(where or ['1 = 1'])}"
        f" ORDER BY {order} LIMIT {parameters.add(limit)}"
    )
    return [BindingRow(*row) for row in await tx.fetch(statement(text), *parameters.values)]
