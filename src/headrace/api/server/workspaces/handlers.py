"""What is said to a client that asks for workspaces: stock's words for a server without them."""

from __future__ import annotations

from typing import Final

from headrace.api.context import Context
from headrace.contract.errors import ApiError, ErrorCode
from headrace.http.messages import Request, Response

HEADER: Final = "x-mlflow-workspace"
EXEMPT: Final = "/mlflow/server-info"  # where a client learns that there are none
REASON: Final = (
    "disabled because the server is running without workspaces support. To enable workspace, run "
    "`mlflow server` with `--enable-workspaces`"
)


async def refuse(request: Request, ctx: Context) -> Response:
    """GET, POST, PATCH, DELETE /3.0/mlflow/workspaces and below: 503."""
    root, below, _ = request.path.partition("/workspaces/")
    rule = f"{root}/workspaces/<workspace_name>" if below else request.path
    prefix = ctx.settings.static_prefix or ""
    return Response(
        f"Endpoint: {prefix}{rule} {REASON}".encode(),
        status=503,
        content_type="text/html; charset=utf-8",
    )


def check_header(request: Request) -> None:
    """Raise FEATURE_DISABLED when a request names a workspace: it must not see all the others."""
    if request.headers[HEADER].strip() and not request.path.rstrip("/").endswith(EXEMPT):
        raise ApiError(
            ErrorCode.FEATURE_DISABLED,
            "Workspace APIs are not available: workspaces are not enabled on this server",
        )
