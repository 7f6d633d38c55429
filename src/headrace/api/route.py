"""What a row of the route table is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.auth.rules import Rule

# How the last part of the path of a POST that only reads begins.
READING: Final = ("search", "get-")


class Route:
    """JSON in, JSON out, in MLflow's protobuf-JSON dialect. `{name}` in the path is an argument.

    `handler` is `async def name(req: Struct, ctx: Context) -> Struct | Response`. One that `only_reads` may be
    cancelled when its client has left. `rule` says who may call it and has no default, so that a row without
    one does not load.
    """

    raw = False

    def __init__(self, method: str, path: str, handler: Callable[..., Any], rule: Rule) -> None:
        self.method = method
        self.path = path
        self.handler = handler
        self.rule = rule
        last = path.rpartition("/")[2]
        self.only_reads = not self.raw and (method == "GET" or last.startswith(READING))


class Raw(Route):
    """A row whose handler is `async def name(request: Request, ctx: Context) -> Response | None`.

    None passes the request on to stock MLflow, across the bridge.
    The body has not been read when it is called. `{name:path}` at the end of a path matches the rest of it.
    """

    raw = True
