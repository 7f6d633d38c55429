"""One client connection: reads requests one at a time, answers them, and writes in one place.

While a request is being answered no later bytes are parsed: those of a pipelining client are kept,
and reading pauses. So an error or `100 Continue` can never precede or interrupt another answer.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError, ErrorCode, overloaded
from headrace.http import head as heads
from headrace.http.app import error_response
from headrace.http.body import Body, gathered, whole
from headrace.http.limits import (
    LEAST_PROGRESS_BYTES,
    SMALL_BYTES,
    TOO_MANY_LONG,
    Account,
)
from headrace.http.messages import Request, Response, StreamingResponse, TooLong
from headrace.http.output import CONNECTION_LOST, Output
from headrace.http.parse import Parser, RejectedRequest

if TYPE_CHECKING:
    from io import BytesIO

    from headrace.http.server import Server

# Unread bodies up to this size are drained, so that the connection can be used again.
SKIPPED_BYTES: Final = 64 << 10
# A draining server closes a connection that has been idle for so long. A busy client may already
# have sent its next request, which gets an answer with "connection: close".
LINGER_S: Final = 0.5
FOREVER: Final = float("inf")


class State(Enum):
    """The state of a connection. HEAD and BODY: receiving a request that is not being answered yet."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWERING = auto()  # the body of a streamed request may still be arriving
    CLOSING = auto()  # the last answer is written; further bytes of the client are dropped


IDLE, HEAD, BODY, ANSWERING, CLOSING = State  # a look-up in the class costs five times as much


class Connection(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_account",
        "_at",
        "_body",
        "_fresh",
        "_gathered",
        "_max_bytes",
        "_output",
        "_parser",
        "_request",
        "_rest",
        "_size",
        "_state",
        "_task",
        "_transport",
        "deadline",
        "idle_since",
        "server",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.deadline = monotonic() + server.limits.head_timeout_s
        self.idle_since = monotonic()
        self._state = IDLE
        self._account = Account(server.app.budget)
        self._parser = Parser(self)
        self._transport: Any = None
        self._output: Output
        self._task: asyncio.Task[None] | None = None
        self._rest = b""  # bytes after the request being answered, from `_at` on
        self._at = 0
        self._begin_request()

    def _begin_request(self) -> None:
        self._request: Request | None = None
        self._body: Body | None = None
        self._gathered: bytes | BytesIO = b""
        self._size = 0  # received bytes of the body
        self._max_bytes: int | None = None  # of the body, where the route has a limit
        self._fresh = 0  # received bytes since the deadline was extended

    # transport callbacks

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._output = Output(transport, self.server.app.budget)
        peer = transport.get_extra_info("peername")
        self._parser.client = peer[0] if isinstance(peer, tuple) else ""
        self.server.connections.add(self)
        if len(self.server.connections) > self.server.limits.max_connections:
            self._fail(overloaded("Too many connections."))
            self._transport.close()  # do not wait for a client beyond the limit

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self._account.close()
        self._output.lose()
        lost = ConnectionResetError(CONNECTION_LOST)
        if self._body is not None:
            self._body.fail(lost)
        endpoint = self._request.endpoint if self._request is not None else None
        if self._task is not None and endpoint is not None and endpoint.route.only_reads:
            self._task.cancel()  # a read has no client any more; a write continues, it may be committed already
        self._state = CLOSING
        self._rest = b""
        self._parser.close()
        self._body = self._task = None

    def data_received(self, data: bytes) -> None:
        body = self._body
        if self._state is CLOSING or (body is not None and body.failed):
            return
        if self._parser.complete:
            self._keep_rest(self._rest[self._at :] + data, 0)
            return
        if self._state is IDLE:
            self._state = HEAD
            self._extend_deadline(self.server.limits.head_timeout_s)
        try:
            end = self._parser.feed(data)
        except (RejectedRequest, ApiError) as error:
            self._fail(error)
            return
        if self._parser.complete and self._body is None:
            self._end_gathered()
        if end < len(data):
            self._keep_rest(data, end)
        elif self._state is HEAD:  # incomplete, and held until it is complete
            self._account.take(len(data))
            if not self._account.admits(0):
                self._fail(overloaded(TOO_MANY_LONG))
        elif self._state is BODY:
            self.want_body()

    def pause_writing(self) -> None:
        self._output.pause()
        self._extend_deadline(self.server.limits.stall_timeout_s)

    def resume_writing(self) -> None:
        if self._state is ANSWERING:
            self.deadline = FOREVER
        self._output.resume()

    # reading

    def _keep_rest(self, data: bytes, at: int) -> None:
        """Keep the bytes after the request being answered, and pause reading."""
        self._account.take(len(data) - at - (len(self._rest) - self._at))
        self._rest, self._at = data, at
        if not self._account.admits(0):
            self._parser.keep_alive = False
            self._account.give(len(data) - at)
            self._rest, self._at = data[-1:], 0  # `_close` must know that there were more bytes
        self._transport.pause_reading()

    def _extend_deadline(self, seconds: float) -> None:
        """Give the client this time to send the next piece of its request, or to take one of its answer."""
        self.deadline = monotonic() + seconds

    # callbacks of the parser

    def begin(self, request: Request) -> None:
        """Find the route of a request whose head is complete, and decide how to receive its body."""
        self._request = request
        app, parser = self.server.app, self._parser
        app.route(request)
        length = parser.length
        if length == 0:
            return  # the request is complete
        if request.endpoint is None or request.endpoint.decoder is None:
            held = app.held_bytes(request, length)
            if not self._account.admits(held, held):
                raise overloaded(TOO_MANY_LONG)
            self._account.take(held)
            request.account = self._account
            self._body = Body(self)
            request.receive = self._body.chunks
            self._answering(self.server.loop.create_task(self._handle(request)))
            # A client that expects permission sends nothing before the route reads.
            if not parser.expects_continue:
                self._extend_deadline(self.server.limits.stall_timeout_s)
            return
        length = length or 0
        if length > self.server.limits.body_bytes:
            raise RejectedRequest(413, "The request body is too large.")
        self._max_bytes = request.endpoint.max_bytes
        if self._max_bytes is not None and length > self._max_bytes:
            raise TooLong(self._max_bytes)
        if not self._account.admits(length, length):
            raise overloaded(TOO_MANY_LONG)
        self._state = BODY
        self._extend_deadline(self.server.limits.stall_timeout_s)

    def take(self, chunk: bytes) -> None:
        """Receive a piece of the body."""
        size = len(chunk)
        self._parser.expects_continue = False  # the client did not wait for permission
        self._fresh += size
        if self._fresh >= LEAST_PROGRESS_BYTES and self._output.drained is None:
            # Only a client that sends fast enough gets more time.
            self._fresh = 0
            self._extend_deadline(self.server.limits.stall_timeout_s)
        if self._body is not None:
            self._body.feed(chunk)
            return
        self._account.take(size)
        self._size += size
        if self._size > self.server.limits.body_bytes:
            raise RejectedRequest(413, "The request body is too large.")
        if self._max_bytes is not None and self._size > self._max_bytes:
            raise TooLong(self._max_bytes)
        if not self._account.admits(self._size):
            raise overloaded(TOO_MANY_LONG)
        self._gathered = gathered(self._gathered, chunk) if self._gathered else chunk

    def end(self) -> None:
        """End a streamed body: the request is complete."""
        if self._body is not None:
            self._body.end()
            if self._output.drained is None:
                self.deadline = FOREVER

    def _end_gathered(self) -> None:
        """Answer a request that is complete in memory."""
        request = self._request
        assert request is not None, "a request ends after its head"
        body = self._gathered
        request.give_body(body if type(body) is bytes else whole(body))
        self._gathered = b""
        self._answering(self.server.loop.create_task(self._handle(request)))

    # the source of a streamed body

    def pause(self) -> None:
        """Stop reading from the client, without a deadline meanwhile."""
        if self._output.drained is None:
            self.deadline = FOREVER
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def unpause(self) -> None:
        """Read from the client again; after a pause within a body its time starts again."""
        if self._transport.is_closing() or self._rest:
            return
        self._transport.resume_reading()
        if self.deadline == FOREVER and not self._parser.complete:
            self._extend_deadline(self.server.limits.stall_timeout_s)

    def want_body(self) -> None:
        """Tell a client that waits for permission (Expect: 100-continue) to send its body."""
        if self._parser.expects_continue and not self._transport.is_closing():
            self._parser.expects_continue = False
            self._output.write(heads.CONTINUE)
            self._extend_deadline(self.server.limits.stall_timeout_s)

    # answering

    def _answering(self, task: asyncio.Task[None]) -> None:
        self._state = ANSWERING
        self.deadline = FOREVER
        self._task = task

    async def _handle(self, request: Request) -> None:
        server = self.server
        server.in_flight += 1
        answered = False
        try:
            endpoint = request.endpoint
            if self._body is not None or endpoint is None or endpoint.decoder is None:
                response = await server.app.dispatch(request)  # streams have separate limits
            elif server.gathered >= server.limits.in_flight:
                response = server.app.reject_overload()
            else:
                server.gathered += 1
                try:
                    response = await server.app.dispatch(request)
                finally:
                    server.gathered -= 1
            if self._body is not None:
                await self._finish_body(self._body)
            await self._send(request, response)
            answered = True
        except ConnectionResetError:
            pass  # the client is gone, or its answer failed midway
        except Exception as error:  # noqa: BLE001 it is logged, without its text
            server.app.log_failure(request, error, " while its answer was sent")
        finally:
            server.in_flight -= 1
            self._task = None
            self._account.close()
            if not answered:
                self._transport.abort()
        if answered and not self._transport.is_closing():
            self._next_request()

    async def _finish_body(self, body: Body) -> None:
        """Drain the rest of a body that the route did not read, so that another request can follow.

        After a large rest the answer announces that the connection closes, so that the client sends
        no further request on it.
        """
        parser = self._parser
        if body.ended:
            return
        if body.failed or parser.expects_continue or not 0 < (parser.length or 0) <= SKIPPED_BYTES:
            parser.keep_alive = False
            return
        try:
            async for _ in body.chunks():
                pass
        except ApiError:  # the rest is malformed
            parser.keep_alive = False

    async def _send(self, request: Request, response: Response) -> None:
        parser = self._parser
        parser.expects_continue = False  # from here on only the answer is written
        if self.server.draining:
            parser.keep_alive = False
        size = len(response.body)
        held = response.held_bytes if isinstance(response, StreamingResponse) else size
        if held > SMALL_BYTES:
            if not self._account.admits(held, held):
                refusal = self._overload_response(request)
                if refusal is not None:
                    await close_chunks(response)
                    response, size = refusal, len(refusal.body)
            elif isinstance(response, StreamingResponse):
                self._account.take(held)
        if isinstance(response, StreamingResponse):
            try:
                await self._send_chunks(request, response)
            finally:
                await close_chunks(response)
            return
        if request.method == "HEAD":
            self._output.write(self._head(response, size))
        elif size <= SMALL_BYTES:
            self._output.write(self._head(response, size) + response.body)
        else:  # avoids a second copy of a long body
            self._output.write(self._head(response, size))
            self._output.write(response.body)
        if self._output.drained is not None:
            await self._output.drained

    def _overload_response(self, request: Request) -> Response | None:
        """The answer to replace one that exceeds the budget; None if the request may have written."""
        if request.method in ("GET", "HEAD") or (
            request.endpoint is not None and request.endpoint.route.only_reads
        ):
            return self.server.app.reject_overload()
        return None

    async def _send_chunks(self, request: Request, response: StreamingResponse) -> None:
        parser = self._parser
        chunked = response.length is None and not parser.is_http_1_0
        if response.length is None and not chunked:
            parser.keep_alive = False  # the body ends with the connection
        self._output.write(self._head(response, response.length, chunked=chunked))
        if request.method == "HEAD":
            return
        async for chunk in response.chunks:
            if chunk:
                self._output.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            if self._output.drained is not None:
                await self._output.drained
        if chunked:
            self._output.write(b"0\r\n\r\n")

    def _head(self, response: Response, length: int | None, *, chunked: bool = True) -> bytes:
        return heads.head(
            response,
            length,
            self.server.date_line,
            keep_alive=self._parser.keep_alive,
            chunked=chunked,
        )

    def _next_request(self) -> None:
        """After an answer: close the connection, or continue with the next request."""
        if not self._parser.keep_alive:
            self._close()
            return
        if self._body is not None or self._rest:
            self._transport.resume_reading()
        self._begin_request()
        self._parser.restart()
        self._state = IDLE
        self.idle_since = now = monotonic()
        self.deadline = now + self.server.limits.keep_alive_s
        if self._rest:
            rest = self._rest[self._at :]
            self._rest, self._at = b"", 0
            self.data_received(rest)

    # ending

    def _fail(self, error: RejectedRequest | ApiError) -> None:
        """Answer a request that cannot be read any further, and close."""
        self._parser.keep_alive = False
        answer = (
            ApiError(ErrorCode.BAD_REQUEST, error.sentence)
            if isinstance(error, RejectedRequest)
            else error
        )
        if self._state is ANSWERING:
            assert self._body is not None, "only a streamed body is read during its answer"
            self._body.fail(answer)
            return
        response = error_response(answer, answer.retry_after_s)
        if isinstance(error, RejectedRequest):
            response.status = error.status
        if not self._transport.is_closing():
            self._output.write(self._head(response, len(response.body)) + response.body)
            self._close()

    def _close(self) -> None:
        """Close after the client has received the answer; the sweep ends a client that does not.

        Bytes that the client still sends are dropped: an immediate close would reset the connection
        before the client reads the answer.
        """
        self._state = CLOSING
        self.idle_since = monotonic()
        self._output.mark()
        self._extend_deadline(self.server.limits.close_timeout_s)
        if self._parser.complete and not self._rest:
            self._transport.close()
        else:
            self._transport.write_eof()
            self._transport.resume_reading()
        self._account.close()
        self._rest = self._gathered = b""

    def expire(self) -> None:
        """Handle a passed deadline: the client is idle, or too slow in sending or receiving."""
        is_taking = self._output.drained is not None or self._state is CLOSING
        if is_taking and self._output.has_advanced():
            self._extend_deadline(self.server.limits.stall_timeout_s)
            return
        if self._state in (ANSWERING, CLOSING):
            self._transport.abort()
        else:
            self._end()

    def end_if_idle(self) -> None:
        """Close a connection that has had no request in progress for a moment."""
        is_idle = self._state is not ANSWERING and not self._transport.is_closing()
        if is_idle and monotonic() - self.idle_since > LINGER_S:
            self._end()

    def _end(self) -> None:
        self._state = CLOSING
        self._extend_deadline(self.server.limits.close_timeout_s)
        self._transport.close()


async def close_chunks(response: Response) -> None:
    """Release the resources of a streamed answer."""
    close = getattr(getattr(response, "chunks", None), "aclose", None)
    if close is not None:
        await close()
