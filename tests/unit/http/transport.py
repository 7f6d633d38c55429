"""A scripted client connection: tests deliver bytes, the transport records output, and the app has scripted answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from headrace.api.route import Raw, Route
from headrace.auth.rules import OPEN
from headrace.contract.errors import ApiError
from headrace.contract.scalars import Empty  # noqa: TC001 the annotation of `handle` is read
from headrace.http.app import error_response
from headrace.http.connection import Connection
from headrace.http.limits import STREAM_BYTES, Budget, Limits
from headrace.http.messages import Request, Response
from headrace.http.router import Router
from headrace.http.server import Server
from headrace.monitor.monitor import layout_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.http.app import App


async def handle(req: Empty, ctx: Any) -> None:
    """A placeholder; the app below answers instead."""


# A route that gathers its body and writes, one that gathers and reads, one that streams.
WRITE = "/write"
SEARCH = "/search"
STREAM = "/stream"
ROUTES = (
    Route("POST", WRITE, handle, OPEN),
    Route("POST", SEARCH, handle, OPEN),
    Raw("POST", STREAM, handle, OPEN),
)


class ScriptedApp:
    """Answers each request by `answers[path]`, or with its method, path and body."""

    def __init__(self, budget: int = 256 << 20) -> None:
        self.budget = Budget(budget)
        self.router = Router(ROUTES, layout_of(ROUTES).cells)
        self.answers: dict[str, Callable[[Request], Awaitable[Response]]] = {}
        self.seen: list[str] = []
        self.failures: list[Exception] = []

    def route(self, request: Request) -> None:
        """As `App.route`."""
        found = self.router.find(request.method, request.path)
        if found is not None:
            request.endpoint, request.path_args = found

    def held_bytes(self, request: Request, length: int | None) -> int:
        """As `App.held_bytes`."""
        return STREAM_BYTES if length is None else min(length, STREAM_BYTES)

    async def dispatch(self, request: Request) -> Response:
        """As `App.dispatch`."""
        self.seen.append(f"{request.method} {request.target}")
        if request.path in self.answers:
            return await self.answers[request.path](request)
        try:
            body = await request.body()
        except ApiError as error:
            return error_response(error, error.retry_after_s)
        return Response(f"{request.method} {request.target} {body.decode()}".encode())

    def reject_overload(self) -> Response:
        """As `App.reject_overload`."""
        return Response(b"busy", status=429)

    def log_failure(self, request: Request, error: Exception, when: str = "") -> None:
        """As `App.log_failure`."""
        self.failures.append(error)


class Transport:
    """A transport that records the output of a connection and whether it reads."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True
        self.ended: str | None = None  # how, if it has ended
        self.unsent = 0  # bytes that the client has not taken

    def get_extra_info(self, name: str) -> Any:
        """The address of the client."""
        return ("192.0.2.1", 4711)

    def write(self, data: bytes) -> None:
        """Keep what is written."""
        assert self.ended is None, "written after the end"
        self.written += data

    def write_eof(self) -> None:
        """The server has said all."""
        self.ended = "eof"

    def close(self) -> None:
        """Close when all is sent."""
        self.ended = "closed"

    def abort(self) -> None:
        """Close at once."""
        self.ended = self.ended or "aborted"

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called."""
        return self.ended in ("closed", "aborted")

    def pause_reading(self) -> None:
        """Deliver no more."""
        self.reading = False

    def resume_reading(self) -> None:
        """Deliver again."""
        self.reading = True

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has not taken."""
        return self.unsent


class Client:
    """One connection to a scripted app."""

    def __init__(self, app: ScriptedApp | None = None, limits: Limits | None = None) -> None:
        self.app = app or ScriptedApp()
        self.server = Server(cast("App", self.app), limits)
        self.transport = Transport()
        self.connection = Connection(self.server)
        self.connection.connection_made(self.transport)

    async def send(self, data: bytes) -> bytes:
        """Deliver bytes in one piece; the output until the event loop is idle."""
        self.connection.data_received(data)
        return await self.settle()

    async def settle(self) -> bytes:
        """The output since the last call, when the event loop is idle."""
        for _ in range(20):
            await asyncio.sleep(0)
        written, self.transport.written = self.transport.written, b""
        return written

    async def leave(self) -> None:
        """Disconnect."""
        self.transport.abort()
        self.connection.connection_lost(None)
        await self.settle()


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    """A POST with a Content-Length."""
    lines = [f"POST {path} HTTP/1.1", "Host: a", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def get(path: str, *headers: str) -> bytes:
    """A GET."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *headers, "", ""]).encode()


def chunked(path: str, *chunks: bytes, trailers: str = "") -> bytes:
    """A POST in chunks."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + pieces + b"0\r\n" + trailers.encode() + b"\r\n"


def bodies(written: bytes) -> list[bytes]:
    """The bodies of the answers that were written, each of which has a Content-Length."""
    found = []
    while written:
        head, _, written = written.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        found.append(written[:length])
        written = written[length:]
    return found
