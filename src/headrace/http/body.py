"""The body of a request whose route reads it as a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from io import BytesIO
from typing import TYPE_CHECKING, Final, Protocol

from headrace.http.limits import UNREAD_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Shorter pieces are joined while they wait: a `bytes` object of two bytes takes fifty.
SHORT_BYTES: Final = 1 << 10


class Source(Protocol):
    """The source of a body."""

    def pause(self) -> None:
        """Pause delivery."""

    def unpause(self) -> None:
        """Resume delivery."""

    def want_body(self) -> None:
        """Note that the reader waits for more."""


class Body:
    """The body of a streamed request.

    The protocol feeds it and the route reads it, with back-pressure.
    """

    __slots__ = ("_chunks", "_failure", "_size", "_source", "_waiter", "ended")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chunks: deque[bytes | bytearray] = deque()
        self._size = 0
        self.ended = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, chunk: bytes) -> None:
        """Append a piece."""
        chunks = self._chunks
        if len(chunk) > SHORT_BYTES:
            chunks.append(chunk)
        elif chunks and type(chunks[-1]) is bytearray:
            chunks[-1] += chunk
        else:
            chunks.append(bytearray(chunk))
        self._size += len(chunk)
        if self._size > UNREAD_BYTES:
            self._source.pause()
        self._wake()

    def end(self) -> None:
        """Note that the body is complete."""
        self.ended = True
        self._wake()

    def fail(self, failure: Exception) -> None:
        """Note that the body is incomplete: the next read raises `failure`."""
        self._failure = failure
        self._wake()

    @property
    def failed(self) -> bool:
        """Whether the body is incomplete."""
        return self._failure is not None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces as they arrive. Raises ConnectionResetError when the client leaves early."""
        while True:
            if self._chunks:
                chunk = self._chunks.popleft()
                self._size -= len(chunk)
                if self._size <= UNREAD_BYTES // 2:
                    self._source.unpause()
                yield bytes(chunk)
                del chunk
            elif self.ended:
                return
            elif self._failure is not None:
                failure, self._failure = self._failure, ConnectionResetError()
                try:
                    raise failure
                finally:
                    del failure
            else:
                self._source.want_body()
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter


def gathered(so_far: bytes | BytesIO, chunk: bytes) -> bytes | BytesIO:
    """Append a piece to a body.

    The result takes only the memory of its bytes, even for tiny pieces.
    """
    if not so_far:
        return chunk
    if isinstance(so_far, bytes):
        first, so_far = so_far, BytesIO()
        so_far.write(first)
    so_far.write(chunk)
    return so_far


def whole(body: bytes | BytesIO) -> bytes:
    """The gathered body, without copying it."""
    return body if isinstance(body, bytes) else body.getvalue()
