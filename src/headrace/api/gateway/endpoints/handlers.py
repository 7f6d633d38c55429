"""Handlers of gateway endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.api.context import Context
from headrace.api.gateway.endpoints import rules, sql, transactions, view
from headrace.api.gateway.endpoints.sql import EndpointKey
from headrace.api.gateway.endpoints.transactions import Making
from headrace.api.gateway.endpoints.types import (
    AttachModel,
    CreateEndpoint,
    DeleteEndpointTag,
    DetachModel,
    Endpoint,
    EndpointAnswer,
    EndpointId,
    Endpoints,
    GetEndpoint,
    ListEndpoints,
    MappingAnswer,
    SetEndpointTag,
    UpdateEndpoint,
)
from headrace.api.gateway.nouns import check_served
from headrace.api.pieces import FEW_ITEMS, all_in_pieces
from headrace.api.results import Chunks
from headrace.contract.errors import invalid
from headrace.contract.scalars import Empty
from headrace.db.base import Tx
from headrace.db.errors import UniqueViolation

TABLE = "endpoints"


def _making(ctx: Context, *, may_create: bool = True) -> Making:
    return Making(ctx.new_experiments, may_create)


async def _answer(ctx: Context, found: sql.Found) -> EndpointAnswer:
    (shown,) = await view.endpoints(ctx, found)
    return EndpointAnswer(endpoint=shown)


async def create(req: CreateEndpoint, ctx: Context) -> EndpointAnswer:
    """POST /3.0/mlflow/gateway/endpoints/create

    With usage tracking, the default, and without an experiment, the endpoint gets the experiment
    `gateway/<name>`, which is created unless it exists. Errors: INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST (a model definition), BAD_REQUEST (the name is taken; a model has the
    same use twice; the experiment does not exist).
    """
    check_served(ctx, TABLE)
    rules.check_name(req.name)
    rules.check_linkages(req.model_configs)
    if not req.model_configs:
        raise invalid("Endpoint must have at least one model configuration")
    weights = [rules.weight_of(config) for config in req.model_configs]
    found = await ctx.db.write(transactions.create, ctx.access, req, weights, _making(ctx))
    (row,) = found.rows
    await ctx.finish(transactions.undo_create, row.endpoint_id, row.created_at)
    return await _answer(ctx, found)


async def get(req: GetEndpoint, ctx: Context) -> EndpointAnswer:
    """GET /3.0/mlflow/gateway/endpoints/get. Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST."""
    check_served(ctx, TABLE)
    if bool(req.endpoint_id) is bool(req.name):
        raise invalid("Exactly one of endpoint_id or name must be provided")
    if req.endpoint_id:
        found = await ctx.db.read_point(transactions.whole, req.endpoint_id)
    else:
        found = await ctx.db.read_point(transactions.whole_by_name, req.name)
    return await _answer(ctx, found)


async def update(req: UpdateEndpoint, ctx: Context) -> EndpointAnswer:
    """POST /3.0/mlflow/gateway/endpoints/update

    Fields that are not set keep their values; `model_configs` replaces all models. An endpoint whose
    usage tracking is switched on gets an experiment as in `create`. Errors: as in `create`.
    """
    check_served(ctx, TABLE)
    rules.check_name(req.name)
    rules.check_linkages(req.model_configs)
    weights = [rules.weight_of(config) for config in req.model_configs]
    may_create = True
    if req.usage_tracking and not req.experiment_id:
        may_create = bool(await ctx.access.undenied("experiment", ["*"]))
    making = _making(ctx, may_create=may_create)
    found = await ctx.db.write(transactions.update, ctx.access, req, weights, making)
    await ctx.finish()
    return await _answer(ctx, found)


async def delete(req: EndpointId, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/gateway/endpoints/delete

    Deletes its tags, bindings, uses of models and of guardrails, and the grants on it too. Its
    experiment stays. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx, TABLE)
    await ctx.db.write(transactions.delete, ctx.access, req.endpoint_id)
    await ctx.finish()
    return Empty()


async def list_endpoints(req: ListEndpoints, ctx: Context) -> Endpoints | Chunks:
    """GET /3.0/mlflow/gateway/endpoints/list

    All endpoints that the caller may read, the oldest first; those without a model are left out.
    """
    check_served(ctx, TABLE)
    scope = ctx.access.scope("gateway_endpoint")

    async def following(tx: Tx, after: EndpointKey | None) -> list[EndpointKey]:
        return await sql.places(tx, req.provider, scope, after, FEW_ITEMS)

    async def items(places: Sequence[EndpointKey]) -> list[Endpoint]:
        ids = [place.endpoint_id for place in places]
        return await view.endpoints(ctx, await ctx.db.read(sql.read, ids))

    return Chunks(all_in_pieces(ctx.db, b"endpoints", following, _weigh, items))


async def _weigh(tx: Tx, places: Sequence[EndpointKey]) -> Mapping[EndpointKey, int]:
    found = await sql.weigh(tx, [place.endpoint_id for place in places])
    return {place: found.get(place.endpoint_id, 0) for place in places}


async def attach_model(req: AttachModel, ctx: Context) -> MappingAnswer:
    """POST /3.0/mlflow/gateway/endpoints/models/attach

    Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, RESOURCE_ALREADY_EXISTS (the endpoint
    has this use of the model).
    """
    check_served(ctx, TABLE)
    rules.check_linkage(req.model_config, "model_config")
    weight = rules.weight_of(req.model_config)
    try:
        model = await ctx.db.write(transactions.attach, req, weight)
    except UniqueViolation as error:
        if error.table != "endpoint_model_mappings":
            raise
        raise transactions.already_attached(req) from error
    return MappingAnswer(mapping=view.mapping(model, await view.visible(ctx, [model])))


async def detach_model(req: DetachModel, ctx: Context) -> Empty:
    """POST /3.0/mlflow/gateway/endpoints/models/detach

    Of several uses of the model, one is removed, as in stock. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx, TABLE)
    await ctx.db.write(transactions.detach, req.endpoint_id, req.model_definition_id)
    return Empty()


async def set_tag(req: SetEndpointTag, ctx: Context) -> Empty:
    """POST /3.0/mlflow/gateway/endpoints/set-tag. Errors: RESOURCE_DOES_NOT_EXIST."""
    check_served(ctx, TABLE)
    await ctx.db.write(transactions.set_tag, req.endpoint_id, req.key, req.value or "")
    return Empty()


async def delete_tag(req: DeleteEndpointTag, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/gateway/endpoints/delete-tag

    A tag that is not there is no error. Errors: RESOURCE_DOES_NOT_EXIST (the endpoint).
    """
    check_served(ctx, TABLE)
    await ctx.db.write(transactions.delete_tag, req.endpoint_id, req.key)
    return Empty()
