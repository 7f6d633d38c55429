"""SQL for the resources that grants name."""

from __future__ import annotations

from typing import Final

from headrace.api.accounts.fields import MAX_ID
from headrace.db.base import Tx
from headrace.db.sql import Sql

EXPERIMENT: Final = Sql("SELECT 1 FROM experiments WHERE experiment_id = $1")
MODEL: Final = Sql("SELECT 1 FROM registered_models WHERE workspace = {workspace} AND name = $1")
MODEL_WITHOUT_WORKSPACES: Final = Sql("SELECT 1 FROM registered_models WHERE name = $1")
# Table and statement of each other type. Older heads lack some of the tables.
OTHERS: Final = {
    "gateway_secret": ("secrets", Sql("SELECT 1 FROM secrets WHERE secret_id = $1")),
    "gateway_endpoint": ("endpoints", Sql("SELECT 1 FROM endpoints WHERE endpoint_id = $1")),
    "gateway_model_definition": (
        "model_definitions",
        Sql("SELECT 1 FROM model_definitions WHERE model_definition_id = $1"),
    ),
    "mcp_server": (
        "mcp_servers",
        Sql("SELECT 1 FROM mcp_servers WHERE workspace = {workspace} AND name = $1"),
    ),
}


async def exists(tx: Tx, resource_type: str, id_: str) -> bool:
    """Whether a resource of a type that can be granted by id exists, of a scorer its experiment."""
    if resource_type in ("experiment", "scorer"):
        number = id_.partition("/")[0]
        is_number = number.isascii() and number.isdigit() and int(number) <= MAX_ID
        return is_number and await tx.fetchrow(EXPERIMENT, int(number)) is not None
    if resource_type == "registered_model":
        scoped = tx.schema.has("registered_models", "workspace")
        return await tx.fetchrow(MODEL if scoped else MODEL_WITHOUT_WORKSPACES, id_) is not None
    table, statement = OTHERS[resource_type]
    return tx.schema.has(table) and await tx.fetchrow(statement, id_) is not None
