"""The header that names a workspace. This server has only one: every row belongs to `default`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.contract.errors import ApiError, ErrorCode

if TYPE_CHECKING:
    from headrace.http.messages import Request

WORKSPACE: Final = "x-mlflow-workspace"
EXEMPT: Final = "/mlflow/server-info"  # tells clients that there are no workspaces


def check_workspace(request: Request) -> None:
    """Raise FEATURE_DISABLED when a request names a workspace: it must not see the rows of others."""
    if request.headers[WORKSPACE].strip() and not request.path.rstrip("/").endswith(EXEMPT):
        raise ApiError(
            ErrorCode.FEATURE_DISABLED,
            "Workspace APIs are not available: workspaces are not enabled on this server",
        )
