"""Handlers of bindings of gateway endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.api.context import Context
from headrace.api.gateway.bindings import sql
from headrace.api.gateway.bindings.sql import BindingRow
from headrace.api.gateway.bindings.types import (
    SCORER,
    Binding,
    BindingAnswer,
    Bindings,
    CreateBinding,
    DeleteBinding,
    ListBindings,
)
from headrace.api.gateway.endpoints import transactions as endpoints
from headrace.api.gateway.nouns import check_served
from headrace.api.pieces import FEW_ITEMS, all_in_pieces
from headrace.api.results import Chunks
from headrace.contract.clock import now_ms
from headrace.contract.errors import invalid, not_found
from headrace.contract.scalars import Empty
from headrace.db.base import Tx

TABLE = "endpoints"


def _show(row: BindingRow) -> Binding:
    return Binding(**row._asdict())


async def create(req: CreateBinding, ctx: Context) -> BindingAnswer:
    """POST /3.0/mlflow/gateway/endpoints/bindings/create

    The resource is not looked up. Errors: INVALID_PARAMETER_VALUE (a type other than scorer: an
    error page in stock), RESOURCE_DOES_NOT_EXIST (the endpoint), BAD_REQUEST (the binding exists).
    """
    check_served(ctx, TABLE)
    if req.resource_type != SCORER:
        raise invalid(f"Invalid resource_type '{req.resource_type}'. Must be one of: {SCORER}.")
    return BindingAnswer(binding=_show(await ctx.db.write(_create, req)))


async def _create(tx: Tx, req: CreateBinding) -> BindingRow:
    await endpoints.exists(tx, req.endpoint_id)
    now, user = now_ms(), req.created_by or None
    row = BindingRow(
        req.endpoint_id, req.resource_type, req.resource_id, now, now, user, user, None
    )
    await tx.execute(sql.INSERT, *row)
    return row


async def delete(req: DeleteBinding, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/gateway/endpoints/bindings/delete. Errors: RESOURCE_DOES_NOT_EXIST."""
    check_served(ctx, TABLE)
    await ctx.db.write(_delete, req)
    return Empty()


async def _delete(tx: Tx, req: DeleteBinding) -> None:
    if not await tx.execute(sql.DELETE, req.endpoint_id, req.resource_type, req.resource_id):
        raise not_found(
            f"GatewayEndpointBinding not found (endpoint_id='{req.endpoint_id}',"
            f" resource_type='{req.resource_type}', resource_id='{req.resource_id}')"
        )


async def list_bindings(req: ListBindings, ctx: Context) -> Bindings | Chunks:
    """GET /3.0/mlflow/gateway/endpoints/bindings/list. All bindings, by their keys."""
    check_served(ctx, TABLE)

    async def following(tx: Tx, after: BindingRow | None) -> list[BindingRow]:
        return await sql.following(tx, req, after, FEW_ITEMS)

    async def items(rows: Sequence[BindingRow]) -> list[Binding]:
        return [_show(row) for row in rows]

    return Chunks(all_in_pieces(ctx.db, b"bindings", following, _weigh, items))


async def _weigh(tx: Tx, rows: Sequence[BindingRow]) -> Mapping[BindingRow, int]:
    return {row: sum(len(value) for value in row if isinstance(value, str)) for row in rows}
