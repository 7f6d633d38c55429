"""The rows of the route table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.api.context import Context
    from headrace.auth.rules import Rule

    # Maximum number of bytes of a body in memory at a time, by the body's length (None: unknown).
    Holds = Callable[[Context, int | None], int]

# The last part of the path of a POST that only reads begins with one of these.
READING: Final = ("search", "get-", "batchGet", "calculate-")


class Route:
    """A route with JSON requests and answers in MLflow's protobuf-JSON dialect.

    `{name}` in the path is an argument. `handler` is
    `async def name(req: Struct, ctx: Context) -> Struct | Encoded | Chunks`; it raises ApiError,
    NotNative or Disabled. A handler that `only_reads` may be cancelled when its client disconnects.
    `rule` defines who may call it. It has no default, so that a route without a rule fails to load.
    """

    raw = False
    partial = False
    of_fastapi = False
    holds: Holds | None = None
    query: tuple[str, ...] = ()
    header_fields: tuple[tuple[str, str], ...] = ()
    reads_query = False  # also with another method than GET

    def __init__(
        self,
        method: str,
        path: str,
        handler: Callable[..., Any],
        rule: Rule,
        *,
        max_bytes: int | None = None,
    ) -> None:
        """Create a route; `max_bytes` limits its bodies where the server's limit is too high."""
        self.method = method
        self.path = path
        self.handler = handler
        self.rule = rule
        self.max_bytes = max_bytes
        last = path.rpartition("/")[2]
        is_native = not self.raw and not self.partial
        self.only_reads = is_native and (method == "GET" or last.startswith(READING))


class Partial(Route):
    """A route that headrace answers in part; its handler raises NotNative for the rest.

    A body that the handler's request type does not accept is passed to stock MLflow as well.
    """

    partial = True


class ByQuery(Route):
    """A route whose fields are in the query, whatever its method; its body counts for nothing."""

    reads_query = True


class FastApi(Route):
    """A route that stock answers with FastAPI: its errors are `{"detail": …}`, unknown fields ignored."""

    of_fastapi = True


class Raw(Route):
    """A route whose handler is `async def name(request: Request, ctx: Context) -> Response`.

    Only for the bytes of artifacts, the web page and the probes. The body has not been read when
    the handler is called. `holds` returns the number of its bytes that the handler keeps in memory;
    `query` lists the parameters that a request must have; `header_fields` has the headers that the
    rule checks, with the names of their fields. `{name:path}` at the end of a path matches the rest
    of it.
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
        header_fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(method, path, handler, rule)
        self.holds = holds
        self.query = query
        self.header_fields = header_fields
