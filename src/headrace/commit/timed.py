"""A group commit that measures how long each request waits for it (see monitor/timing.py)."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from headrace.commit.group import GroupCommit
from headrace.monitor.timing import times

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from headrace.commit.kinds import Kind, Waiting
    from headrace.db.base import Database


class _Wait:
    """One operation's wait: for its commit to begin, then for the result."""

    __slots__ = ("_began_s", "_times")

    def __init__(self) -> None:
        self._times = times()
        self._began_s = 0.0

    def begin(self, since_s: float, now_s: float) -> None:
        """Note that the commit begins. Later calls have no effect."""
        if not self._began_s:
            self._began_s = now_s
            self._times.queue_s += now_s - since_s

    def end(self, _: asyncio.Future[Any]) -> None:
        """Note that the result is set."""
        if self._began_s:
            self._times.database_s += perf_counter() - self._began_s


class TimedGroupCommit(GroupCommit):
    """A `GroupCommit` that adds each operation's waiting time and duration to the times of its request."""

    def __init__(self, db: Database, *, max_ops: int, max_bytes: int) -> None:
        super().__init__(db, max_ops=max_ops, max_bytes=max_bytes)
        self._waits: WeakKeyDictionary[asyncio.Future[Any], _Wait] = WeakKeyDictionary()
        self.on_begin = self._note_beginning

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> asyncio.Future[Any]:
        """See `GroupCommit.submit`."""
        future = super().submit(kind, op, cost_bytes)
        wait = self._waits[future] = _Wait()
        # As the first callback of the future, it runs before the request that awaits the future
        # continues.
        future.add_done_callback(wait.end)
        return future

    def _note_beginning(self, group: Sequence[Waiting], began_s: float) -> None:
        for waiting in group:
            self._waits[waiting.future].begin(waiting.since, began_s)
