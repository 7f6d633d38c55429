"""The application: match, decode, call, encode. The one place that turns exceptions into answers.

A server calls `App.route` when it has the head of a request, then `App.answer`; `App.__call__` is the same as a plain
ASGI application.
"""

from __future__ import annotations

import logging
import sys
import typing
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from headrace.api.context import Context
from headrace.api.modes import served, stays_unprefixed
from headrace.api.registry.webhooks.delivery import Deliveries
from headrace.api.results import Chunks, Encoded
from headrace.api.server.workspaces import handlers as workspaces
from headrace.api.tracking.runs import sql as runs_sql
from headrace.commit.group import GroupCommit
from headrace.commit.reads import BatchedReads
from headrace.contract.errors import WHILE_IT_LASTS, ApiError, ErrorCode, overloaded
from headrace.contract.texts import refuse_nul
from headrace.db import errors as db_errors
from headrace.db.answers import answer as answer_to
from headrace.db.answers import cause_of
from headrace.http import codec
from headrace.http.ids import REQUEST_ID, is_sane
from headrace.http.limits import HELD_BYTES, Budget
from headrace.http.messages import JSON, Request, Response, StreamingResponse, html
from headrace.http.outage import Outage
from headrace.http.security import Security
from headrace.http.weight import LIGHT_BYTES, check_weight
from headrace.monitor.layout import BRIDGED_CELL, REFUSED_CELL
from headrace.monitor.monitor import Monitor, board_for, layout_of
from headrace.server.logs import without_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from headrace.api.route import Route
    from headrace.bridge.bridge import Bridge
    from headrace.bridge.share import Shares
    from headrace.db.base import Database
    from headrace.monitor.board import Board
    from headrace.settings.table import Settings

log = logging.getLogger(__name__)
NOSNIFF: Final = ("x-content-type-options", "nosniff")
NOT_FOUND_TEXT: Final = (
    "The requested URL was not found on the server. If you entered the URL manually please check "
    "your spelling and try again."
)
WRONG_METHOD_TEXT: Final = "The method is not allowed for the requested URL."


class Endpoint:
    """A route row, compiled: decoder made, annotations read."""

    __slots__ = ("cell", "checks_type", "decoder", "handler", "reads_query", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.cell = 0
        self.handler = route.handler
        self.decoder: codec.Decoder | None = None
        self.reads_query = route.method == "GET"
        self.checks_type = route.method in ("POST", "PUT")  # stock takes PATCH and DELETE untyped
        if not route.raw:
            hints = typing.get_type_hints(route.handler)
            self.decoder = codec.Decoder(hints["req"])


class Router:
    """Finds the endpoint of a method and path: a dict for fixed paths, segments for those with arguments."""

    def __init__(self, routes: Iterable[Route], cells: Mapping[tuple[str, str], int]) -> None:
        self._fixed: dict[tuple[str, str], Endpoint] = {}
        self._shaped: list[tuple[str, list[str], Endpoint]] = []
        for route in routes:
            endpoint = Endpoint(route)
            endpoint.cell = cells[route.method, route.path]
            for path in spellings(route.path):
                if "{" in path:
                    self._shaped.append((route.method, path.split("/"), endpoint))
                else:
                    self._fixed[route.method, path] = endpoint

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint and its path arguments, or None."""
        endpoint = self._fixed.get((method, path))
        if endpoint is not None:
            return endpoint, {}
        segments = path.split("/")
        for shaped_method, shape, candidate in self._shaped:
            if shaped_method == method:
                arguments = match_segments(shape, segments)
                if arguments is not None:
                    return candidate, arguments
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that `path` answers."""
        known = {method for method, _ in self._fixed} | {method for method, _, _ in self._shaped}
        return sorted(method for method in known if self.find(method, path))


def spellings(path: str) -> list[str]:
    """A path under /api is answered under /ajax-api as well."""
    if path.startswith("/api/"):
        return [path, "/ajax-api/" + path.removeprefix("/api/")]
    return [path]


def match_segments(shape: list[str], segments: list[str]) -> dict[str, str] | None:
    """The arguments of a path that has the given shape, or None. `{name:path}` takes the rest."""
    arguments: dict[str, str] = {}
    for n, part in enumerate(shape):
        if part.endswith(":path}"):
            rest = "/".join(segments[n:])
            arguments[part[1:-6]] = rest
            return arguments if rest else None
        if n >= len(segments):
            return None
        if part.startswith("{"):
            if not segments[n]:
                return None
            arguments[part[1:-1]] = segments[n]
        elif part != segments[n]:
            return None
    return arguments if len(shape) == len(segments) else None


class App:
    """Every answer of a process: by its routes, else by stock MLflow across the bridge."""

    context: Context  # made by `start`

    def __init__(
        self,
        settings: Settings,
        routes: Iterable[Route],
        *,
        shares: Shares | None = None,
        board: Board | None = None,
    ) -> None:
        self.settings = settings
        table = tuple(routes)
        layout = layout_of(table)
        self.monitor = Monitor(layout, board or board_for(settings, layout, 1))
        self.router = Router(table, layout.cells)
        self.answer: Callable[[Request], Awaitable[Response]] = self._answer
        self._encode = codec.encode
        self._outage = Outage()
        self.budget = Budget(max(HELD_BYTES, 4 * settings.max_body_bytes))
        self.security = Security(
            settings.allowed_hosts,
            settings.cors_allowed_origins,
            settings.x_frame_options,
            disabled=settings.disable_security_middleware,
        )
        self._shares = shares
        self._bridge: Bridge | None = None
        self._prefix = settings.static_prefix or ""

    async def start(self) -> None:
        """Open the database, if there is to be one. Raises when it cannot be served."""
        from headrace.db.none import NoDatabase
        from headrace.db.open import open_database

        db: Database
        if self.settings.artifacts_only:
            db = cast("Database", NoDatabase())
        else:
            db = await open_database(self.settings)
        writer = GroupCommit(
            db,
            max_ops=self.settings.write_queue_operations,
            max_bytes=self.settings.write_queue_bytes,
        )
        journal = None
        if self.settings.log_requests or self.settings.slow_request_ms:
            from headrace.http.request_log import RequestLog

            journal = RequestLog(self.settings, self.monitor.layout, self._answer)
            db, writer = journal.timed(db, writer)
            self._encode = journal.encode
            self.answer = journal.answer
        self.context = Context(
            db,
            writer,
            self.settings,
            runs=BatchedReads(partial(db.read_point, runs_sql.get_many)),
            monitor=self.monitor,
            webhooks=Deliveries(db, self.settings),
        )
        if journal is not None:
            journal.time_reads(self.context)
        self.monitor.start(db, writer)

    async def stop(self) -> None:
        """Commit what is queued, close the database and the bridge."""
        self.monitor.stop()
        if self._bridge is not None:
            await self._bridge.close()
        await self.context.close()

    def route(self, request: Request) -> None:
        """Find the endpoint of a request, once: `endpoint` and `path_args`, and the path without the prefix."""
        path = request.path
        if path.startswith("//"):
            path = "/" + path.lstrip("/")
        if self._prefix:
            path = self._local(request.method, path)
        request.path = path
        found = self.router.find(request.method, path)
        if found is not None:
            request.endpoint, request.path_args = found

    def _local(self, method: str, path: str) -> str:
        """The path without the static prefix; a path outside the prefix matches nothing."""
        if stays_unprefixed(method, path):
            return path
        return (
            path.removeprefix(self._prefix) if path.startswith(self._prefix + "/") else "!" + path
        )

    async def _answer(self, request: Request) -> Response:
        """`respond` behind the security checks, counted, with the headers that every answer carries."""
        began_ns = perf_counter_ns()
        path = request.path
        refusal = self.security.refuse(request.method, path, request.headers)
        if refusal is not None:
            self.monitor.finish(REFUSED_CELL, refusal.status, perf_counter_ns() - began_ns)
            return refusal
        response = await self.respond(request)
        added = self.security.response_headers(path, request.headers.get("origin"))
        if NOSNIFF in response.headers:  # a download says it whatever the settings are
            added = tuple(header for header in added if header != NOSNIFF)
        response.headers.extend(added)
        request_id = request.headers.get(REQUEST_ID)
        if request_id is not None and is_sane(request_id):
            response.headers.append((REQUEST_ID, request_id))
        self.monitor.finish(request.cell, response.status, perf_counter_ns() - began_ns)
        return response

    async def respond(self, request: Request) -> Response:
        """The answer to a request. Raises only when the client is gone, or on cancellation."""
        try:
            return await self._respond(request)
        except ApiError as error:
            return self._refusal(error)
        except db_errors.DatabaseError as error:
            answer = answer_to(error)
            if answer.code == ErrorCode.INTERNAL_ERROR:
                self.note_failure(request, error)
            else:
                log.info("the database: %s %s", error.kind, cause_of(error))
            return self._refusal(answer)
        except ConnectionResetError:
            raise  # the client went away in the middle of its body: there is nobody to answer
        except Exception as error:  # noqa: BLE001 it is logged, without its text
            self.note_failure(request, error)
            return error_response(
                ApiError(ErrorCode.INTERNAL_ERROR, "An internal error occurred in headrace.")
            )

    def note_failure(self, request: Request, error: Exception, when: str = "") -> None:
        """Log what should not have happened: route and traceback, nothing that the request holds."""
        cells = self.monitor.layout.cells
        route = next(path for (_, path), cell in cells.items() if cell == request.cell)
        log.error("%s %s failed%s", request.method, route, when, exc_info=without_text(error))

    def _refusal(self, error: ApiError) -> Response:
        retry_after_s = error.retry_after_s
        if retry_after_s == WHILE_IT_LASTS:
            retry_after_s = self._outage.retry_after_s()
        return error_response(error, retry_after_s)

    def turn_away(self) -> Response:
        """The answer to a request that there is no room for, counted."""
        error = overloaded("The server is at work on too many requests. Please try again.")
        self.monitor.finish(REFUSED_CELL, error.status, 0)
        return error_response(error, error.retry_after_s)

    async def _respond(self, request: Request) -> Response:
        if workspaces.HEADER in request.headers:
            workspaces.check_header(request)
        endpoint = request.endpoint
        if endpoint is None:
            return await self._unmatched(request)
        request.cell = endpoint.cell
        decoder = endpoint.decoder
        if decoder is None:
            answer: Response | None = await endpoint.handler(request, self.context)
            if answer is None:
                answer = await self._across_the_bridge(request)
            return answer or html(404, "Not Found", NOT_FOUND_TEXT)
        if endpoint.checks_type:
            codec.check_content_type(request.headers.get("content-type"))
        if endpoint.reads_query and request.query_string:
            message = decoder.from_query(request.query_string)
        else:
            body = await request.body() or b"{}"
            if len(body) > LIGHT_BYTES:
                await check_weight(body)
            message = decoder.from_body(body)
        if request.path_args:
            message = with_path_args(message, request.path_args)
        return self._response(await endpoint.handler(message, self.context))

    def _response(self, result: Any) -> Response:
        """The result of a handler as it is sent."""
        if isinstance(result, Encoded):
            return Response(result.body)
        if isinstance(result, Chunks):
            return StreamingResponse(result.iterator, length=result.length)
        if isinstance(result, Response):
            return result
        return Response(self._encode(result))

    async def _unmatched(self, request: Request) -> Response:
        if request.method == "HEAD":
            found = self.router.find("GET", request.path)
            if found is not None:
                request.method = "GET"
                request.endpoint, request.path_args = found
                if found[0].decoder is not None:
                    request.query_string = ""  # stock does not read it for HEAD either
                try:
                    return await self._respond(request)
                finally:
                    request.method = "HEAD"  # the sender must know that no body is wanted
        if request.path == "!" + self._prefix:
            # Relative links of the web page need the slash.
            return Response(
                status=308, content_type=None, headers=[("location", self._prefix + "/")]
            )
        methods = self.router.methods(request.path)
        allow = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        if methods and request.method == "OPTIONS":
            return Response(b"", status=204, content_type=None, headers=[("allow", allow)])
        answer = await self._across_the_bridge(request)
        if answer is not None:
            return answer
        if methods:
            refusal = html(405, "Method Not Allowed", WRONG_METHOD_TEXT)
            refusal.headers.append(("allow", allow))
            return refusal
        return html(404, "Not Found", NOT_FOUND_TEXT)

    async def _across_the_bridge(self, request: Request) -> Response | None:
        if self.settings.artifacts_only or sys.platform == "win32":
            return None
        if self._bridge is None:
            # Here, so that a server that is asked for native routes only never loads it.
            from headrace.bridge.bridge import Bridge

            self._bridge = Bridge(self.settings, self.context.db.schema.head, self._shares)
            self.monitor.watch_bridge = self._bridge.running
        cell, request.cell = request.cell, BRIDGED_CELL
        foreign = self.security.is_foreign(request.headers)
        answer = await self._bridge.answer(request, foreign=foreign)
        if answer is None:
            request.cell = cell
        return answer

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """ASGI 3."""
        from headrace.http import asgi

        await asgi.serve(self, scope, receive, send)


def create_app(settings: Settings, shares: Shares | None = None, board: Board | None = None) -> App:
    """The application of these settings, with every route. Its database opens in `App.start`.

    `shares` and `board` are what forked processes of one server share: the bridge, and their figures.
    """
    from headrace.api.routes import ROUTES

    return App(settings, served(ROUTES, settings), shares=shares, board=board)


def with_path_args(message: Any, arguments: dict[str, str]) -> Any:
    """The message with the fields that the path names (`/logged-models/{model_id}`)."""
    known = {k: v for k, v in arguments.items() if k in message.__struct_fields__}
    for name, value in known.items():
        refuse_nul(value, name)
    return msgspec.structs.replace(message, **known) if known else message


def error_response(error: ApiError, retry_after_s: int | None = None) -> Response:
    """An `ApiError` as the answer MLflow's clients expect."""
    headers = [("retry-after", str(retry_after_s))] if retry_after_s is not None else None
    return Response(
        codec.encode_error(error), status=error.status, content_type=JSON, headers=headers
    )
