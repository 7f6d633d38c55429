"""The workspace of a request, which a header names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.commit.reads import BatchedReads
from headrace.contract.workspaces import (
    DEFAULT,
    check_workspace_name,
    not_enabled,
    workspace_not_found,
)
from headrace.db.workspaces_sql import existing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.api.context import Context
    from headrace.http.messages import Request

HEADER: Final = "x-mlflow-workspace"
EXEMPT: Final = "/mlflow/server-info"  # tells clients whether there are workspaces


def check_none_named(request: Request) -> None:
    """Raise FEATURE_DISABLED if a request names a workspace: it must not see the rows of others."""
    if _named(request):
        raise not_enabled()


def _named(request: Request) -> str:
    """The workspace that the header names, or "" for none."""
    name = request.headers.get(HEADER, "").strip()
    return "" if request.path.rstrip("/").endswith(EXEMPT) else name


class Workspaces:
    """Finds the workspace of each request, on a server with workspaces.

    Nothing is cached, so that a deleted workspace is unknown at once to every process.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._existing = BatchedReads(self._read)

    async def _read(self, names: Sequence[str]) -> Mapping[str, str]:
        found = await self._context.db.read_point(existing, names)
        return {name: name for name in found}

    async def enter(self, request: Request) -> Context:
        """The context of the request's workspace, which becomes `Request.workspace`.

        Raises INVALID_PARAMETER_VALUE (not a name) and RESOURCE_DOES_NOT_EXIST.
        """
        name = _named(request) or DEFAULT
        if name != DEFAULT:
            check_workspace_name(name)
            if await self._existing.get(name) is None:
                raise workspace_not_found(name)
        request.workspace = name
        return self._context.in_workspace(name)
