"""Model definitions as answers show them, also within endpoints."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from headrace.api.context import Context
from headrace.api.gateway.model_definitions.sql import Definition
from headrace.api.gateway.model_definitions.types import ModelDefinition


async def shown_secrets(definitions: Iterable[Definition], ctx: Context) -> Collection[str]:
    """The ids of those secrets of model definitions that no grant of the caller denies."""
    ids = (found.row.secret_id for found in definitions if found.row.secret_id)
    return await ctx.access.undenied("gateway_secret", ids)


def show(found: Definition, secrets: Collection[str]) -> ModelDefinition:
    """A model definition; its secret is shown if it is one of `secrets`."""
    row = found.row
    is_shown = row.secret_id in secrets
    return ModelDefinition(
        model_definition_id=row.model_definition_id,
        name=row.name,
        secret_id=row.secret_id if is_shown else None,
        secret_name=found.secret_name if is_shown else None,
        provider=row.provider,
        model_name=row.model_name,
        created_at=row.created_at,
        last_updated_at=row.last_updated_at,
        created_by=row.created_by,
        last_updated_by=row.last_updated_by,
    )
