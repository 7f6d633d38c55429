"""Shared by the resources of the gateway: the check of the tables, and the error for an unknown id."""

from __future__ import annotations

from headrace.api.context import Context
from headrace.api.results import NotNative
from headrace.contract.errors import ApiError, ErrorCode, not_found

DISABLED = "The AI Gateway feature is disabled. Set MLFLOW_ENABLE_AI_GATEWAY=true to enable it."


def check_enabled(ctx: Context) -> None:
    """Raise NOT_IMPLEMENTED if the gateway is switched off."""
    if not ctx.settings.enable_ai_gateway:
        raise ApiError(ErrorCode.NOT_IMPLEMENTED, DISABLED)


def check_served(ctx: Context, table: str) -> None:
    """Raise NOT_IMPLEMENTED if the gateway is switched off.

    Leave the request to stock MLflow if the table does not exist or has no workspaces (before 3.10).
    """
    check_enabled(ctx)
    if not ctx.db.schema.has(table, "workspace"):
        raise NotNative


def unknown(kind: str, field: str, value: str) -> ApiError:
    """RESOURCE_DOES_NOT_EXIST; `kind` is MLflow's name, such as GatewaySecret."""
    return not_found(f"{kind} not found ({field}='{value}')")
