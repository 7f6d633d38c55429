"""The workspace of a request, which a header names."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

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
    from headrace.http.messages import Request, Response

HEADER: Final = "x-mlflow-workspace"
# Other headers that name something.
FIELDS_OF_HEADERS: Final = {"x-mlflow-experiment-id": "experiment_id", "x-mlflow-run-id": "run_id"}
EXEMPT: Final = "/mlflow/server-info"  # tells clients whether there are workspaces


def check_none_named(request: Request) -> None:
    """Raise FEATURE_DISABLED if a request names a workspace: it must not see the rows of others."""
    if _named(request):
        raise not_enabled()


def _named(request: Request) -> str:
    """The workspace that the header names, or "" for none."""
    name = request.headers.get(HEADER, "").strip()
    # A path with arguments may end like it, too: that of a file, for example.
    is_route = request.endpoint is not None and not request.path_args
    return "" if is_route and request.path.endswith(EXEMPT) else name


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
        context = self._context.in_workspace(name)
        request.ids = context.request_ids()
        return context


async def hide_foreign(message: Any, request: Request) -> None:
    """Replace the ids of other workspaces in a decoded request, or in the head of a raw one."""
    if request.ids is None:
        return
    if message is not request:
        await request.ids.hide(message)
        return
    query, named = (
        request.query(),
        {field: header for header, field in FIELDS_OF_HEADERS.items() if header in request.headers},
    )
    given = {name: [value] for name, value in request.path_args.items()}
    given |= {field: [request.headers[header]] for field, header in named.items()}
    if not given and not query:
        return
    found, found_in_query = await request.ids.hidden(given), await request.ids.hidden(query)
    request.path_args = {name: found[name][0] for name in request.path_args}
    for field, header in named.items():
        request.headers[header] = found[field][0]
    if found_in_query != query:
        request.query_string = urlencode(found_in_query, doseq=True)


def restored(response: Response, request: Request) -> Response:
    """An error whose text names the ids that the client sent."""
    if request.ids is not None and response.status >= HTTPStatus.BAD_REQUEST:
        response.body = request.ids.restored(response.body.decode(errors="replace")).encode()
    return response
