"""The group commit: merges the waiting operations and commits them as one transaction.

There is no timer. A flusher takes the queued operations; those that arrive while the database works
form the next group. So a single request never waits, and twenty that arrive together share one
COMMIT.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from headrace.commit.blocked import BlockedRuns
from headrace.commit.kinds import (
    MAX_GROUP_BYTES,
    MAX_GROUP_OPS,
    Apply,
    Batches,
    Kind,
    Waiting,
    answer_all,
    by_kind,
    halves,
)
from headrace.commit.outcome import (
    FailurePolicy,
    History,
    Reject,
    Resolve,
    Retry,
    RetryWithout,
    SetAside,
    Split,
)
from headrace.contract import errors
from headrace.contract.errors import ApiError
from headrace.db.errors import DatabaseError
from headrace.monitor.redacted import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.db.base import Database, Tx

log = logging.getLogger(__name__)
# A second group runs concurrently only when more than this is queued (about 1,200 points). Merging
# small groups is better than running them concurrently: their cost is the round trip and the
# COMMIT.
SECOND_GROUP_BYTES: Final = 64 << 10

# A stock client waits 120 s for its answer and retries a rejected request, so reject early.
MAX_WAIT_S: Final = 10.0

# How long a transaction waits for a lock. The limit of a group exceeds the duration of another
# process's commit, so that two processes that write to the same runs do not split each other's
# groups. The limits are shorter while the blocked run of a group is searched for, since other
# operations wait, and for a retry of a blocked run, since its row was locked a moment ago.
GROUP_LOCK_S: Final = 0.5
PROBE_LOCK_S: Final = 0.05
BLOCKED_LOCK_S: Final = 0.1
LOCKED: Final = (
    "Another session of the database has locked a row that this request changes. Please try again."
)
# Between two checks whether a blocked run is due.
BLOCKED_CHECK_S: Final = 0.05


class GroupCommit:
    """A bounded queue of writes, and the flushers that commit them.

    `max_ops` and `max_bytes` bound the queue; beyond them `submit` raises 429 with Retry-After. At
    most `write_lanes` groups run at once; a second starts only when more than SECOND_GROUP_BYTES
    are queued. Blocked runs are retried concurrently with them, one run at a time.
    """

    def __init__(
        self,
        db: Database,
        *,
        max_ops: int = 10_000,
        max_bytes: int = 64 << 20,
        can_wait: bool = True,
    ) -> None:
        self._db = db
        self._max_ops = max_ops
        self._max_bytes = max_bytes
        self._queue: list[Waiting] = []
        self._queued_bytes = 0
        self._lanes = db.write_lanes
        self._flushing = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._expiry: asyncio.TimerHandle | None = None
        self._policy = FailurePolicy(can_wait=can_wait)
        self._blocked = BlockedRuns()
        self._working_on_blocked = False
        # Called when a group begins: its operations, and the time (`perf_counter`).
        self.on_begin: Callable[[Sequence[Waiting], float], None] | None = None
        # Called after each group: the number of operations, the wait of the oldest in seconds, the
        # group's duration in seconds.
        self.on_group: Callable[[int, float, float], None] | None = None

    @property
    def depth(self) -> int:
        """Operations whose commit has not begun."""
        return len(self._queue) + self._blocked.operations

    @property
    def depth_bytes(self) -> int:
        """Estimated bytes of the parameters of operations whose commit has not begun."""
        return self._queued_bytes + self._blocked.cost_bytes

    @property
    def runs_set_aside(self) -> int:
        """Runs with operations that wait for a lock of another session."""
        return self._blocked.runs

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> asyncio.Future[Any]:
        """Queue an operation; the future gets its result after COMMIT, or its error."""
        if (
            self._closed
            or len(self._queue) + self._blocked.operations >= self._max_ops
            or self._queued_bytes + self._blocked.cost_bytes + cost_bytes > self._max_bytes
        ):
            raise errors.overloaded("The write queue is full. Please try again.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        waiting = Waiting(kind, op, cost_bytes, future, perf_counter())
        if self._blocked and waiting.subject in self._blocked:
            self._blocked.add(waiting)
            self._start_on_blocked()
        else:
            self._queue.append(waiting)
            self._queued_bytes += cost_bytes
            if not self._flushing or (
                self._flushing < self._lanes and self._queued_bytes > SECOND_GROUP_BYTES
            ):
                self._flushing += 1
                self._keep(loop.create_task(self._flush()))
        if self._expiry is None:
            self._expiry = loop.call_later(MAX_WAIT_S, self._expire)
        return future

    def _expire_in_time(self) -> None:
        """Schedule `_expire` for the moment when the oldest operation has waited for MAX_WAIT_S."""
        since = [self._queue[0].since] if self._queue else []
        if (oldest := self._blocked.oldest()) is not None:
            since.append(oldest)
        if self._expiry is None and since:
            left_s = max(0, MAX_WAIT_S - (perf_counter() - min(since)))
            self._expiry = asyncio.get_running_loop().call_later(left_s, self._expire)

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Hold a reference to the task until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expire(self) -> None:
        """Reject operations that have waited too long for slow groups or for a lock."""
        self._expiry = None
        now = perf_counter()
        fresh = 0
        while fresh < len(self._queue) and now - self._queue[fresh].since >= MAX_WAIT_S:
            self._queued_bytes -= self._queue[fresh].cost_bytes
            fresh += 1
        for waiting in self._queue[:fresh]:
            waiting.answer(errors.overloaded("The database is busy. Please try again."))
        del self._queue[:fresh]
        for waiting in self._blocked.expire(now - MAX_WAIT_S):
            waiting.answer(errors.overloaded(LOCKED))
        self._expire_in_time()

    def _take(self) -> list[Waiting]:
        size = 0
        for n, waiting in enumerate(self._queue):
            size += waiting.cost_bytes
            if n >= MAX_GROUP_OPS or (n and size > MAX_GROUP_BYTES):
                group = self._queue[:n]
                del self._queue[:n]
                break
        else:
            group, self._queue = self._queue, []
        self._queued_bytes -= sum(w.cost_bytes for w in group)
        return group

    async def _flush(self) -> None:
        try:
            while self._queue:
                group = self._take()
                started = perf_counter()
                if self.on_begin is not None:
                    self.on_begin(group, started)
                await self._settle(group, History(), GROUP_LOCK_S)
                if self.on_group is not None:
                    done = perf_counter()
                    self.on_group(len(group), started - group[0].since, done - started)
        finally:
            self._flushing -= 1

    async def _settle(self, group: list[Waiting], history: History, lock_s: float) -> None:
        """Commit a group and answer its callers; failures may take further transactions."""
        parts = [(group, history)]
        while parts:
            group, history = parts.pop()
            batches = by_kind(group)
            try:
                fn, work, alone = self._transaction(batches, lock_s)
                results = await self._db.write_group(fn, work, lock_s=lock_s, alone=alone)
            except Exception as error:  # noqa: BLE001 the flusher must survive any fault of an `apply`
                now = perf_counter()
                action = self._policy.decide(error, group, history, now)
                if isinstance(action, Retry):
                    if action.pause_s:
                        await asyncio.sleep(action.pause_s)
                    parts.append((group, history))
                elif isinstance(action, RetryWithout):
                    if rest := _answer_some(group, action.answers):
                        parts.append((rest, history))
                elif isinstance(action, Split):
                    first, second = halves(group)
                    parts += [(second, history.copy()), (first, history.copy())]
                    lock_s = min(lock_s, PROBE_LOCK_S) if history.blocked_since else lock_s
                elif isinstance(action, SetAside):
                    self._set_aside(group, now)
                elif isinstance(action, Resolve):
                    self._resolve(group, action)
                else:
                    _reject(group, action)
            else:
                answer_all(batches, results if len(batches) > 1 else [results])

    def _transaction(self, batches: Batches, lock_s: float) -> tuple[Callable[..., Any], Any, bool]:
        """The function that applies the batches, its argument, and whether it sends one statement only."""
        if len(batches) == 1:
            kind, waitings = batches[0]
            ops = [w.op for w in waitings]
            # The text of a lone statement contains the lock limit, which is that of a group.
            return kind.apply, ops, lock_s == GROUP_LOCK_S and kind.single(ops)
        return (
            _apply_all,
            [(kind.apply, [w.op for w in waitings]) for kind, waitings in batches],
            False,
        )

    def _resolve(self, group: list[Waiting], action: Resolve) -> None:
        """Apply `kept` again until the database reports their state; reject the others."""
        kept = set(map(id, action.kept))
        _reject([waiting for waiting in group if id(waiting) not in kept], Reject(action.error))
        history = History(doubted=True, until=action.until)
        work = self._settle(action.kept, history, GROUP_LOCK_S)
        self._keep(asyncio.get_running_loop().create_task(work))

    def _set_aside(self, group: list[Waiting], now: float) -> None:
        """Move the operations, and those queued for the same runs, to the queues of blocked runs."""
        self._blocked.block(group, now)
        for waiting in self._queue:
            if waiting.subject in self._blocked:
                self._blocked.add(waiting)
                self._queued_bytes -= waiting.cost_bytes
        self._queue = [one for one in self._queue if one.subject not in self._blocked]
        self._expire_in_time()
        self._start_on_blocked()

    def _start_on_blocked(self) -> None:
        if not self._working_on_blocked:
            self._working_on_blocked = True
            self._keep(asyncio.get_running_loop().create_task(self._work_on_blocked()))

    async def _work_on_blocked(self) -> None:
        """Retry the blocked runs, each when it is due."""
        try:
            while (pause_s := self._blocked.pause_s(perf_counter())) is not None:
                if pause_s > 0:
                    await asyncio.sleep(min(pause_s, BLOCKED_CHECK_S))
                    continue
                subject, group = self._blocked.take()
                began = perf_counter()
                if self.on_begin is not None:
                    self.on_begin(group, began)
                await self._settle(group, History(), BLOCKED_LOCK_S)
                self._blocked.attempted(subject, began)
        finally:
            self._working_on_blocked = False

    async def close(self) -> None:
        """Reject new operations; returns when every queued operation is committed or rejected."""
        self._closed = self._policy.closing = True
        while self._tasks:
            await asyncio.wait(set(self._tasks))


async def _apply_all(tx: Tx, work: list[tuple[Apply, list[Any]]]) -> list[list[Any]]:
    return [await apply(tx, ops) for apply, ops in work]


def _answer_some(group: list[Waiting], answers: dict[int, ApiError]) -> list[Waiting]:
    """Answer the operations in `answers`; return the others."""
    rest: list[Waiting] = []
    for waiting in group:
        error = answers.get(id(waiting.op))
        if error is None:
            rest.append(waiting)
        else:
            waiting.answer(error)
    assert len(rest) < len(group), "Excluded must name an operation"
    return rest


def _reject(group: list[Waiting], action: Reject) -> None:
    """Answer every operation with the error."""
    error = action.error
    if not isinstance(error, DatabaseError | ApiError):
        log.error("a write failed", exc_info=redacted(error))
    for waiting in group:
        waiting.answer(error)
