"""Forwards requests for routes that are not native to stock MLflow, if it has the route."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from headrace.auth.rules import ADMIN, ANYONE, OPEN, UNRULED
from headrace.bridge.client import Pool
from headrace.bridge.exchange import BridgedExchange
from headrace.bridge.package import incompatibility, installed
from headrace.bridge.routes import Table
from headrace.bridge.shared_state import SharedStates
from headrace.bridge.stock import StockProcess
from headrace.contract.errors import ApiError, ErrorCode, unavailable
from headrace.http.messages import Request, Response, html
from headrace.http.security import CROSS_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.auth.rules import Rule
    from headrace.bridge.package import Package
    from headrace.settings.table import Settings

log = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 200  # concurrent bridged requests of one process; further ones wait
WRONG_METHOD: Final = "The method is not allowed for the requested URL."


class Bridge:
    """The connection of one process to stock MLflow.

    `head` returns the database's schema revision at present. On a server with users, `users_head`
    is the revision of their database.
    """

    def __init__(
        self,
        settings: Settings,
        head: Callable[[], Awaitable[str]],
        states: SharedStates | None = None,
        users_head: str | None = None,
    ) -> None:
        self._settings = settings
        self._head = head
        self._users_head = users_head
        self._states = states or SharedStates()
        self._table = Table()
        self._plain = StockProcess(settings, self._states.plain, with_jobs=False)
        self._jobs = StockProcess(settings, self._states.jobs, with_jobs=True)
        self._pools: dict[int, Pool] = {}
        self._turn = asyncio.Semaphore(MAX_IN_FLIGHT)

    def route(self, request: Request) -> tuple[str, str]:
        """Method and path of the request's row in MLflow's table; an empty path without one."""
        method = "GET" if request.method == "HEAD" else request.method
        row = self._table.find(request.path)
        return method, row.paths.get(method, "") if row is not None else ""

    def rule(self, request: Request) -> Rule | None:
        """The rule to check before the request is forwarded; None when MLflow has no such route.

        A rule on the resources of a request is left to MLflow, which checks it too.
        """
        row = self._table.find(request.path)
        if row is None:
            return None
        method = "GET" if request.method == "HEAD" else request.method
        if method not in row.methods:
            return OPEN if method == "OPTIONS" else UNRULED
        return ADMIN if row.rules.get(method) is ADMIN else ANYONE

    async def forward(self, request: Request, *, foreign: bool = False) -> Response | None:
        """The answer of stock MLflow; None when it has no such route.

        On a server with users, the request's caller has been checked.

        `foreign`: the request comes from a page of another origin. It gets 403, because otherwise
        an image on any page could start MLflow.

        Errors: NOT_IMPLEMENTED (501) when mlflow is not installed, does not fit the database, or
        does not start; TEMPORARILY_UNAVAILABLE (503) when it ends during a request.
        """
        row = self._table.find(request.path)
        if row is None:
            return None
        method = "GET" if request.method == "HEAD" else request.method
        if method not in row.methods:
            return _wrong_method(request.method, row.methods)
        if foreign:
            log.warning("rejected a %s from a page of another origin", request.method)
            return Response(CROSS_ORIGIN, status=403, content_type="text/plain")
        package = await asyncio.to_thread(installed)
        reason = incompatibility(package, await self._head(), self._users_head)
        if not self._settings.bridge:
            reason = "MLflow itself serves this route, and headrace runs with --no-bridge."
        if package is not None and not row.serves(method, package.version):
            return None
        if package is None or reason is not None:
            raise ApiError(ErrorCode.NOT_IMPLEMENTED, reason or "")
        self._check_length(request)
        stock = self._jobs if method in row.job_methods else self._plain
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(self._turn)
            ticker = asyncio.create_task(stock.keep_in_use())
            held.callback(ticker.cancel)
            exchange = await self._exchange(request, stock, package)
            held.callback(exchange.close)
            if exchange.is_short:
                return exchange.response(await exchange.body())
            # The sender of the answer closes it, and with it all resources held here.
            return exchange.stream(held.pop_all())

    def running(self) -> tuple[bool, bool]:
        """Whether MLflow runs, without job runners and with them."""
        return bool(self._states.plain.port), bool(self._states.jobs.port)

    async def close(self) -> None:
        """Close the connections of this process. MLflow ends with the last process of the server."""
        for pool in self._pools.values():
            pool.close()
        self._states.close()

    def _check_length(self, request: Request) -> None:
        limit = self._settings.max_body_bytes
        if int(request.headers.get("content-length") or 0) > limit:
            raise ApiError(ErrorCode.BAD_REQUEST, f"Request body exceeds {limit} bytes")

    async def _exchange(
        self, request: Request, stock: StockProcess, package: Package
    ) -> BridgedExchange:
        """Send the request; returns when the head of the answer has arrived."""
        why = f"{request.method} {request.path}"
        port = await stock.port(package, why)
        for attempt in (1, 2, 3):
            pool = self._pools.setdefault(port, Pool(port))
            try:
                connection = await pool.take(fresh=attempt > 1)
            except OSError:  # MLflow stopped because it was idle, or it crashed
                pool.close()
                self._pools.pop(port, None)
                port = await stock.port(package, why, not_port=port)
                continue
            limit = self._settings.max_body_bytes
            exchange = BridgedExchange(request, connection, pool, limit, stock.secret)
            with contextlib.ExitStack() as unless_begun:
                unless_begun.callback(exchange.close)
                try:
                    await exchange.begin()
                except ConnectionError as exc:
                    if exchange.may_be_repeated:
                        continue
                    if exchange.client_is_gone:
                        raise
                    log.error("MLflow ended while it answered %s: %s", why, exc)
                    raise _ended() from exc
                unless_begun.pop_all()
                return exchange
        raise _ended()


def _wrong_method(method: str, known: frozenset[str]) -> Response:
    allowed = {*known, "OPTIONS"} | ({"HEAD"} if "GET" in known else set())
    allow = ("allow", ", ".join(sorted(allowed)))
    if method == "OPTIONS":
        return Response(status=204, content_type=None, headers=[allow])
    response = html(405, "Method Not Allowed", WRONG_METHOD)
    response.headers.append(allow)
    return response


def _ended() -> ApiError:
    return unavailable("MLflow, which serves this route, ended during the request.")
