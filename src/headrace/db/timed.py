"""A database and a group commit that note how long each request waited for them (see timing.py)."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from headrace.db.writer import GroupCommit
from headrace.timing import Times, times

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping

    from headrace.db.base import Database, Load
    from headrace.db.reader import BatchedReads, SharedReads
    from headrace.db.writer import Kind, Waiting

T = TypeVar("T")


class TimedDatabase:
    """A `Database`, its calls timed."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.dialect = db.dialect
        self.schema = db.schema
        self.write_lanes = db.write_lanes
        self.tally = db.tally

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        with times().in_database():
            return await self._db.read(fn, *args)

    async def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        with times().in_database():
            return await self._db.read_point(fn, *args)

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        with times().in_database():
            return await self._db.write(fn, *args)

    async def write_statement(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        with times().in_database():
            return await self._db.write_statement(fn, *args)

    async def ping(self) -> None:
        await self._db.ping()

    def load(self) -> Mapping[str, Load]:
        return self._db.load()

    async def close(self) -> None:
        await self._db.close()


class TimedReads:
    """`SharedReads` or `BatchedReads`, the wait for them timed."""

    def __init__(self, reads: SharedReads | BatchedReads[Any, Any]) -> None:
        self._reads = reads

    async def get(self, *args: Any) -> Any:
        with times().in_database():
            return await self._reads.get(*args)


class TimedGroupCommit(GroupCommit):
    """A `GroupCommit` that tells each operation's request how long it waited, and how long it took."""

    def __init__(self, db: Database, *, max_ops: int, max_bytes: int) -> None:
        super().__init__(db, max_ops=max_ops, max_bytes=max_bytes)
        self._times: WeakKeyDictionary[asyncio.Future[Any], Times] = WeakKeyDictionary()

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> asyncio.Future[Any]:
        """See `GroupCommit.submit`."""
        future = super().submit(kind, op, cost_bytes)
        self._times[future] = times()
        return future

    async def _commit(self, group: list[Waiting]) -> None:
        began_s = perf_counter()
        noted = []
        for waiting in group:
            times_of = self._times.pop(waiting.future, None)
            if times_of is not None:  # else its group failed, and it runs again alone
                times_of.queue_s += began_s - waiting.since
                noted.append(times_of)
        await super()._commit(group)
        # The callers are answered but have not run yet: nothing was awaited since.
        elapsed_s = perf_counter() - began_s
        for times_of in noted:
            times_of.database_s += elapsed_s
