"""SQL for the resources that grants and rules name: whether they exist in a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.contract.experiment_ids import MAX_ID
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.db.base import Tx

# (id) of the experiments that exist.
EXPERIMENTS: Final = Sql(
    "SELECT experiment_id FROM experiments WHERE {in workspace}experiment_id {in $1 int}"
)
MODELS: Final = Sql(
    "SELECT name FROM registered_models WHERE workspace = {workspace} AND name {in $1 text}"
)
MODELS_WITHOUT_WORKSPACES: Final = Sql("SELECT name FROM registered_models WHERE name {in $1 text}")
# Table and statement of each other type. Older heads lack some of the tables.
OTHERS: Final = {
    "gateway_secret": (
        "secrets",
        Sql("SELECT secret_id FROM secrets WHERE {in workspace}secret_id {in $1 text}"),
    ),
    "gateway_endpoint": (
        "endpoints",
        Sql("SELECT endpoint_id FROM endpoints WHERE {in workspace}endpoint_id {in $1 text}"),
    ),
    "gateway_model_definition": (
        "model_definitions",
        Sql(
            "SELECT model_definition_id FROM model_definitions"
            " WHERE {in workspace}model_definition_id {in $1 text}"
        ),
    ),
    "mcp_server": (
        "mcp_servers",
        Sql("SELECT name FROM mcp_servers WHERE workspace = {workspace} AND name {in $1 text}"),
    ),
}


async def present(tx: Tx, resource_type: str, ids: Collection[str]) -> frozenset[str]:
    """Return those ids that resources of a type that can be granted by id have.

    A scorer is present if its experiment is. The ids are those of grants (`grantable.canonical_id`).
    """
    if resource_type in ("experiment", "scorer"):
        return await _of_experiments(tx, ids)
    if resource_type == "registered_model":
        scoped = tx.schema.has("registered_models", "workspace")
        statement = MODELS if scoped else MODELS_WITHOUT_WORKSPACES
    else:
        table, statement = OTHERS[resource_type]
        if not tx.schema.has(table):
            return frozenset()
    rows = await tx.fetch(statement, tx.array(list(ids)))
    return frozenset(row[0] for row in rows)


async def _of_experiments(tx: Tx, ids: Collection[str]) -> frozenset[str]:
    numbers = {id_: _number(id_.partition("/")[0]) for id_ in ids}
    known = sorted({number for number in numbers.values() if number is not None})
    rows = await tx.fetch(EXPERIMENTS, tx.array(known))
    found = {row[0] for row in rows}
    return frozenset(id_ for id_, number in numbers.items() if number in found)


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit()
    return int(text) if is_number and int(text) <= MAX_ID else None
