"""The body of a request whose route reads it as a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from io import BytesIO
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HIGH_WATER_BYTES: Final = 256 << 10  # unread bytes beyond which the source pauses


class Source(Protocol):
    """Where a body comes from."""

    def pause(self) -> None:
        """Deliver no more for now."""

    def unpause(self) -> None:
        """Deliver again."""

    def want_body(self) -> None:
        """The reader waits for more."""


class Body:
    """The body of a streamed request: the protocol feeds it, the route reads it, back-pressure in between."""

    __slots__ = ("_chunks", "_failure", "_size", "_source", "_waiter", "ended")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self.ended = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, chunk: bytes) -> None:
        """Append a piece."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > HIGH_WATER_BYTES:
            self._source.pause()
        self._wake()

    def end(self) -> None:
        """That was all."""
        self.ended = True
        self._wake()

    def fail(self, failure: Exception) -> None:
        """The rest will not come; whoever reads on gets `failure`."""
        self._failure = failure
        self._wake()

    @property
    def failed(self) -> bool:
        """Whether the rest will not come."""
        return self._failure is not None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces as they come. Raises ConnectionResetError when the client leaves in the middle."""
        while True:
            if self._chunks:
                chunk = self._chunks.popleft()
                self._size -= len(chunk)
                if self._size <= HIGH_WATER_BYTES // 2:
                    self._source.unpause()
                yield chunk
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
    """A body and one more piece of it. However small the pieces are, no more than their bytes is held."""
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
