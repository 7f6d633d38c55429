"""A database that measures how long each request waits for it (see monitor/timing.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from headrace.monitor.timing import times

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from headrace.commit.reads import BatchedReads, SharedReads
    from headrace.db.base import Database, Load

T = TypeVar("T")


class TimedDatabase:
    """A `Database` that measures its calls."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.dialect = db.dialect
        self.schema = db.schema
        self.write_lanes = db.write_lanes
        self.row_count = db.row_count
        self.replicas = db.replicas

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        with times().in_database():
            return await self._db.read(fn, *args)

    async def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        with times().in_database():
            return await self._db.read_point(fn, *args)

    def version(self) -> int | None:
        return self._db.version()

    async def read_by_keys(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        with times().in_database():
            return await self._db.read_by_keys(fn, *args)

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        with times().in_database():
            return await self._db.write(fn, *args)

    async def write_group(
        self, fn: Callable[..., Awaitable[T]], *args: Any, lock_s: float, alone: bool = False
    ) -> T:
        return await self._db.write_group(fn, *args, lock_s=lock_s, alone=alone)

    async def ping(self) -> None:
        await self._db.ping()

    def load(self) -> Mapping[str, Load]:
        return self._db.load()

    async def close(self) -> None:
        await self._db.close()


class TimedReads:
    """`SharedReads` or `BatchedReads` that measure the wait for them."""

    def __init__(self, reads: SharedReads | BatchedReads[Any, Any]) -> None:
        self._reads = reads

    async def get(self, *args: Any) -> Any:
        with times().in_database():
            return await self._reads.get(*args)
