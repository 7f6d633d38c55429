"""Gateway endpoints as answers show them. No I/O but the look-up of grants."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.api.gateway.endpoints.types import Endpoint, EndpointTag, Fallback, Mapping
from headrace.api.gateway.model_definitions.view import show, shown_secrets
from headrace.contract.doubles import double

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from headrace.api.context import Context
    from headrace.api.gateway.endpoints.sql import Attached, EndpointRow, Found


class Shown(NamedTuple):
    """The ids of definitions and secrets that the caller may see; answers omit the others."""

    definitions: Collection[str]
    secrets: Collection[str]


async def visible(ctx: Context, models: Sequence[Attached]) -> Shown:
    """The parts of these models of endpoints that the caller may see."""
    ids = [model.row.model_definition_id for model in models]
    return Shown(
        await ctx.access.undenied("gateway_model_definition", ids),
        await shown_secrets((model.definition for model in models), ctx),
    )


def single(value: float) -> float:
    """The nearest 32-bit float. Raises OverflowError if there is none."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def shortest(value: float) -> float:
    """The number with the fewest digits that is the same 32-bit float."""
    exact = single(value)
    for digits in range(6, 9):
        short = float(f"{exact:.{digits}g}")
        if single(short) == exact:
            return short
    return float(f"{exact:.9g}")


def mapping(model: Attached, shown: Shown) -> Mapping:
    """A model of an endpoint."""
    row = model.row
    is_shown = row.model_definition_id in shown.definitions
    return Mapping(
        mapping_id=row.mapping_id,
        endpoint_id=row.endpoint_id,
        model_definition_id=row.model_definition_id if is_shown else None,
        model_definition=show(model.definition, shown.secrets) if is_shown else None,
        weight=double(shortest(row.weight)),
        created_at=row.created_at,
        created_by=row.created_by,
        linkage_type=row.linkage_type,
        fallback_order=row.fallback_order,
    )


def stored_fallback(text: str | None) -> dict[str, Any] | None:
    """The stored configuration of fallbacks; None if there is none or it is not readable."""
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _fallback(text: str | None) -> Fallback | None:
    found = stored_fallback(text)
    if found is None:
        return None
    return Fallback(strategy=found.get("strategy") or None, max_attempts=found.get("max_attempts"))


async def endpoints(ctx: Context, found: Found) -> list[Endpoint]:
    """Endpoints with their models and tags, as far as the caller may see them."""
    shown = await visible(ctx, found.models)
    mappings: dict[str, list[Mapping]] = {}
    for model in found.models:
        mappings.setdefault(model.row.endpoint_id, []).append(mapping(model, shown))
    tags: dict[str, list[EndpointTag]] = {}
    for endpoint_id, key, value in found.tags:
        tags.setdefault(endpoint_id, []).append(EndpointTag(key=key, value=value))
    return [
        _endpoint(row, mappings.get(row.endpoint_id, []), tags.get(row.endpoint_id, []))
        for row in found.rows
    ]


def _endpoint(row: EndpointRow, mappings: list[Mapping], tags: list[EndpointTag]) -> Endpoint:
    return Endpoint(
        endpoint_id=row.endpoint_id,
        name=row.name or "",
        created_at=row.created_at,
        last_updated_at=row.last_updated_at,
        model_mappings=mappings,
        created_by=row.created_by or "",
        last_updated_by=row.last_updated_by or "",
        tags=tags,
        routing_strategy=row.routing_strategy or None,
        fallback_config=_fallback(row.fallback_config_json),
        experiment_id=None if row.experiment_id is None else str(row.experiment_id),
        usage_tracking=bool(row.usage_tracking),
    )
