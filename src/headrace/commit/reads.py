"""Merges equal reads of several clients into one read of the database.

Nothing is cached: an answer always comes from a read that began after its request arrived. Requests
that arrive during a read share the next one, as writes do in the group commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from time import perf_counter
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
# The longest pause before a shared read, as a share of the duration of the last one.
PAUSE_SHARE: Final = 0.5
LONGEST_PAUSE_S: Final = 0.1
# Keys per read, which bounds the statement; further keys wait for the next read.
MAX_BATCH_KEYS: Final = 64


class _WaitingCallers:
    """The callers that wait for the next read of a key; `full` is set when the expected number waits."""

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

    async def take(self, pause_s: float) -> list[asyncio.Future[Any]]:
        """The waiting callers, as soon as `expected` wait or the pause is over."""
        self.full = asyncio.get_running_loop().create_future()
        await asyncio.wait([self.full], timeout=pause_s)
        waiting, self.waiting, self.full = self.waiting, [], None
        return waiting


class SharedReads:
    """Lets concurrent identical reads (of the same `key`) share one. Keys exist only while they are in use.

    A pause follows each shared read, since its callers often read again immediately. Without it the
    first of them would begin the next read alone, and the others would wait for the one after that.
    """

    def __init__(self) -> None:
        self._callers: dict[Hashable, _WaitingCallers] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[V]]) -> V:
        """The result of `read()`. All callers of a shared read get the same object and must not change it."""
        callers = self._callers.get(key)
        if callers is not None:
            found: V = await callers.join()
            return found
        callers = self._callers[key] = _WaitingCallers()
        began_s = perf_counter()
        try:
            return await read()
        finally:
            self._read_next(key, read, 1, perf_counter() - began_s)

    def _read_next(
        self, key: Hashable, read: Callable[[], Awaitable[Any]], answered: int, took_s: float
    ) -> None:
        callers = self._callers[key]
        callers.expected = len(callers.waiting) + answered
        if callers.expected > 1:
            pause_s = min(LONGEST_PAUSE_S, PAUSE_SHARE * took_s)
            task = asyncio.get_running_loop().create_task(self._next(key, read, pause_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            del self._callers[key]

    async def _next(
        self, key: Hashable, read: Callable[[], Awaitable[Any]], pause_s: float
    ) -> None:
        waiting = await self._callers[key].take(pause_s)
        if not waiting:
            del self._callers[key]
            return
        began_s = perf_counter()
        try:
            result = await read()
        except Exception as error:  # noqa: BLE001 every waiting caller gets it
            _settle(waiting, error=error)
        else:
            _settle(waiting, result=result)
        finally:
            self._read_next(key, read, len(waiting), perf_counter() - began_s)


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
    """Merges concurrent reads by key into one read of many keys.

    `read(keys)` returns the values found, by key. At most `in_flight` reads run concurrently.
    """

    def __init__(
        self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, in_flight: int = 2
    ) -> None:
        self._read = read
        self._free = in_flight
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: K) -> V | None:
        """The value of `key`, or None when it does not exist."""
        if self._free:
            self._free -= 1
            try:
                return (await self._read([key])).get(key)
            finally:
                self._free += 1
                self._read_next()
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        return await future

    def _read_next(self) -> None:
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
            self._read_next()


class GatheredReads(BatchedReads[K, V]):
    """As `BatchedReads`, one read at a time, which begins when the event loop has seen all requests
    that are there already.

    For a read that every request makes: 20 clients then cause one read for all of them, not one for
    the first and one for the others. A single request waits for one more turn of the event loop.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        super().__init__(read, in_flight=1)
        self._begins = False

    async def get(self, key: K) -> V | None:
        """See `BatchedReads.get`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(future)
        if not self._begins and self._free:
            self._begins = True
            loop.call_soon(self._begin)
        return await future

    def _begin(self) -> None:
        self._begins = False
        self._read_next()
