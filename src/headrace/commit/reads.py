"""Reads that many clients ask for at the same moment, asked of the database once.

Nothing is cached: an answer always comes from a read that began after its request arrived. Requests that
arrive while a read is under way wait for the next one, together, as writes do in the group commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from time import perf_counter
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
# Of the time that the last read took: who waits for the next one waits that much longer at the most.
PAUSE_SHARE: Final = 0.5
LONGEST_PAUSE_S: Final = 0.1
MAX_BATCH_KEYS: Final = 64  # keys per read; more wait for the next, so that no statement grows long


class _Line:
    """Who waits for the next read of a key; `full` is settled when all that may come have come."""

    __slots__ = ("expected", "full", "waiting")

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Any]] = []
        self.expected = 0
        self.full: asyncio.Future[None] | None = None

    def join(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        if self.full is not None and len(self.waiting) == self.expected:
            self.full.set_result(None)
        return future

    async def taken(self, pause_s: float) -> list[asyncio.Future[Any]]:
        """Those who wait, once `expected` do or the pause is over."""
        self.full = asyncio.get_running_loop().create_future()
        await asyncio.wait([self.full], timeout=pause_s)
        waiting, self.waiting, self.full = self.waiting, [], None
        return waiting


class SharedReads:
    """Identical reads (same `key`) that are wanted at once share one. Keys live only while they are in use.

    After a read that several waited for there is a pause, for those who ask again at once: else the first of them
    begins the next read alone, and the others wait for the one after that.
    """

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[V]]) -> V:
        """What `read()` returns. All callers that share a read get the same object: it must not be changed."""
        line = self._lines.get(key)
        if line is not None:
            found: V = await line.join()
            return found
        line = self._lines[key] = _Line()
        began_s = perf_counter()
        try:
            return await read()
        finally:
            self._go_on(key, read, 1, perf_counter() - began_s)

    def _go_on(
        self, key: Hashable, read: Callable[[], Awaitable[Any]], answered: int, took_s: float
    ) -> None:
        line = self._lines[key]
        line.expected = len(line.waiting) + answered
        if line.expected > 1:
            pause_s = min(LONGEST_PAUSE_S, PAUSE_SHARE * took_s)
            task = asyncio.get_running_loop().create_task(self._next(key, read, pause_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            del self._lines[key]

    async def _next(
        self, key: Hashable, read: Callable[[], Awaitable[Any]], pause_s: float
    ) -> None:
        waiting = await self._lines[key].taken(pause_s)
        if not waiting:
            del self._lines[key]
            return
        began_s = perf_counter()
        try:
            result = await read()
        except Exception as error:  # noqa: BLE001 every waiting caller gets it
            _settle(waiting, error=error)
        else:
            _settle(waiting, result=result)
        finally:
            self._go_on(key, read, len(waiting), perf_counter() - began_s)


def _settle(
    waiting: Sequence[asyncio.Future[Any]],
    *,
    result: Any = None,
    error: Exception | None = None,
) -> None:
    for future in waiting:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


class BatchedReads(Generic[K, V]):
    """Reads by key that are wanted at once become one read of many keys.

    `read(keys)` returns what it found, by key. `in_flight` reads may be at the database at once.
    """

    def __init__(
        self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, in_flight: int = 2
    ) -> None:
        self._read = read
        self._free = in_flight
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: K) -> V | None:
        """The value of `key`, or None when there is none."""
        if self._free:
            self._free -= 1
            try:
                return (await self._read([key])).get(key)
            finally:
                self._free += 1
                self._go_on()
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        return await future

    def _go_on(self) -> None:
        if self._waiting and self._free:
            self._free -= 1
            task = asyncio.get_running_loop().create_task(self._next())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _next(self) -> None:
        keys = list(self._waiting)[:MAX_BATCH_KEYS]
        taken = {key: self._waiting.pop(key) for key in keys}
        try:
            found = await self._read(keys)
        except Exception as error:  # noqa: BLE001 every waiting caller gets it
            for waiting in taken.values():
                _settle(waiting, error=error)
        else:
            for key, waiting in taken.items():
                _settle(waiting, result=found.get(key))
        finally:
            self._free += 1
            self._go_on()
