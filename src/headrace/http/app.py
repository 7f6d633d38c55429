"""The application: match, decode, call, encode. The one place that turns exceptions into answers.

A server calls `App.route` when it has the head of a request, then `App.answer`.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from headrace.api.context import Context
from headrace.api.modes import served, stays_unprefixed
from headrace.api.registry.webhooks.delivery import Deliveries
from headrace.api.results import Chunks, Disabled, Encoded, NotNative
from headrace.api.routes import ROUTES
from headrace.api.tracking.runs import sql as runs_sql
from headrace.commit.group import GroupCommit
from headrace.commit.reads import BatchedReads
from headrace.contract.errors import WHILE_IT_LASTS, ApiError, ErrorCode, overloaded
from headrace.contract.texts import refuse_nul
from headrace.db import errors as db_errors
from headrace.db.answers import answer as answer_to
from headrace.db.answers import cause_of
from headrace.http import codec
from headrace.http.disabled import disabled
from headrace.http.ids import REQUEST_ID, is_sane
from headrace.http.limits import HELD_BYTES, Budget
from headrace.http.messages import JSON, MAX_BODY_BYTES, Request, Response, StreamingResponse, html
from headrace.http.outage import Outage
from headrace.http.router import Router
from headrace.http.security import Security
from headrace.http.weight import LIGHT_BYTES, check_weight
from headrace.http.workspaces import WORKSPACE, check_workspace
from headrace.monitor.layout import BRIDGED_CELL, REFUSED_CELL
from headrace.monitor.monitor import Monitor, board_for, layout_of
from headrace.server.logs import without_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from headrace.api.route import Route
    from headrace.bridge.bridge import Bridge
    from headrace.bridge.share import Shares
    from headrace.db.base import Database
    from headrace.monitor.board import Board
    from headrace.settings.table import Settings

log = logging.getLogger(__name__)
NOSNIFF: Final = ("x-content-type-options", "nosniff")
NOT_FOUND: Final = (
    "Not Found",
    "The requested URL was not found on the server. If you entered the URL manually please check "
    "your spelling and try again.",
)
WRONG_METHOD_TEXT: Final = "The method is not allowed for the requested URL."


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
        self._routes = tuple(routes)
        table = tuple(served(self._routes, settings))
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
            routes=self._routes,
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
            try:
                return await self._respond(request)
            except NotNative:
                return await self._across_the_bridge(request) or html(404, *NOT_FOUND)
            except Disabled as why:
                route = request.endpoint.route.path if request.endpoint else request.path
                return disabled(why, route, request.path, self._prefix)
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
        if WORKSPACE in request.headers:
            check_workspace(request)
        endpoint = request.endpoint
        if endpoint is None:
            return await self._unmatched(request)
        request.cell = endpoint.cell
        decoder = endpoint.decoder
        if decoder is None:
            if endpoint.request_type is None:
                raw: Response = await endpoint.handler(request, self.context)
                return raw
            message = endpoint.from_path(request.path_args)
        else:
            if endpoint.checks_type:
                codec.check_content_type(request.headers.get("content-type"))
            if endpoint.reads_query and request.query_string:
                message = decoder.from_query(request.query_string)
            else:
                body = await request.body(endpoint.max_bytes or MAX_BODY_BYTES) or b"{}"
                if len(body) > LIGHT_BYTES:
                    await check_weight(body)
                message = decoder.from_body(body)
            if request.path_args:
                message = with_path_args(message, request.path_args)
        result = await endpoint.handler(message, self.context)
        if isinstance(result, Encoded):
            return Response(result.body)
        if isinstance(result, Chunks):
            return StreamingResponse(result.iterator, length=result.length)
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
        return html(404, *NOT_FOUND)

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


def create_app(settings: Settings, shares: Shares | None = None, board: Board | None = None) -> App:
    """The application of these settings, with every route. Its database opens in `App.start`.

    `shares` and `board` are what forked processes of one server share: the bridge, and their figures.
    """
    return App(settings, ROUTES, shares=shares, board=board)


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
