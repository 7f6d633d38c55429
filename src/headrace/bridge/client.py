"""A small HTTP/1.1 client for one server on loopback, with keep-alive and streamed bodies."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import httptools

from headrace.bridge.gate import HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READ_BYTES: Final = 256 << 10
MAX_IDLE: Final = 16  # kept-alive connections
# Below stock's keep-alive timeout, so that it does not close a reused connection.
IDLE_S: Final = 30.0
PROBE_TIMEOUT_S: Final = 5.0


class Connection:
    """One connection; one exchange at a time: `send_head`, `send`, then `head`, then `chunks`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.idle_since_s = 0.0
        self.was_kept = False  # has carried an exchange before this one
        self._begin()

    def _begin(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)  # untyped package
        self._parts: deque[bytes] = deque()
        self.headers: list[tuple[str, str]] = []
        self._has_head = False
        self._complete = False
        self.answered = False  # whether a byte of the answer has arrived

    # parser callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # an interim answer; the final one follows
            self.headers.clear()
            return
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self._complete = self._has_head

    # the exchange

    async def send(self, data: bytes) -> None:
        """Write, and wait while the server reads slowly."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> int:
        """The status of the answer; then `headers` holds its headers. May raise ConnectionError."""
        while not self._has_head:
            await self._feed()
        status: int = self._parser.get_status_code()
        return status

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ConnectionError when it is incomplete."""
        while True:
            while self._parts:
                yield self._parts.popleft()
            if self._complete:
                return
            await self._feed()

    async def _feed(self) -> None:
        data = await self._reader.read(READ_BYTES)
        if not data:
            # A body without a length ends with the connection.
            lengths = ("content-length", "transfer-encoding")
            if self._has_head and not any(name in lengths for name, _ in self.headers):
                self._complete = True
                return
            raise ConnectionError("MLflow closed the connection during an answer")
        self.answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            raise ConnectionError(f"MLflow sent invalid HTTP: {exc}") from exc

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return (
            self._complete
            and self._parser.should_keep_alive()
            and not self._reader.at_eof()
            and not self._writer.is_closing()
        )

    def restart(self) -> None:
        """Prepare the next exchange."""
        self.was_kept = True
        self._begin()

    def close(self) -> None:
        """Close the connection immediately."""
        self._writer.transport.abort()


class Pool:
    """Connections to 127.0.0.1:`port`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[Connection] = []

    async def take(self, *, fresh: bool = False) -> Connection:
        """A connection for exclusive use. Raises OSError when nothing listens on the port."""
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.reusable and monotonic() - connection.idle_since_s < IDLE_S:
                connection.restart()
                return connection
            connection.close()
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port))

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for another exchange, or close it."""
        if connection.reusable and len(self._idle) < MAX_IDLE:
            connection.idle_since_s = monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()


async def is_healthy(port: int, prefix: str, secret: str) -> bool:
    """Whether GET /health on the port returns 200."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            connection = await Pool(port).take()
            try:
                await connection.send(
                    f"GET {prefix}/health HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
                    f"{HEADER}: {secret}\r\n\r\n".encode()
                )
                return await connection.head() == 200
            finally:
                connection.close()
    return False
