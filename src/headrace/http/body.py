"""The body of a request that its route reads as a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.http.server import Connection

HIGH_WATER_BYTES: Final = 256 << 10  # of what its reader has not taken yet


class Body:
    """The body of a streamed request: the protocol feeds it, the route reads it, back-pressure in between."""

    __slots__ = ("_chunks", "_connection", "_lost", "_size", "_waiter", "ended")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self.ended = False
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > HIGH_WATER_BYTES:
            self._connection.pause()
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def lose(self) -> None:
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            if self._chunks:
                chunk = self._chunks.popleft()
                self._size -= len(chunk)
                if self._size <= HIGH_WATER_BYTES // 2:
                    self._connection.unpause()
                yield chunk
            elif self.ended:
                return
            elif self._lost:
                raise ConnectionResetError("the client went away in the middle of its body")
            else:
                self._connection.want_body()
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
