"""The request log: one line per request, or per slow one. The module is loaded only when it is enabled.

A line names the route, never the path: paths and bodies contain names and values of users.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from headrace.auth.origins import origins_of
from headrace.commit.timed import TimedGroupCommit
from headrace.commit.timed_reads import TimedDatabase, TimedReads
from headrace.http import codec
from headrace.http.ids import REQUEST_ID, is_sane
from headrace.monitor.timing import Times, current, times

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.api.context import Context
    from headrace.commit.group import GroupCommit
    from headrace.commit.reads import BatchedReads, SharedReads
    from headrace.db.base import Database
    from headrace.http.messages import Request, Response
    from headrace.monitor.layout import Layout
    from headrace.settings.table import Settings

log = logging.getLogger(__name__)
NEVER_MS: Final = float("inf")


class RequestLog:
    """Logs requests, which `handle` answers."""

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        handle: Callable[[Request], Awaitable[Response]],
    ) -> None:
        self._settings = settings
        self._slow_ms = settings.slow_request_ms or NEVER_MS
        self._routes = {cell: path for (_, path), cell in layout.cells.items()}
        self._handle = handle
        self._origins = origins_of(settings)

    def timed(self, db: Database, writer: GroupCommit) -> tuple[Database, GroupCommit]:
        """Wraps the database and the queue (still empty), so that they measure times."""
        settings = self._settings
        timed = TimedDatabase(db)
        return timed, TimedGroupCommit(
            db, max_ops=settings.write_queue_operations, max_bytes=settings.write_queue_bytes
        )

    def time_reads(self, context: Context) -> None:
        """Measure the wait for reads that requests share."""
        context.shared = cast("SharedReads", TimedReads(context.shared))
        context.runs = cast("BatchedReads[Any, Any]", TimedReads(context.runs))

    def encode(self, value: Any) -> bytes:  # any Struct
        """As `codec.encode`, with its time measured."""
        began_s = perf_counter()
        body = codec.encode(value)
        times().encoding_s += perf_counter() - began_s
        return body

    async def dispatch(self, request: Request) -> Response:
        """The answer, with the request's id: that of the client if it is valid, else a new one."""
        began_s = perf_counter()
        given = request.headers.get(REQUEST_ID)
        request_id = given if given is not None and is_sane(given) else uuid4().hex
        request.headers[REQUEST_ID] = request_id  # `handle` adds it to the answer
        noted = Times()
        token = current.set(noted)
        try:
            response = await self._handle(request)
        finally:
            current.reset(token)
        elapsed_ms = (perf_counter() - began_s) * 1000
        if elapsed_ms >= self._slow_ms:
            self._write(logging.WARNING, "slow request", request, response, elapsed_ms, noted)
        elif self._settings.log_requests:
            self._write(logging.INFO, "request", request, response, elapsed_ms, noted)
        return response

    def _write(
        self,
        level: int,
        title: str,
        request: Request,
        response: Response,
        elapsed_ms: float,
        noted: Times,
    ) -> None:
        fields = {
            "request_id": request.headers[REQUEST_ID],
            "client": self._origins.address(request),
            "method": request.method,
            "route": self._routes[request.cell],
            "status": response.status,
            "bytes": len(response.body),
            "duration_ms": round(elapsed_ms, 2),
            "queue_ms": round(noted.queue_s * 1000, 2),
            "database_ms": round(noted.database_s * 1000, 2),
            "encoding_ms": round(noted.encoding_s * 1000, 2),
        }
        log.log(level, title, extra={"fields": fields})
