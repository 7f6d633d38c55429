"""One bridged request and its answer, both streamed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from headrace.bridge.gate import HEADER
from headrace.bridge.signature import signed
from headrace.contract.errors import ApiError, ErrorCode
from headrace.http.messages import Request, Response, StreamingResponse

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator

    from headrace.bridge.client import Connection, Pool

# Headers of one connection (RFC 9110 §7.6.1), and headers that this server sends itself.
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
NOT_PASSED_BACK: Final = HOP_BY_HOP | {
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "content-length",
    "date",
    "server",
    "x-content-type-options",
    "x-frame-options",
}
VARY_ORIGIN: Final = (("vary", "Origin"), ("vary", "Origin, Origin"))
# Answers up to this size are buffered, which frees their connection early.
WHOLE_BYTES: Final = 256 << 10


class BridgedExchange:
    """One request and its answer on one connection. `close` may be called at any time."""

    def __init__(
        self, request: Request, connection: Connection, pool: Pool, limit: int, secret: str
    ) -> None:
        self._request = request
        self._secret = secret
        self._connection = connection
        self._pool = pool
        self._limit = limit
        self._sender: asyncio.Task[None] | None = None
        self._status = 0
        self._length: int | None = None
        self._whole: bytes | None = None
        self._closed = False
        self.client_is_gone = False

    @property
    def has_body(self) -> bool:
        """Whether the client sends a body."""
        headers = self._request.headers
        return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

    @property
    def may_be_repeated(self) -> bool:
        """Whether a retry is safe: the request only reads, and MLflow had closed the idle connection."""
        asks_only = self._request.method in ("GET", "HEAD") and not self.has_body
        return asks_only and self._connection.was_kept and not self._connection.answered

    @property
    def is_short(self) -> bool:
        """Whether to buffer the body of the answer rather than stream it."""
        if self._request.method == "HEAD" or self._status in (204, 304):
            return True
        return self._length is not None and self._length <= WHOLE_BYTES

    async def begin(self) -> None:
        """Send the request and wait for the head of the answer; the body may still be sending."""
        if "transfer-encoding" in self._request.headers:
            # Most routes of stock ignore a body without a length.
            self._whole = await self._request.body(self._limit)
        await self._connection.send(self._head())
        head = asyncio.create_task(self._connection.head())
        self._sender = asyncio.create_task(self._send_body())
        try:
            await asyncio.wait({head, self._sender}, return_when=asyncio.FIRST_COMPLETED)
            failure = self._sender.exception() if self._sender.done() else None
            # MLflow may answer and close the connection before it has read the whole body.
            if failure is not None and (
                self.client_is_gone or not isinstance(failure, ConnectionError)
            ):
                raise failure
            self._status = await head
        finally:
            head.cancel()
        length = next((v for n, v in self._connection.headers if n == "content-length"), None)
        self._length = int(length) if length is not None else None

    def _head(self) -> bytes:
        request = self._request
        lines = [f"{request.method} {request.target} HTTP/1.1"]
        headers = {k: v for k, v in request.headers.items() if k not in HOP_BY_HOP}
        if self._whole is not None:
            headers["content-length"] = str(len(self._whole))
        # MLflow's assistant runs tools only for clients on this machine. Its server trusts these
        # headers from loopback, and all bridged requests come from there.
        came_through = headers.get("x-forwarded-for")
        client = request.client or "unknown"
        headers["x-forwarded-for"] = f"{came_through}, {client}" if came_through else client
        if not _is_loopback(client):
            headers["x-forwarded-proto"] = request.scheme
        else:
            headers.setdefault("x-forwarded-proto", request.scheme)
        # A client's own copy of this header is replaced.
        headers[HEADER] = self._secret
        if request.caller is not None:
            user = request.caller.name or ""
            headers[HEADER] = signed(self._secret, user, request.method, request.target)
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def _send_body(self) -> None:
        if self._whole is not None:
            await self._connection.send(self._whole)
        if self._whole is not None or not self.has_body:
            return
        size = 0
        stream = self._request.stream()
        while True:
            try:
                chunk = await anext(stream)
            except StopAsyncIteration:
                break
            except ConnectionError:
                self.client_is_gone = True
                raise
            size += len(chunk)
            if size > self._limit:
                raise ApiError(ErrorCode.BAD_REQUEST, f"Request body exceeds {self._limit} bytes")
            await self._connection.send(chunk)

    async def body(self) -> bytes:
        """The body of a short answer."""
        if self._request.method == "HEAD":
            return b""
        return b"".join([chunk async for chunk in self._connection.chunks()])

    def response(self, body: bytes) -> Response:
        """The answer with its body."""
        if self._request.method == "HEAD" and self._length is not None:
            return StreamingResponse(
                _nothing(),
                status=self._status,
                content_type=None,
                length=self._length,
                headers=self._passed_back(),
            )
        return Response(body, status=self._status, content_type=None, headers=self._passed_back())

    def stream(self, held: contextlib.AsyncExitStack) -> StreamingResponse:
        """The answer with a streamed body; `held` is closed at its end."""
        return StreamingResponse(
            Body(self._connection.chunks(), held),
            status=self._status,
            content_type=None,
            length=self._length,
            headers=self._passed_back(),
        )

    def _passed_back(self) -> list[tuple[str, str]]:
        return [
            (name, value)
            for name, value in self._connection.headers
            if name not in NOT_PASSED_BACK and (name, value) not in VARY_ORIGIN
        ]

    def close(self) -> None:
        """End the exchange; keep the connection if both messages are complete."""
        if self._closed:
            return
        self._closed = True
        sent = self._sender is not None and self._sender.done()
        if sent and self._request.method != "HEAD":
            self._pool.give_back(self._connection)
            return
        if self._sender is not None:
            self._sender.cancel()
        self._connection.close()


class Body:
    """The streamed body of an answer. It releases its resources at its end, or in `aclose`.

    Not a generator: a generator that never started would not run its cleanup.
    """

    def __init__(self, chunks: AsyncIterator[bytes], held: contextlib.AsyncExitStack) -> None:
        self._chunks = chunks
        self._held = held

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        chunk = None
        try:
            chunk = await anext(self._chunks)
            return chunk
        finally:
            if chunk is None:  # complete, or failed
                await self.aclose()

    async def aclose(self) -> None:
        """Stop reading."""
        await self._held.aclose()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")
