"""The rows of the route table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.api.context import Context
    from headrace.auth.rules import Rule

    # The most bytes of a body that are in memory at a time, by its length (None: unknown).
    Holds = Callable[[Context, int | None], int]

# How the last part of the path of a POST that only reads begins.
READING: Final = ("search", "get-")


class Route:
    """JSON in, JSON out, in MLflow's protobuf-JSON dialect. `{name}` in the path is an argument.

    `handler` is `async def name(req: Struct, ctx: Context) -> Struct | Encoded | Chunks`; it raises ApiError,
    NotNative or Disabled. One that `only_reads` may be cancelled when its client has left. `rule` says who may
    call it and has no default, so that a row without one does not load.
    """

    raw = False
    partial = False
    holds: Holds | None = None
    query: tuple[str, ...] = ()

    def __init__(
        self,
        method: str,
        path: str,
        handler: Callable[..., Any],
        rule: Rule,
        *,
        max_bytes: int | None = None,
    ) -> None:
        """`max_bytes` of a body, where the limit of the server is too high."""
        self.method = method
        self.path = path
        self.handler = handler
        self.rule = rule
        self.max_bytes = max_bytes
        last = path.rpartition("/")[2]
        is_native = not self.raw and not self.partial
        self.only_reads = is_native and (method == "GET" or last.startswith(READING))


class Partial(Route):
    """A row of which headrace answers a part; its handler raises NotNative for the rest.

    A body that is not its handler's request is left to stock MLflow as well.
    """

    partial = True


class Raw(Route):
    """A row whose handler is `async def name(request: Request, ctx: Context) -> Response`.

    Only for bytes of artifacts, the web page and the probes. The body has not been read when the handler is
    called; `holds` tells how much of it the handler keeps in memory, `query` which parameters a request must have.
    `{name:path}` at the end of a path matches the rest of it.
    """

    raw = True

    def __init__(
        self,
        method: str,
        path: str,
        handler: Callable[..., Any],
        rule: Rule,
        holds: Holds | None = None,
        query: tuple[str, ...] = (),
    ) -> None:
        super().__init__(method, path, handler, rule)
        self.holds = holds
        self.query = query
