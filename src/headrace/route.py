"""What a row of the route table is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

READING: Final = (
    "search",
    "get-",
)  # how the last part of the path of a POST that only reads begins


class Route:
    """JSON in, JSON out, in MLflow's protobuf-JSON dialect. `{name}` in the path is an argument.

    `handler` is `async def name(req: Struct, ctx: Context) -> Struct | Response`. One that `only_reads` may be
    cancelled when its client has left.
    """

    raw = False

    def __init__(self, method: str, path: str, handler: Callable[..., Any]) -> None:
        self.method = method
        self.path = path
        self.handler = handler
        last = path.rpartition("/")[2]
        self.only_reads = not self.raw and (method == "GET" or last.startswith(READING))


class Raw(Route):
    """A row whose handler is `async def name(request: Request, ctx: Context) -> Response | None`.

    None passes the request on to stock MLflow, across the bridge.
    The body has not been read when it is called. `{name:path}` at the end of a path matches the rest of it.
    """

    raw = True
