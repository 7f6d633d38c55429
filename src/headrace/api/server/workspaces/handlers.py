"""The answer to requests for workspaces: MLflow's message on a server without them."""

from __future__ import annotations

from typing import Final, NoReturn

from headrace.api.context import Context
from headrace.api.results import Disabled
from headrace.contract.scalars import PathOnly

REASON: Final = (
    "disabled because the server is running without workspaces support. To enable workspace, run "
    "`mlflow server` with `--enable-workspaces`"
)


class WorkspaceName(PathOnly):
    """GET, PATCH, DELETE workspaces/{workspace_name}"""

    workspace_name: str


async def refuse_all(req: PathOnly, ctx: Context) -> NoReturn:
    """GET, POST /3.0/mlflow/workspaces: 503."""
    raise Disabled(REASON)


async def refuse(req: WorkspaceName, ctx: Context) -> NoReturn:
    """GET, PATCH, DELETE /3.0/mlflow/workspaces/{workspace_name}: 503."""
    raise Disabled(REASON)
