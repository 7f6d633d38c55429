"""HTTP/1.1 on an event loop: httptools parses, this file frames, `App` answers.

One request at a time per connection, in order: what a pipelining client sends on waits its turn. Bodies of JSON
routes are gathered before the route runs; `Raw` routes stream theirs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import httptools

from headrace.errors import ApiError, ErrorCode, overloaded
from headrace.http.app import error_response
from headrace.http.body import Body
from headrace.http.bounds import Limits
from headrace.http.messages import Request, Response, StreamingResponse

if TYPE_CHECKING:
    import socket

    from headrace.http.app import App

MAX_HEAD_BYTES: Final = 64 << 10  # request line and headers together
# Of a body that no route wants: read, so that the connection goes on.
SKIPPED_BYTES: Final = 64 << 10
MAX_PIPELINED: Final = 16  # requests that wait on one connection before it is read no further
LEAST_PROGRESS_BYTES: Final = 16 << 10  # per `stall_timeout_s`: who is slower is cut off
SMALL_BODY_BYTES: Final = 64 << 10  # taken whatever is held already
SWEEP_S: Final = 1.0
# A draining server closes a connection that has been idle that long: the next request of a busy client may be on
# its way, and is answered with "connection: close".
LINGER_S: Final = 0.5
STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_answering",
        "_body",
        "_busy",
        "_closing",
        "_drained",
        "_expects_continue",
        "_fresh",
        "_head_bytes",
        "_headers",
        "_held",
        "_parser",
        "_parts",
        "_size",
        "_task",
        "_transport",
        "_unsent",
        "_url",
        "_waiting",
        "deadline",
        "idle_since",
        "peer",
        "server",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deadline = monotonic() + server.limits.head_timeout_s
        self.idle_since = monotonic()
        self.peer = ""
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._task: asyncio.Task[None] | None = None
        self._busy = False
        self._closing = False
        self._drained: asyncio.Future[None] | None = None
        self._unsent = 0  # bytes of the answer that the client had not taken when its time began
        self._held = 0  # bytes of gathered bodies whose requests are not answered yet
        self._waiting: deque[tuple[Request, bool, Body | None]] = deque()
        self._answering: Body | None = None  # the streamed body of the request being answered
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._fresh = 0  # bytes of the body since the client was given time
        self._head_bytes = 0
        self._body: Body | None = None
        self._expects_continue = False

    # transport callbacks

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self.server.connections.add(self)
        if len(self.server.connections) > self.server.limits.max_connections:
            self._refuse(503, "Too many connections.")

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self._closing = True
        self._release(self._held)
        for body in (self._answering, self._body):
            if body is not None:
                body.lose()
        # They hold this connection: without cycles all go now, not when the collector looks (3 kB a connection).
        self._parser = self._body = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError("the client went away"))

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "This server speaks HTTP/1.1 only.")
        except httptools.HttpParserError as error:
            if not self._closing:
                self._refuse(400, f"Malformed HTTP request: {error}")

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()
        self._unsent = self._transport.get_write_buffer_size()
        self._give_time(self.server.limits.stall_timeout_s)

    def resume_writing(self) -> None:
        if not self._closing:
            self.deadline = float("inf")
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # parser callbacks

    def on_message_begin(self) -> None:
        self._begin()
        if not self._busy:
            self._give_time(self.server.limits.head_timeout_s)

    def _give_time(self, seconds: float) -> None:
        """The client has this long to send the next piece of its request, or to take one of its answer."""
        self.deadline = monotonic() + seconds

    def _note_progress(self, size: int) -> None:
        """A piece of a body came: a client that goes on sending is given more time, one that trickles is not."""
        self._fresh += size
        if self._fresh >= LEAST_PROGRESS_BYTES and (
            not self._busy or self._body is self._answering is not None
        ):
            self._fresh = 0
            self._give_time(self.server.limits.stall_timeout_s)

    def _release(self, size: int) -> None:
        size = min(size, self._held)
        self._held -= size
        self.server.held_bytes -= size

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > MAX_HEAD_BYTES:
            self._refuse(414, "The request target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, "The request headers are too large.")
            return
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        if self._closing:
            return
        method = self._parser.get_method().decode("latin-1")
        path, _, query = self._url.decode("latin-1").partition("?")
        expects = self._headers.get("expect")
        self._expects_continue = expects is not None and expects.lower() == "100-continue"
        if not self._busy:
            self._give_time(self.server.limits.stall_timeout_s)
        length = int(self._headers.get("content-length") or 0)
        if self.server.app.streams_body(method, path):
            self._body = Body(self)
            if self._expects_continue and not self._busy:
                self.deadline = float("inf")  # the client waits for the route to read
            request = self._request(method, path, query, receive=self._body.chunks)
            self._accept(request, self._body)
        elif length > self.server.limits.body_bytes:
            self._refuse(413, "The request body is too large.")
        elif not self.server.has_room(length, length):
            self._refuse(503, "Too many long requests at once. Please try again.")
        else:
            self.want_body()

    def want_body(self) -> None:
        """Tell a client that waits for permission (Expect: 100-continue) to send its body."""
        if self._expects_continue and not self._transport.is_closing():
            self._expects_continue = False
            self._transport.write(CONTINUE)
            if not self._busy or self._answering is not None:
                self._give_time(self.server.limits.stall_timeout_s)

    def on_body(self, chunk: bytes) -> None:
        if self._closing:
            return
        self._note_progress(len(chunk))
        if self._body is not None:
            self._body.feed(chunk)
            return
        self._size += len(chunk)
        self._held += len(chunk)
        self.server.held_bytes += len(chunk)
        if self._size > self.server.limits.body_bytes:
            self._refuse(413, "The request body is too large.")
        elif not self.server.has_room(self._size):
            self._refuse(503, "Too many long requests at once. Please try again.")
        else:
            self._parts.append(chunk)

    def on_message_complete(self) -> None:
        if self._closing:
            return
        if self._body is not None:
            self._body.end()
            self.deadline = float("inf")
            return
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode("latin-1")
        self._accept(self._request(method, path, query, body=body), None)

    # answering

    def _request(self, method: str, path: str, query: str, **body: Any) -> Request:
        return Request(
            method,
            unquote(path) if "%" in path else path,
            query,
            self._headers,
            target=self._url.decode("latin-1"),
            client=self.peer,
            **body,
        )

    def _accept(self, request: Request, body: Body | None) -> None:
        keep_alive = self._parser.should_keep_alive()
        if self._busy:
            self._waiting.append((request, keep_alive, body))
            if len(self._waiting) >= MAX_PIPELINED:
                self.pause()
            return
        self._busy = True
        if body is None:
            self.deadline = float("inf")
        self._task = self.server.loop.create_task(self._answer(request, keep_alive, body))

    async def _answer(self, request: Request, keep_alive: bool, body: Body | None) -> None:
        self._answering = body
        self.server.in_flight += 1
        try:
            response = await self._response(request, body)
            keep_alive = keep_alive and not self.server.draining
            keep_alive = await self._is_read(request, body) and keep_alive
            await self._send(request, response, keep_alive)
        except ConnectionResetError:
            keep_alive = False
        finally:
            self.server.in_flight -= 1
        if self._transport.is_closing():
            return
        if not keep_alive:
            self._close()
        elif self._waiting:
            self._task = self.server.loop.create_task(self._answer(*self._waiting.popleft()))
        else:
            self._busy = False
            self._task = self._answering = None
            self.unpause()
            self._give_time(self.server.limits.keep_alive_s)
            self.idle_since = monotonic()

    async def _response(self, request: Request, body: Body | None) -> Response:
        """The answer, or 503 when too many are in the making. Streams have bounds of their own."""
        server = self.server
        if body is not None:
            return await server.app.answer(request)
        if server.gathered >= server.limits.in_flight:
            self._release(request.size)
            return server.app.turn_away()
        server.gathered += 1
        try:
            return await server.app.answer(request)
        finally:
            server.gathered -= 1
            self._release(request.size)

    async def _is_read(self, request: Request, body: Body | None) -> bool:
        """Whether another request can follow this one's body. A small rest that no route wanted is taken.

        Else the answer says that the connection closes: a client would send its next request into the void.
        """
        if body is None or body.ended:
            return True
        size = request.headers.get("content-length", "")
        if self._expects_continue or not size.isdigit() or int(size) > SKIPPED_BYTES:
            return False
        async for _ in body.chunks():
            pass
        return True

    async def _send(self, request: Request, response: Response, keep_alive: bool) -> None:
        if isinstance(response, StreamingResponse):
            try:
                await self._send_chunks(request, response, keep_alive)
            finally:
                await _close_chunks(response)
        elif not self._transport.is_closing():
            body = b"" if request.method == "HEAD" else response.body
            self._transport.write(self._head(response, len(response.body), keep_alive) + body)
            if self._drained is not None:
                await self._drained

    async def _send_chunks(
        self, request: Request, response: StreamingResponse, keep_alive: bool
    ) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        chunked = response.length is None
        transport.write(self._head(response, response.length, keep_alive))
        if request.method == "HEAD":
            return
        try:
            async for chunk in response.chunks:
                if chunk:
                    transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                if self._drained is not None:
                    await self._drained
                if transport.is_closing():
                    raise ConnectionResetError("the client went away")
        except ConnectionResetError:
            raise
        except Exception as error:  # noqa: BLE001 it is logged, without its text
            # The head is sent: all that is left to say is that the body is not whole.
            self.server.app.note_failure(request, error, " in the middle of its answer")
            transport.abort()
            raise ConnectionResetError("the answer broke off") from None
        if chunked:
            transport.write(b"0\r\n\r\n")

    def _head(self, response: Response, length: int | None, keep_alive: bool) -> bytes:
        lines = [STATUS_LINES.get(response.status, b"HTTP/1.1 %d Unknown\r\n" % response.status)]
        for name, value in response.headers:
            lines.append(f"{name}: {value}\r\n".encode("latin-1"))
        lines.append(self.server.date_line)
        if length is None:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif response.status not in (204, 304):
            lines.append(b"content-length: %d\r\n" % length)
        lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer a request that cannot be read, and close."""
        if self._transport.is_closing():
            self._closing = True
            return
        error = overloaded(sentence) if status == 503 else ApiError(ErrorCode.BAD_REQUEST, sentence)
        response = error_response(error, error.retry_after_s)
        response.status = status
        self._transport.write(self._head(response, len(response.body), False) + response.body)
        self._close()

    def _close(self) -> None:
        """Close once the client has taken what was sent to it; the sweep ends one that does not."""
        self._closing = True
        self._give_time(self.server.limits.close_timeout_s)
        self._transport.close()

    def pause(self) -> None:
        """Stop reading from the client; the time it takes is ours."""
        self.deadline = float("inf")
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def unpause(self) -> None:
        """Read from the client again; if it was paused in the middle of a body, its time begins anew."""
        if not self._transport.is_closing():
            self._transport.resume_reading()
            body = self._answering
            if self.deadline == float("inf") and body is not None and not body.ended:
                self._give_time(self.server.limits.stall_timeout_s)

    def expire(self) -> None:
        """The deadline has passed: the client is idle, or neither sends nor takes what is due."""
        if self._drained is not None and not self._closing:
            unsent = self._transport.get_write_buffer_size()
            if self._unsent - unsent >= LEAST_PROGRESS_BYTES:
                self._unsent = unsent
                self._give_time(self.server.limits.stall_timeout_s)
                return
        if self._busy or self._closing:
            self._transport.abort()
        else:
            self._close()

    def end_if_idle(self) -> None:
        """Close a connection that has had no request in progress for a moment."""
        if not self._busy and not self._closing and monotonic() - self.idle_since > LINGER_S:
            self._close()


async def _close_chunks(response: StreamingResponse) -> None:
    close = getattr(response.chunks, "aclose", None)
    if close is not None:
        await close()


class Server:
    """Serves an `App` on listening sockets until told to drain."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = limits or Limits()
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.in_flight = 0
        self.gathered = 0  # of these, requests with their whole body in memory
        self.held_bytes = 0  # of such bodies, those still on their way included
        self.draining = False
        self.date_line = b""
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, sock: socket.socket) -> None:
        """Begin to accept on a bound socket."""
        self._tick()
        self._servers.append(
            await self.loop.create_server(lambda: Connection(self), sock=sock, backlog=2048)
        )
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())

    def has_room(self, size: int, to_come: int = 0) -> bool:
        """Whether a body of `size` bytes may be held, `to_come` of them not yet here; short ones always may."""
        return size <= SMALL_BODY_BYTES or self.held_bytes + to_come <= self.limits.held_bytes

    def _tick(self) -> None:
        self.date_line = f"date: {formatdate(time(), usegmt=True)}\r\n".encode()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._tick()
            now = monotonic()
            for connection in [c for c in self.connections if c.deadline < now]:
                connection.expire()

    async def drain(self, limit_s: float) -> bool:
        """Stop accepting, finish what is in flight within `limit_s`; whether all of it finished.

        An answer is finished when the client has taken it.
        """
        self.draining = True
        for server in self._servers:
            server.close()
        until = monotonic() + limit_s
        while True:
            for connection in list(self.connections):
                connection.end_if_idle()
            if not self.connections or monotonic() > until:
                break
            await asyncio.sleep(0.02)
        if self._sweeper is not None:
            self._sweeper.cancel()
        return not self.in_flight
