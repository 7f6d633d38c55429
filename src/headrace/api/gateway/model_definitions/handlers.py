"""Handlers of model definitions. Times are milliseconds since the epoch."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final

from headrace import search
from headrace.api.context import Context
from headrace.api.gateway.listing import GatewayList, listed
from headrace.api.gateway.model_definitions import sql, transactions
from headrace.api.gateway.model_definitions.sql import Definition, DefinitionRow
from headrace.api.gateway.model_definitions.types import (
    CreateModelDefinition,
    ListModelDefinitions,
    ModelDefinitionAnswer,
    ModelDefinitionId,
    ModelDefinitionList,
    UpdateModelDefinition,
)
from headrace.api.gateway.model_definitions.view import show, shown_secrets
from headrace.api.gateway.nouns import check_served
from headrace.api.results import Chunks
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode
from headrace.contract.scalars import Empty
from headrace.db.base import Row
from headrace.db.errors import UniqueViolation

TABLE: Final = "model_definitions"
LENGTHY: Final = ("name", "model_name")  # columns of any length on SQLite


async def _answer(found: Definition, ctx: Context) -> ModelDefinitionAnswer:
    secrets = await shown_secrets([found], ctx)
    return ModelDefinitionAnswer(model_definition=show(found, secrets))


async def _show_all(rows: Sequence[Row], ctx: Context) -> list[Any]:
    found = [sql.definition(row) for row in rows]
    secrets = await shown_secrets(found, ctx)
    return [show(one, secrets) for one in found]


DEFINITIONS: Final = GatewayList(b"model_definitions", sql.read, _show_all)


def _taken(name: str | None, error: UniqueViolation) -> Exception:
    """The error for a name that another model definition has."""
    if error.table != TABLE:
        return error
    text = f"Model definition with name '{name}' already exists"
    return ApiError(ErrorCode.RESOURCE_ALREADY_EXISTS, text)


async def create(req: CreateModelDefinition, ctx: Context) -> ModelDefinitionAnswer:
    """POST /3.0/mlflow/gateway/model-definitions/create

    The caller manages the model definition. Errors: RESOURCE_DOES_NOT_EXIST (the secret),
    RESOURCE_ALREADY_EXISTS (the name).
    """
    check_served(ctx, TABLE)
    now = now_ms()
    row = DefinitionRow(
        model_definition_id=f"d-{uuid.uuid4().hex}",
        name=req.name,
        secret_id=req.secret_id,
        provider=req.provider,
        model_name=req.model_name,
        created_by=req.created_by or None,
        created_at=now,
        last_updated_by=req.created_by or None,
        last_updated_at=now,
    )
    try:
        found = await ctx.db.write(transactions.create, ctx.access, row)
    except UniqueViolation as error:
        raise _taken(req.name, error) from error
    await ctx.finish(transactions.undo_create, row.model_definition_id)
    return ModelDefinitionAnswer(model_definition=show(found, (req.secret_id,)))


async def get(req: ModelDefinitionId, ctx: Context) -> ModelDefinitionAnswer:
    """GET /3.0/mlflow/gateway/model-definitions/get. Errors: RESOURCE_DOES_NOT_EXIST."""
    check_served(ctx, TABLE)
    found = await ctx.db.read_point(transactions.get, req.model_definition_id)
    return await _answer(found, ctx)


async def list_definitions(req: ListModelDefinitions, ctx: Context) -> ModelDefinitionList | Chunks:
    """GET /3.0/mlflow/gateway/model-definitions/list

    Those that the caller may read, the oldest first. A secret that a grant denies is not shown.
    """
    check_served(ctx, TABLE)
    rows = search.gateway_rows(
        TABLE,
        "model_definition_id",
        LENGTHY,
        equal={"provider": req.provider, "secret_id": req.secret_id},
        readable=ctx.access.scope("gateway_model_definition"),
        dialect=ctx.db.dialect,
    )
    found = await listed(ctx, DEFINITIONS, rows)
    return found if isinstance(found, Chunks) else ModelDefinitionList(model_definitions=found)


async def update(req: UpdateModelDefinition, ctx: Context) -> ModelDefinitionAnswer:
    """POST /3.0/mlflow/gateway/model-definitions/update

    Errors: RESOURCE_DOES_NOT_EXIST (the model definition or the secret), RESOURCE_ALREADY_EXISTS
    (the name).
    """
    check_served(ctx, TABLE)
    changes = (
        req.name or None,
        req.model_name or None,
        req.provider or None,
        req.updated_by or None,
    )
    try:
        found = await ctx.db.write(
            transactions.update, req.model_definition_id, req.secret_id or None, changes
        )
    except UniqueViolation as error:
        raise _taken(req.name, error) from error
    return await _answer(found, ctx)


async def delete(req: ModelDefinitionId, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/gateway/model-definitions/delete

    Errors: RESOURCE_DOES_NOT_EXIST, INVALID_STATE (an endpoint uses it).
    """
    check_served(ctx, TABLE)
    await ctx.db.write(transactions.delete, ctx.access, req.model_definition_id)
    await ctx.finish()
    return Empty()
