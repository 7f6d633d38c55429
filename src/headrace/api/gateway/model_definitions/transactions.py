"""Transactions on model definitions."""

from __future__ import annotations

from typing import Final

from headrace.api.gateway.model_definitions import sql
from headrace.api.gateway.model_definitions.sql import Definition, DefinitionRow
from headrace.api.gateway.nouns import unknown
from headrace.api.gateway.secrets import sql as secrets_sql
from headrace.api.gateway.secrets.transactions import secret_not_found
from headrace.auth.access import Access
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode
from headrace.db.base import Tx

KIND: Final = "GatewayModelDefinition"
IN_USE: Final = (
    "Cannot delete model definition that is currently in use by endpoints. "
    "Detach it from all endpoints first."
)


def definition_not_found(model_definition_id: str) -> ApiError:
    """No model definition has this id."""
    return unknown(KIND, "model_definition_id", model_definition_id)


async def _secret_name(tx: Tx, secret_id: str) -> str:
    row = await tx.fetchrow(secrets_sql.EXISTING, secret_id)
    if row is None:
        raise secret_not_found(secret_id)
    name: str = row[0]
    return name


async def create(tx: Tx, access: Access, row: DefinitionRow) -> Definition:
    """Insert a model definition that the caller manages. Raises RESOURCE_DOES_NOT_EXIST (the secret)."""
    assert row.secret_id is not None, "a new one has a secret"
    secret_name = await _secret_name(tx, row.secret_id)
    await tx.execute(sql.INSERT, *row)
    await access.created(tx, "gateway_model_definition", row.model_definition_id)
    return Definition(row, secret_name)


async def undo_create(tx: Tx, model_definition_id: str) -> bool:
    """Delete a model definition that has just been created. False if an endpoint uses it already."""
    await tx.fetchrow(sql.LOCK, model_definition_id)
    if await tx.fetchrow(sql.IS_USED, model_definition_id) is not None:
        return False
    await tx.execute(sql.DELETE, model_definition_id)
    return True


async def get(tx: Tx, model_definition_id: str) -> Definition:
    """Return a model definition. Raises RESOURCE_DOES_NOT_EXIST."""
    found = await sql.by_id(tx, model_definition_id)
    if found is None:
        raise definition_not_found(model_definition_id)
    return found


async def update(
    tx: Tx, model_definition_id: str, secret_id: str | None, changes: tuple[str | None, ...]
) -> Definition:
    """Change name, model, provider and updater, each unless None. Raises RESOURCE_DOES_NOT_EXIST."""
    name, *others = changes
    await get(tx, model_definition_id)
    if secret_id is not None:
        await _secret_name(tx, secret_id)
    await tx.execute(sql.UPDATE, model_definition_id, name, secret_id, *others, now_ms())
    return await get(tx, model_definition_id)


async def delete(tx: Tx, access: Access, model_definition_id: str) -> None:
    """Delete a model definition. Raises RESOURCE_DOES_NOT_EXIST, INVALID_STATE (an endpoint uses it)."""
    if await tx.fetchrow(sql.LOCK, model_definition_id) is None:
        raise definition_not_found(model_definition_id)
    if await tx.fetchrow(sql.IS_USED, model_definition_id) is not None:
        raise ApiError(ErrorCode.INVALID_STATE, IN_USE)
    await tx.execute(sql.DELETE, model_definition_id)
    await access.deleted(tx, "gateway_model_definition", model_definition_id)
