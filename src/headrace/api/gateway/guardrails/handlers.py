"""Handlers of guardrails. MLflow's gateway, across the bridge, runs them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from typing import Final

from headrace import search
from headrace.api.context import Context
from headrace.api.gateway.guardrails import sql, transactions, view
from headrace.api.gateway.guardrails.sql import ConfigKey, ConfigRow, GuardrailRow
from headrace.api.gateway.guardrails.types import (
    AddGuardrail,
    Config,
    ConfigAnswer,
    Configs,
    CreateGuardrail,
    GuardrailAction,
    GuardrailAnswer,
    GuardrailId,
    GuardrailPage,
    GuardrailStage,
    ListConfigs,
    ListGuardrails,
    RemoveGuardrail,
    UpdateConfig,
)
from headrace.api.gateway.nouns import check_served, page_size
from headrace.api.pieces import FEW_ITEMS, Listing, all_in_pieces, long_page
from headrace.api.results import Chunks
from headrace.contract.errors import invalid
from headrace.contract.scalars import INT32_MAX, INT32_MIN, Empty
from headrace.db.base import Tx
from headrace.db.errors import UniqueViolation

TABLE: Final = "guardrails"
GUARDRAILS: Final[Listing[str]] = Listing(b"guardrails", sql.weigh, sql.read, view.guardrails)


def _user() -> str:
    """The user of this process, who creates all guardrails, as in stock."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())


def _check_order(order: int | None) -> None:
    if order is not None and not INT32_MIN <= order <= INT32_MAX:
        raise invalid(f"execution_order must be an integer of 32 bits, got {order}")


async def create(req: CreateGuardrail, ctx: Context) -> GuardrailAnswer:
    """POST /3.0/mlflow/gateway/guardrails/create

    Errors: INVALID_PARAMETER_VALUE (no stage or action: an error page in stock; a scorer with source
    code), RESOURCE_DOES_NOT_EXIST (the scorer), BAD_REQUEST (the endpoint does not exist).
    """
    check_served(ctx, TABLE)
    if req.stage is GuardrailStage.GUARDRAIL_STAGE_UNSPECIFIED:
        raise invalid("Invalid stage: 0")
    if req.action is GuardrailAction.GUARDRAIL_ACTION_UNSPECIFIED:
        raise invalid("Invalid action: 0")
    row = await ctx.db.write(transactions.create, req, _user())
    return GuardrailAnswer(guardrail=view.guardrail(row))


async def get(req: GuardrailId, ctx: Context) -> GuardrailAnswer:
    """GET /3.0/mlflow/gateway/guardrails/get. Errors: RESOURCE_DOES_NOT_EXIST."""
    check_served(ctx, TABLE)
    row = await ctx.db.read_point(transactions.get, req.guardrail_id)
    return GuardrailAnswer(guardrail=view.guardrail(row))


async def delete(req: GuardrailId, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/gateway/guardrails/delete

    Endpoints no longer use it. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx, TABLE)
    await ctx.db.write(transactions.delete, req.guardrail_id)
    return Empty()


async def list_guardrails(req: ListGuardrails, ctx: Context) -> GuardrailPage | Chunks:
    """GET /3.0/mlflow/gateway/guardrails/list. Errors: INVALID_PARAMETER_VALUE."""
    check_served(ctx, TABLE)
    limit, offset = page_size(req.max_results), search.offset_of(req.page_token)
    return await long_page(ctx.db, GUARDRAILS, sql.page(limit, offset))


async def _config(ctx: Context, found: tuple[ConfigRow, GuardrailRow]) -> ConfigAnswer:
    (shown,) = await view.configs(ctx.access, [found])
    return ConfigAnswer(config=shown)


async def add_to_endpoint(req: AddGuardrail, ctx: Context) -> ConfigAnswer:
    """POST /3.0/mlflow/gateway/guardrails/add-to-endpoint

    Errors: RESOURCE_DOES_NOT_EXIST, RESOURCE_ALREADY_EXISTS (the endpoint uses the guardrail),
    INVALID_PARAMETER_VALUE.
    """
    check_served(ctx, TABLE)
    _check_order(req.execution_order)
    try:
        found = await ctx.db.write(transactions.add, req, _user())
    except UniqueViolation as error:
        if error.table != "guardrail_configs":
            raise
        raise transactions.already_added(req) from error
    return await _config(ctx, found)


async def update_config(req: UpdateConfig, ctx: Context) -> ConfigAnswer:
    """PATCH /3.0/mlflow/gateway/guardrails/update-config

    Errors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE.
    """
    check_served(ctx, TABLE)
    _check_order(req.execution_order)
    key = (req.endpoint_id, req.guardrail_id)
    return await _config(ctx, await ctx.db.write(transactions.set_order, *key, req.execution_order))


async def remove_from_endpoint(req: RemoveGuardrail, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/gateway/guardrails/remove-from-endpoint. Errors: RESOURCE_DOES_NOT_EXIST."""
    check_served(ctx, TABLE)
    await ctx.db.write(transactions.remove, req.endpoint_id, req.guardrail_id)
    return Empty()


async def list_for_endpoint(req: ListConfigs, ctx: Context) -> Configs | Chunks:
    """GET /3.0/mlflow/gateway/guardrails/list-for-endpoint

    All guardrails of the endpoint, in the order in which they run. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx, TABLE)
    await ctx.db.read_point(transactions.check_endpoint, req.endpoint_id)

    async def following(tx: Tx, after: ConfigKey | None) -> list[ConfigKey]:
        return await sql.places(tx, req.endpoint_id, after, FEW_ITEMS)

    async def items(places: Sequence[ConfigKey]) -> list[Config]:
        ids = [place.guardrail_id for place in places]
        return await view.configs(ctx.access, await ctx.db.read(sql.configs, req.endpoint_id, ids))

    return Chunks(all_in_pieces(ctx.db, b"configs", following, _weigh, items))


async def _weigh(tx: Tx, places: Sequence[ConfigKey]) -> Mapping[ConfigKey, int]:
    found = await sql.weigh(tx, [place.guardrail_id for place in places])
    return {place: found.get(place.guardrail_id, 0) for place in places}
