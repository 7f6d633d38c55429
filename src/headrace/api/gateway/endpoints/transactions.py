"""Transactions on gateway endpoints."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.gateway.endpoints import rules, sql
from headrace.api.gateway.endpoints.sql import EndpointRow
from headrace.api.gateway.endpoints.types import Linkage
from headrace.api.gateway.endpoints.view import stored_fallback
from headrace.api.gateway.nouns import unknown
from headrace.auth.authority import Denied
from headrace.contract.clock import now_ms
from headrace.contract.errors import (
    ApiError,
    ErrorCode,
    not_found,
    overloaded,
)
from headrace.contract.experiment_ids import parse_id
from headrace.contract.limits import MAX_EXPERIMENT_NAME
from headrace.contract.names import check_length
from headrace.db.workspaces_sql import Root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.api.gateway.endpoints.types import (
        AttachModel,
        CreateEndpoint,
        ModelConfig,
        UpdateEndpoint,
    )
    from headrace.auth.access import Access
    from headrace.db.base import Tx

KIND: Final = "GatewayEndpoint"


class Making(NamedTuple):
    """How to make the experiment of an endpoint's traces."""

    root: Root  # of the artifacts of experiments
    may_create: bool = True  # no grant denies experiments to the caller


def not_known(endpoint_id: str) -> ApiError:
    """No endpoint has this id."""
    return unknown(KIND, "endpoint_id", endpoint_id)


async def exists(tx: Tx, endpoint_id: str, kind: str = KIND) -> None:
    """Keep an endpoint until the transaction ends.

    Raises RESOURCE_DOES_NOT_EXIST, with the name `kind` that MLflow's message has.
    """
    if await tx.fetchrow(sql.SHARED, endpoint_id) is None:
        raise unknown(kind, "endpoint_id", endpoint_id)


async def whole(tx: Tx, endpoint_id: str) -> sql.Found:
    """An endpoint with its models and tags. Raises RESOURCE_DOES_NOT_EXIST."""
    found = await sql.read(tx, [endpoint_id])
    if not found.rows:
        raise not_known(endpoint_id)
    return found


async def whole_by_name(tx: Tx, name: str) -> sql.Found:
    """As `whole`, by name."""
    row = await tx.fetchrow(sql.ID_OF, name)
    if row is None:
        raise unknown(KIND, "name", name)
    return await whole(tx, row[0])


async def create(
    tx: Tx, access: Access, req: CreateEndpoint, weights: Sequence[float], making: Making
) -> sql.Found:
    """Insert an endpoint that the caller manages.

    Raises RESOURCE_DOES_NOT_EXIST for a model definition, ForeignKeyViolation for the experiment.
    """
    unknown_ids = await _unknown_definitions(tx, req.model_configs)
    if unknown_ids:
        raise not_found(f"Model definitions not found: {', '.join(unknown_ids)}")
    endpoint_id, now = f"e-{uuid.uuid4().hex}", now_ms()
    experiment_id = None
    if req.experiment_id is not None:
        experiment_id = parse_id(req.experiment_id)
    elif req.usage_tracking is not False:
        experiment_id = await _own_experiment(tx, access, req.name, endpoint_id, making)
    fallbacks = rules.fallback_ids(req.model_configs)
    fallback = None
    if req.fallback_config is not None or fallbacks:
        fallback = json.dumps(rules.fallback_of(req.fallback_config, fallbacks))
    row = EndpointRow(
        endpoint_id=endpoint_id,
        name=req.name,
        created_by=req.created_by or None,
        created_at=now,
        last_updated_by=req.created_by or None,
        last_updated_at=now,
        routing_strategy=rules.strategy_of(req.routing_strategy),
        fallback_config_json=fallback,
        experiment_id=experiment_id,
        usage_tracking=req.usage_tracking is not False,
    )
    await tx.execute(sql.INSERT, *row)
    await _attach(tx, endpoint_id, req.model_configs, weights, now, row.created_by)
    await access.created(tx, "gateway_endpoint", endpoint_id)
    return await whole(tx, endpoint_id)


async def undo_create(tx: Tx, endpoint_id: str, created_ms: int) -> bool:
    """Delete an endpoint that has just been created. False if it has been changed since."""
    row = await sql.by_id(tx, endpoint_id, sql.LOCKED)
    if row is None or row.last_updated_at != created_ms:
        return False
    await _delete(tx, endpoint_id)
    return True


async def _unknown_definitions(tx: Tx, configs: Sequence[ModelConfig]) -> list[str]:
    """The ids of definitions that do not exist; the others stay until the transaction ends."""
    wanted = dict.fromkeys(config.model_definition_id or "" for config in configs)
    rows = await tx.fetch(sql.KNOWN_DEFINITIONS, tx.array(sorted(wanted)))
    return list(wanted.keys() - {row[0] for row in rows})


async def _own_experiment(
    tx: Tx, access: Access, name: str, endpoint_id: str, making: Making
) -> int:
    """The experiment for the traces of an endpoint, by its name; it is made if there is none.

    Raises `Denied` if the caller may have no experiment.
    """
    if not making.may_create:
        raise Denied
    name = f"gateway/{name}"
    check_length("name", MAX_EXPERIMENT_NAME, name)
    row = await tx.fetchrow(sql.INSERT_EXPERIMENT, name, now_ms())
    if row is None:
        row = await tx.fetchrow(sql.EXPERIMENT_NAMED, name)
        if row is None:  # renamed or deleted permanently between the two statements
            raise overloaded("The experiment of the endpoint is being changed. Please try again.")
        return int(row[0])
    number = int(row[0])
    await tx.execute(sql.SET_LOCATION, number, await making.root.location(tx, number))
    tags = {
        "mlflow.experiment.sourceType": "GATEWAY",
        "mlflow.experiment.sourceId": endpoint_id,
        "mlflow.experiment.isGateway": "true",
    }
    await tx.executemany(
        sql.INSERT_EXPERIMENT_TAG, [(number, key, value) for key, value in tags.items()]
    )
    await access.new_experiment(tx, str(number))
    return number


async def _attach(
    tx: Tx,
    endpoint_id: str,
    configs: Sequence[ModelConfig],
    weights: Sequence[float],
    now: int,
    user: str | None,
) -> list[str]:
    """Insert the models of an endpoint and return the ids of the mappings."""
    rows = [
        (
            f"m-{uuid.uuid4().hex}",
            endpoint_id,
            config.model_definition_id or "",
            weight,
            user,
            now,
            (config.linkage_type or Linkage.PRIMARY).value,
            config.fallback_order,
        )
        for config, weight in zip(configs, weights, strict=True)
    ]
    await tx.executemany(sql.INSERT_MAPPING, rows)
    return [row[0] for row in rows]


async def update(
    tx: Tx, access: Access, req: UpdateEndpoint, weights: Sequence[float], making: Making
) -> sql.Found:
    """Change the fields of an endpoint that are set. Raises RESOURCE_DOES_NOT_EXIST, `Denied`."""
    row = await sql.by_id(tx, req.endpoint_id, sql.LOCKED)
    if row is None:
        raise not_known(req.endpoint_id)
    now, name = now_ms(), req.name or row.name
    experiment_id = row.experiment_id
    if req.experiment_id is not None:
        experiment_id = parse_id(req.experiment_id)
    elif req.usage_tracking and experiment_id is None:
        experiment_id = await _own_experiment(tx, access, name or "", row.endpoint_id, making)
    fallback = row.fallback_config_json
    if req.model_configs:
        for unknown_id in await _unknown_definitions(tx, req.model_configs):
            raise unknown("GatewayModelDefinition", "model_definition_id", unknown_id)
        await tx.execute(sql.DETACH_ALL, row.endpoint_id)
        user = req.updated_by or None
        await _attach(tx, row.endpoint_id, req.model_configs, weights, now, user)
        ids = rules.fallback_ids(req.model_configs)
        fallback = json.dumps(rules.fallback_of(req.fallback_config, ids))
    elif req.fallback_config is not None:
        ids = (stored_fallback(fallback) or {}).get("model_definition_ids", [])
        fallback = json.dumps(rules.fallback_of(req.fallback_config, ids))
    await tx.execute(
        sql.UPDATE,
        row.endpoint_id,
        name,
        req.updated_by or row.last_updated_by,
        now,
        rules.strategy_of(req.routing_strategy) or row.routing_strategy,
        fallback,
        experiment_id,
        row.usage_tracking if req.usage_tracking is None else req.usage_tracking,
    )
    return await whole(tx, row.endpoint_id)


async def delete(tx: Tx, access: Access, endpoint_id: str) -> None:
    """Delete an endpoint, what refers to it, and the users' grants on it.

    Raises RESOURCE_DOES_NOT_EXIST.
    """
    if await tx.fetchrow(sql.LOCKED_TO_DELETE, endpoint_id) is None:
        raise not_known(endpoint_id)
    await _delete(tx, endpoint_id)
    await access.deleted(tx, "gateway_endpoint", endpoint_id)


async def _delete(tx: Tx, endpoint_id: str) -> None:
    for table, statement in sql.FORGET.items():
        if tx.schema.has(table):
            await tx.execute(statement, endpoint_id)
    await tx.execute(sql.DELETE, endpoint_id)


async def attach(tx: Tx, req: AttachModel, weight: float) -> sql.Attached:
    """Add a model to an endpoint. Raises RESOURCE_DOES_NOT_EXIST, and UniqueViolation for the same use."""
    if await sql.by_id(tx, req.endpoint_id, sql.LOCKED) is None:
        raise not_known(req.endpoint_id)
    for unknown_id in await _unknown_definitions(tx, [req.model_config]):
        raise unknown("GatewayModelDefinition", "model_definition_id", unknown_id)
    now, user = now_ms(), req.created_by or None
    (made,) = await _attach(tx, req.endpoint_id, [req.model_config], [weight], now, user)
    await tx.execute(sql.TOUCH, req.endpoint_id, now, user)
    found = await whole(tx, req.endpoint_id)
    return next(model for model in found.models if model.row.mapping_id == made)


async def detach(tx: Tx, endpoint_id: str, definition_id: str) -> None:
    """Remove one use of a model from an endpoint. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await tx.fetchrow(sql.FIRST_LINKAGE, endpoint_id, definition_id)
    if row is not None:
        await tx.execute(sql.DETACH, row[0])
        return
    if await sql.by_id(tx, endpoint_id) is None:
        raise not_known(endpoint_id)
    raise not_found(
        f"Model definition '{definition_id}' is not attached to endpoint '{endpoint_id}'"
    )


def already_attached(req: AttachModel) -> ApiError:
    """The endpoint has this use of the model."""
    return ApiError(
        ErrorCode.RESOURCE_ALREADY_EXISTS,
        f"Model definition '{req.model_config.model_definition_id or ''}' is already attached to "
        f"endpoint '{req.endpoint_id}'",
    )


async def set_tag(tx: Tx, endpoint_id: str, key: str, value: str) -> None:
    """Set a tag of an endpoint. Raises RESOURCE_DOES_NOT_EXIST."""
    await exists(tx, endpoint_id)
    await tx.execute(sql.SET_TAG, endpoint_id, key, value)


async def delete_tag(tx: Tx, endpoint_id: str, key: str) -> None:
    """Remove a tag of an endpoint if it is there. Raises RESOURCE_DOES_NOT_EXIST."""
    await exists(tx, endpoint_id)
    await tx.execute(sql.DELETE_TAG, endpoint_id, key)
