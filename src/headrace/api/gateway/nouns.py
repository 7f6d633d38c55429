"""Shared by the resources of the gateway: the check of the tables, and the error for an unknown id."""

from __future__ import annotations

from headrace.api.context import Context
from headrace.api.results import NotNative
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found
from headrace.contract.limits import SEARCH_MAX_RESULTS, SEARCH_MAX_RESULTS_DEFAULT

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


def page_size(max_results: int | None) -> int:
    """The number of items of a page; 0 stands for the default. Raises INVALID_PARAMETER_VALUE."""
    limit = max_results or SEARCH_MAX_RESULTS_DEFAULT
    if limit < 1:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            "It must be a positive integer"
        )
    if limit > SEARCH_MAX_RESULTS:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            f"It must be at most {SEARCH_MAX_RESULTS}"
        )
    return limit
