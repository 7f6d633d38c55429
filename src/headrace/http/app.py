"""The application: finds the route, decodes, calls the handler, encodes, and answers exceptions.

A server calls `App.route` when the head of a request is complete, then `App.dispatch`.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, cast

from headrace.api.context import Context
from headrace.api.enabled import refused_in_plain_text, served, stays_unprefixed
from headrace.api.registry.webhooks.delivery import Deliveries
from headrace.api.results import Chunks, Disabled, Encoded, NotNative, TextRefusal
from headrace.api.routes import routes_of
from headrace.api.tracking.runs import sql as runs_sql
from headrace.auth.authority import Answered, Denied, Unauthenticated
from headrace.auth.rules import ANYONE, OPEN, UNRULED
from headrace.commit.group import GroupCommit
from headrace.commit.reads import BatchedReads, GatheredReads
from headrace.contract.errors import RETRY_AFTER_FROM_OUTAGE, ApiError, ErrorCode, overloaded
from headrace.db import errors as db_errors
from headrace.db.api_errors import api_error, cause_of
from headrace.db.none import NoDatabase
from headrace.db.open import open_database
from headrace.db.schema import heads
from headrace.http import codec
from headrace.http.disabled import disabled
from headrace.http.fastapi import Unprocessable
from headrace.http.ids import REQUEST_ID, is_sane
from headrace.http.limits import HELD_BYTES, STREAM_BYTES, Budget
from headrace.http.messages import JSON, Request, Response, StreamingResponse, html
from headrace.http.outage import Outage
from headrace.http.refusals import PAGE, PLAIN, denied, login_needed, text_refusal, unauthenticated
from headrace.http.router import Router
from headrace.http.security import Security
from headrace.http.workspaces import HEADER, Workspaces, check_none_named, restored
from headrace.monitor.layout import REFUSED_CELL
from headrace.monitor.monitor import Monitor, counter_table_for, layout_of
from headrace.monitor.redacted import redacted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from headrace.api.route import Route
    from headrace.auth.authority import Authority
    from headrace.auth.open import Accounts
    from headrace.auth.rules import Rule
    from headrace.bridge.bridge import Bridge
    from headrace.bridge.shared_state import SharedStates
    from headrace.db.base import Database
    from headrace.monitor.counter_table import CounterTable
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
    """Answers the requests of a process by its routes, or by stock MLflow over the bridge."""

    context: Context  # set by `start`

    def __init__(
        self,
        settings: Settings,
        routes: Iterable[Route],
        *,
        bridge_state: SharedStates | None = None,
        counters: CounterTable | None = None,
        authority: Authority | None = None,
    ) -> None:
        """An `authority` checks the rules of routes."""
        self._authority = authority
        self.settings = settings
        self._routes = tuple(routes)
        table = tuple(served(self._routes, settings))
        layout = layout_of(table)
        self.monitor = Monitor(layout, counters or counter_table_for(settings, layout, 1))
        self.router = Router(
            table, layout.cells, authority, has_workspaces=settings.enable_workspaces
        )
        self.dispatch: Callable[[Request], Awaitable[Response]] = self._handle
        self._encode = codec.encode
        self._outage = Outage()
        self.budget = Budget(max(HELD_BYTES, 4 * settings.max_body_bytes))
        self.security = Security(
            settings.allowed_hosts,
            settings.cors_allowed_origins,
            settings.x_frame_options,
            disabled=settings.disable_security_middleware,
        )
        self._bridge_state = bridge_state
        self._bridge: Bridge | None = None
        self._prefix = settings.static_prefix or ""
        self._workspaces: Workspaces | None = None  # of a server with workspaces, set by `start`

    async def start(self, *, bootstrap: bool = True) -> None:
        """Open the database, unless only artifacts are served, and that of users.

        `bootstrap`: make the first admin. Raises if a database cannot be served.
        """
        db, accounts = await open_databases(self.settings, bootstrap=bootstrap)
        writer = GroupCommit(
            db,
            max_ops=self.settings.write_queue_operations,
            max_bytes=self.settings.write_queue_bytes,
        )
        request_log = None
        if self.settings.log_requests or self.settings.slow_request_ms:
            # Imported here to save start-up time: few servers log requests.
            from headrace.http.request_log import RequestLog

            request_log = RequestLog(self.settings, self.monitor.layout, self._handle)
            db, writer = request_log.timed(db, writer)
            self._encode = request_log.encode
            self.dispatch = request_log.dispatch
            if accounts is not None and accounts.in_tracking:
                accounts.db = db
        self.context = Context(
            db,
            writer,
            self.settings,
            runs=_reads_of_runs(db, accounts),
            monitor=self.monitor,
            webhooks=Deliveries(db, self.settings),
            routes=self._routes,
            accounts=accounts,
            authority=self._authority,
        )
        if self._authority is not None:
            self._authority.start(self.context)
        if request_log is not None:
            request_log.time_reads(self.context)
        if self.settings.enable_workspaces:
            self._workspaces = Workspaces(self.context)
        self.monitor.start(db, writer)

    async def stop(self) -> None:
        """Commit the queued writes, and close the database and the bridge."""
        self.monitor.stop()
        if self._bridge is not None:
            await self._bridge.close()
        await self.context.close()

    def route(self, request: Request) -> None:
        """Set the request's `endpoint` and `path_args`, and remove the prefix from its path.

        Call this once for each request.
        """
        path = request.path
        if path.startswith("//"):
            path = "/" + path.lstrip("/")
        if self._prefix:
            path = self._strip_prefix(request.method, path)
        request.path = path
        found = self.router.find(request.method, path)
        if found is None and request.method == "HEAD":
            found = self.router.find("GET", path)
            if found is not None and found[0].decoder is not None:
                request.query_string = ""  # stock does not read it for HEAD either
        if found is not None:
            request.endpoint, request.path_args = found

    def held_bytes(self, request: Request, length: int | None) -> int:
        """The maximum bytes of a streamed body of this length that are in memory at a time."""
        held, endpoint = STREAM_BYTES, request.endpoint
        if length is not None:
            held = min(length, held)
        if endpoint is not None and endpoint.route.holds is not None:
            held += endpoint.route.holds(self.context, length)
        return held

    def _strip_prefix(self, method: str, path: str) -> str:
        """The path without the static prefix; a path outside the prefix matches nothing."""
        if stays_unprefixed(method, path):
            return path
        return (
            path.removeprefix(self._prefix) if path.startswith(self._prefix + "/") else "!" + path
        )

    async def _handle(self, request: Request) -> Response:
        """Answer and count a routed request.

        Raises only if the client is gone, or on cancellation.
        """
        began_ns = perf_counter_ns()
        headers = request.headers
        refusal = self.security.refuse(request.method, request.path, headers)
        if refusal is not None:
            self.monitor.finish(REFUSED_CELL, refusal.status, perf_counter_ns() - began_ns)
            return refusal
        endpoint = request.endpoint
        try:
            context = self.context
            if self._workspaces is not None:
                context = await self._workspaces.enter(request)
            elif HEADER in headers:
                check_none_named(request)
            if endpoint is None:
                response = await self._unmatched(request)
            else:
                request.cell = endpoint.cell
                try:
                    message = await endpoint.read(request)
                    if request.access is not None:
                        context = context.on_behalf_of(request.access, request)
                    response = self._to_response(await endpoint.handler(message, context))
                except NotNative:
                    response = await self._forward(request) or html(404, *NOT_FOUND)
        except ConnectionResetError:
            raise  # the client closed the connection while it sent the body
        except Exception as error:  # noqa: BLE001 logged without its text
            response = restored(self._error_response(request, error), request)
        # They refer to the request, and only the cycle collector would free all three.
        request.caller = request.access = None
        self._add_headers(request, response)
        self.monitor.finish(request.cell, response.status, perf_counter_ns() - began_ns)
        return response

    def _to_response(self, result: Any) -> Response:
        """The response for the result of a handler."""
        if isinstance(result, Encoded):
            content_type = JSON if result.body else None
            return Response(result.body, status=result.status, content_type=content_type)
        if isinstance(result, Chunks):
            return StreamingResponse(
                result.iterator, length=result.length, held_bytes=result.held_bytes
            )
        if isinstance(result, Response):
            return result
        return Response(self._encode(result))

    def _add_headers(self, request: Request, response: Response) -> None:
        """Add the headers that every answer has."""
        added = self.security.response_headers(request.path, request.headers.get("origin"))
        if NOSNIFF in response.headers:  # downloads always have it
            added = tuple(header for header in added if header != NOSNIFF)
        response.headers.extend(added)
        request_id = request.headers.get(REQUEST_ID)
        if request_id is not None and is_sane(request_id):
            response.headers.append((REQUEST_ID, request_id))

    def _error_response(self, request: Request, error: Exception) -> Response:
        """The answer to a request that raised."""
        if self._authority is not None:
            self._authority.refused(request, self._route_of(request), request.caller, error)
        if isinstance(error, ApiError):
            return self._refusal(error, request)
        if isinstance(error, Unprocessable):
            return Response(codec.encode({"detail": error.problems}), status=422)
        if isinstance(error, Unauthenticated):
            if self.settings.has_page_login:
                return login_needed(request, self._prefix, error.challenge)
            return unauthenticated(error.challenge, self._refusal_type(request))
        if isinstance(error, Denied):
            return denied(self._refusal_type(request))
        if isinstance(error, Answered):
            return Response(
                error.body, status=error.status, content_type=None, headers=error.headers
            )
        if isinstance(error, TextRefusal):
            return text_refusal(str(error))
        if isinstance(error, Disabled):
            shape = request.path if request.endpoint is None else request.endpoint.route.path
            return disabled(error, shape, request.path, self._prefix)
        if isinstance(error, db_errors.DatabaseError):
            answer = api_error(error)
            if answer.code == ErrorCode.INTERNAL_ERROR:
                self.log_failure(request, error)
            else:
                log.info("the database: %s %s", error.kind, cause_of(error))
            return self._refusal(answer, request)
        self.log_failure(request, error)
        return error_response(
            ApiError(ErrorCode.INTERNAL_ERROR, "An internal error occurred in headrace.")
        )

    def _refusal_type(self, request: Request) -> str:
        """The content type of 401 and 403."""
        prefixed = self._prefix and request.target.startswith(self._prefix + "/")
        plain = refused_in_plain_text(request.method, request.path) and not prefixed
        return PLAIN if plain else PAGE

    def log_failure(self, request: Request, error: Exception, when: str = "") -> None:
        """Log an unexpected error: route and traceback, without values of the request."""
        route = self._route_of(request)
        log.error("%s %s failed%s", request.method, route, when, exc_info=redacted(error))

    def _route_of(self, request: Request) -> str:
        """The path of the route table that the request is counted under."""
        cells = self.monitor.layout.cells
        return next(path for (_, path), cell in cells.items() if cell == request.cell)

    def _refusal(self, error: ApiError, request: Request) -> Response:
        retry_after_s = error.retry_after_s
        if retry_after_s == RETRY_AFTER_FROM_OUTAGE:
            retry_after_s = self._outage.retry_after_s()
        response = error_response(error, retry_after_s)
        if request.endpoint is not None and request.endpoint.route.of_fastapi:
            response.body = codec.encode({"detail": error.message})
        return response

    def reject_overload(self) -> Response:
        """Answer and count a request beyond the limit of concurrent requests."""
        error = overloaded("The server is at work on too many requests. Please try again.")
        self.monitor.finish(REFUSED_CELL, error.status, 0)
        return error_response(error, error.retry_after_s)

    async def _unmatched(self, request: Request) -> Response:
        if request.path == "!" + self._prefix:
            # The relative links of the web page need the trailing slash.
            return Response(
                status=308, content_type=None, headers=[("location", self._prefix + "/")]
            )
        if self._authority is not None and request.method != "OPTIONS":
            request.caller = await self._authority.identify(ANYONE, request)
        methods = self.router.methods(request.path)
        allow = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        if methods and request.method == "OPTIONS":
            return Response(b"", status=204, content_type=None, headers=[("allow", allow)])
        answer = await self._forward(request)
        if answer is not None:
            return answer
        if self._authority is not None and request.caller is not None:
            await self._authority.admit(UNRULED, request.caller, {}, request.workspace)
        if methods:
            refusal = html(405, "Method Not Allowed", WRONG_METHOD_TEXT)
            refusal.headers.append(("allow", allow))
            return refusal
        return html(404, *NOT_FOUND)

    async def _forward(self, request: Request) -> Response | None:
        if self.settings.artifacts_only or sys.platform == "win32":
            return None
        if self._bridge is None:
            # Imported here to save start-up time: many servers never use the bridge.
            from headrace.bridge.bridge import Bridge

            users_head = self.context.accounts.facts.head if self.settings.auth else None
            self._bridge = Bridge(self.settings, self._head, self._bridge_state, users_head)
            self.monitor.watch_bridge = self._bridge.running
        if self._authority is not None:
            rule = self._bridge.rule(request)
            if rule is None:
                return None
            await self._check(rule, request, self._authority)
        cell = request.cell
        request.cell = self.monitor.layout.bridged_cell(*self._bridge.route(request))
        foreign = self.security.is_foreign(request.headers)
        answer = await self._bridge.forward(request, foreign=foreign)
        if answer is None:
            request.cell = cell
        elif answer.status == Denied.status and self._authority is not None:
            self._authority.refused(request, self._route_of(request), request.caller, Denied())
        return answer

    async def _head(self) -> str:
        """The schema revision of the database at present."""
        return await self.context.db.read_point(heads.stored)

    async def _check(self, rule: Rule, request: Request, authority: Authority) -> None:
        """Raise as `Authority.admit`, before a request is forwarded."""
        if request.caller is not None:
            await authority.admit(rule, request.caller, request.fields(), request.workspace)
        elif rule is not OPEN:
            raise Unauthenticated


async def open_databases(
    settings: Settings, *, bootstrap: bool
) -> tuple[Database, Accounts | None]:
    """The tracking database, and the one of users in a server with users.

    `bootstrap`: make the first admin. Raises UnusableDatabase and SettingError.
    """
    if settings.artifacts_only:
        db = cast("Database", NoDatabase())
    else:
        db = await open_database(settings)
    if settings.auth is None:
        return db, None
    # Imported here to save start-up time: many servers have no users.
    from headrace.auth.bootstrap import bootstrap as make_admin
    from headrace.auth.open import open_accounts

    try:
        accounts = await open_accounts(settings, db)
        if bootstrap:
            await make_admin(accounts, settings.auth)
    except BaseException:
        await db.close()
        raise
    return db, accounts


def create_app(
    settings: Settings,
    bridge_state: SharedStates | None = None,
    counters: CounterTable | None = None,
) -> App:
    """The application of these settings, with every route. Its database opens in `App.start`.

    The forked processes of one server share `bridge_state` and `counters`.
    """
    return App(
        settings,
        routes_of(settings),
        bridge_state=bridge_state,
        counters=counters,
        authority=_authority_of(settings),
    )


def _reads_of_runs(db: Database, accounts: Accounts | None) -> BatchedReads[str, Any]:
    """Reads runs by id, in batches."""
    read = partial(db.read_point, runs_sql.get_many)
    if accounts is None or accounts.db.version() is not None:
        return BatchedReads(read)
    # Requests that have waited for a gathered read of their users arrive here together.
    return GatheredReads(read, in_flight=2, turns=1)


def _authority_of(settings: Settings) -> Authority | None:
    """The authority of a server with users, whose database `App.start` opens."""
    if settings.auth is None:
        return None
    # Imported here to save start-up time: many servers have no users.
    from headrace.auth.build import user_authority

    return user_authority(settings)


def error_response(error: ApiError, retry_after_s: int | None = None) -> Response:
    """An `ApiError` as the answer that MLflow's clients expect."""
    headers = [("retry-after", str(retry_after_s))] if retry_after_s is not None else None
    return Response(
        codec.encode_error(error), status=error.status, content_type=JSON, headers=headers
    )
