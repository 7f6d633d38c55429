"""Merges equal reads of several clients into one read of the database.

Nothing is cached: an answer always comes from a read that began after its request arrived. No
request waits for others that may come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
# Equal reads that run concurrently; further requests share the next one.
MAX_EQUAL_READS: Final = 2
# Keys per read, which bounds the statement; further keys wait for the next read.
MAX_BATCH_KEYS: Final = 64
MAX_TURNS: Final = 8  # turns of the event loop that a gathered read waits for


class SharedReads:
    """Lets identical reads (of the same `key`) share one if MAX_EQUAL_READS of them run already.

    Requests that arrive then share a read, which begins when one of the running reads ends. Keys
    exist only while they are in use.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, list[asyncio.Future[Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[V]]) -> V:
        """The result of `read()`. All callers of a shared read get the same object and must not change it."""
        running = self._running.get(key, 0)
        if running == MAX_EQUAL_READS:
            self._waiting.setdefault(key, []).append(asyncio.get_running_loop().create_future())
            result: V = await self._waiting[key][-1]  # no variable holds the future: see `_settle`
            return result
        self._running[key] = running + 1
        try:
            return await read()
        finally:
            self._ended(key, read)

    def _ended(self, key: Hashable, read: Callable[[], Awaitable[Any]]) -> None:
        """A read of the key has ended: begin the one that callers wait for."""
        waiting = [future for future in self._waiting.pop(key, ()) if not future.done()]
        if waiting:
            task = asyncio.get_running_loop().create_task(self._shared(key, read, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self._running[key] > 1:
            self._running[key] -= 1
        else:
            del self._running[key]

    async def _shared(
        self,
        key: Hashable,
        read: Callable[[], Awaitable[Any]],
        waiting: list[asyncio.Future[Any]],
    ) -> None:
        try:
            result = await read()
        except Exception as error:  # noqa: BLE001 every waiting caller gets it
            _settle(waiting, error=error)
        else:
            _settle(waiting, result=result)
        finally:
            self._ended(key, read)


class ReadsIn:
    """The `SharedReads` of one workspace: requests of others do not share its reads."""

    def __init__(self, reads: SharedReads, workspace: str) -> None:
        self._reads = reads
        self._workspace = workspace

    async def get(self, key: Hashable, read: Callable[[], Awaitable[V]]) -> V:
        """See `SharedReads.get`."""
        return await self._reads.get((self._workspace, key), read)


def _settle(
    waiting: list[asyncio.Future[Any]],
    *,
    result: Any = None,
    error: Exception | None = None,
) -> None:
    """Give the waiting callers the outcome, and empty the list.

    A future refers to its error, and the error to the frames of the read and of the callers. If one
    of these referred to the future, all that they hold (rows, an answer) would stay in memory until
    the cycle collector runs.
    """
    for future in waiting:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
    waiting.clear()


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
        self._waiting.setdefault(key, []).append(asyncio.get_running_loop().create_future())
        return await self._waiting[key][-1]  # no variable holds the future: see `_settle`

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
    """As `BatchedReads`, but a read begins when no caller joined in a turn of the event loop, or
    after `turns` turns.

    For a read that every request makes: 20 clients then cause few reads for all of them, not one
    for the first and one for the others. A single request waits for two turns, about 20 us. One
    turn is enough for requests that continue in the same turn, as after a gathered read.
    """

    def __init__(
        self,
        read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]],
        *,
        in_flight: int = 1,
        turns: int = MAX_TURNS,
    ) -> None:
        super().__init__(read, in_flight=in_flight)
        self._max_turns = turns
        self._gathers = False
        self._has_joined = False  # a caller, in this turn
        self._turns = 0

    async def get(self, key: K) -> V | None:
        """See `BatchedReads.get`."""
        self._waiting.setdefault(key, []).append(asyncio.get_running_loop().create_future())
        self._has_joined = True
        self._read_next()  # begins in a later turn
        return await self._waiting[key][-1]  # no variable holds the future: see `_settle`

    def _read_next(self) -> None:
        if self._waiting and self._free and not self._gathers:
            self._gathers = True
            self._turns = 0
            asyncio.get_running_loop().call_soon(self._gather)

    def _gather(self) -> None:
        self._turns += 1
        if self._has_joined and self._turns < self._max_turns:
            self._has_joined = False
            asyncio.get_running_loop().call_soon(self._gather)
        else:
            self._gathers = False
            super()._read_next()
