"""Reads that many clients ask for at the same moment, asked of the database once.

Nothing is cached: an answer always comes from a read that began after its request arrived. Requests that
arrive while a read is under way wait for the next one, together, as writes do in the group commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MAX_BATCH_KEYS: Final = 64  # keys per read; more wait for the next, so that no statement grows long


class SharedReads:
    """Identical reads (same `key`) that are wanted at once share one. Keys live only while they are in use."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[asyncio.Future[Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: Hashable, read: Callable[[], Awaitable[V]]) -> V:
        """What `read()` returns. All callers that share a read get the same object: it must not be changed."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
            waiting.append(future)
            return await future
        self._waiting[key] = []
        try:
            return await read()
        finally:
            self._go_on(key, read)

    def _go_on(self, key: Hashable, read: Callable[[], Awaitable[Any]]) -> None:
        if self._waiting[key]:
            task = asyncio.get_running_loop().create_task(self._next(key, read))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            del self._waiting[key]

    async def _next(self, key: Hashable, read: Callable[[], Awaitable[Any]]) -> None:
        waiting = self._waiting[key]
        self._waiting[key] = []
        try:
            result = await read()
        except Exception as error:  # noqa: BLE001 every waiting caller gets it
            _settle(waiting, error=error)
        else:
            _settle(waiting, result=result)
        finally:
            self._go_on(key, read)


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
