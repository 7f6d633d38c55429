"""The group commit: everything that is waiting is merged and committed as one transaction.

There is no timer. A flusher takes what is queued; whatever arrives while the database works forms the next
group. So a lone request waits for nothing, and twenty that arrive together share one COMMIT.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from headrace.commit.aside import Aside
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
from headrace.commit.outcome import Again, Outcome, Past, Refuse, Resolve, SetAside, Split, Without
from headrace.contract import errors
from headrace.contract.errors import ApiError
from headrace.db.errors import DatabaseError
from headrace.server.logs import without_text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from headrace.db.base import Database, Tx

log = logging.getLogger(__name__)
# A second group goes to the database at the same time only when this much waits (about 1,200 points). Small
# groups are better merged than sent side by side: their cost is the round trip and the COMMIT.
SECOND_GROUP_BYTES: Final = 64 << 10

# A stock client's request waits 120 s for its answer; a refused request is retried, so refuse early.
MAX_WAIT_S: Final = 10.0

# How long a transaction waits for a lock. A group's limit is longer than another process's commit takes, so that
# two processes that write to the same runs do not split each other's groups. While a blocked run is looked for, and
# when it is tried again, others wait, or the row was locked a moment ago.
GROUP_LOCK_S: Final = 0.5
PROBE_LOCK_S: Final = 0.05
ASIDE_LOCK_S: Final = 0.1
LOCKED: Final = (
    "Another session of the database has locked what this request changes. Please try again."
)
ASIDE_LOOK_S: Final = 0.05  # between two looks whether a run that is set aside is due


class GroupCommit:
    """A bounded queue in front of a database, and its flushers.

    `max_ops` and `max_bytes` bound what is queued; beyond them `submit` raises 429 with Retry-After. At most
    `write_lanes` groups run at once; a second starts only when more than SECOND_GROUP_BYTES are queued. Runs that
    are set aside are tried beside them, one at a time.
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
        self._outcome = Outcome(can_wait=can_wait)
        self._aside = Aside()
        self._trying_aside = False
        # Called with each group when it begins, and the moment (of `perf_counter`).
        self.on_begin: Callable[[Sequence[Waiting], float], None] | None = None
        # Called after each group: its operations, seconds that the oldest waited, seconds that it took.
        self.on_group: Callable[[int, float, float], None] | None = None

    @property
    def depth(self) -> int:
        """Operations that wait for their commit to begin."""
        return len(self._queue) + self._aside.operations

    @property
    def depth_bytes(self) -> int:
        """Estimated bytes of parameters that wait for their commit to begin."""
        return self._queued_bytes + self._aside.cost_bytes

    @property
    def runs_set_aside(self) -> int:
        """Runs whose operations wait for a lock that another session holds."""
        return self._aside.runs

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> asyncio.Future[Any]:
        """Queue an operation; the future has its result after COMMIT, or its error."""
        if (
            self._closed
            or len(self._queue) + self._aside.operations >= self._max_ops
            or self._queued_bytes + self._aside.cost_bytes + cost_bytes > self._max_bytes
        ):
            raise errors.overloaded("The write queue is full. Please try again.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        waiting = Waiting(kind, op, cost_bytes, future, perf_counter())
        if self._aside and waiting.subject in self._aside:
            self._aside.add(waiting)
            self._try_aside()
        else:
            self._queue.append(waiting)
            self._queued_bytes += cost_bytes
            if not self._flushing or (
                self._flushing < self._lanes and self._queued_bytes > SECOND_GROUP_BYTES
            ):
                self._flushing += 1
                self._start(self._flush())
        if self._expiry is None:
            self._expiry = loop.call_later(MAX_WAIT_S, self._expire)
        return future

    def _expire_in_time(self) -> None:
        """Have `_expire` called when the operation that has waited longest is too old."""
        since = [self._queue[0].since] if self._queue else []
        if (oldest := self._aside.oldest()) is not None:
            since.append(oldest)
        if self._expiry is None and since:
            left_s = max(0, MAX_WAIT_S - (perf_counter() - min(since)))
            self._expiry = asyncio.get_running_loop().call_later(left_s, self._expire)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expire(self) -> None:
        """Refuse what has waited too long behind groups that the database does not finish, or behind a lock."""
        self._expiry = None
        now = perf_counter()
        fresh = 0
        while fresh < len(self._queue) and now - self._queue[fresh].since >= MAX_WAIT_S:
            self._queued_bytes -= self._queue[fresh].cost_bytes
            fresh += 1
        for waiting in self._queue[:fresh]:
            waiting.answer(errors.overloaded("The database is busy. Please try again."))
        del self._queue[:fresh]
        for waiting in self._aside.expire(now - MAX_WAIT_S):
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
                await self._settle(group, Past(), GROUP_LOCK_S)
                if self.on_group is not None:
                    done = perf_counter()
                    self.on_group(len(group), started - group[0].since, done - started)
        finally:
            self._flushing -= 1

    async def _settle(self, group: list[Waiting], past: Past, lock_s: float) -> None:
        """Commit a group and answer its callers, in as many transactions as its failures ask for."""
        parts = [(group, past)]
        while parts:
            group, past = parts.pop()
            batches = by_kind(group)
            try:
                results = await self._run(batches, lock_s)
            except Exception as error:  # noqa: BLE001 a supervising loop: it outlives any fault of an apply
                now = perf_counter()
                action = self._outcome.of(error, group, past, now)
                if isinstance(action, Again):
                    if action.pause_s:
                        await asyncio.sleep(action.pause_s)
                    parts.append((group, past))
                elif isinstance(action, Without):
                    if rest := _answer_some(group, action.answers):
                        parts.append((rest, past))
                elif isinstance(action, Split):
                    first, second = halves(group)
                    parts += [(second, past.copy()), (first, past.copy())]
                    lock_s = min(lock_s, PROBE_LOCK_S) if past.blocked_since else lock_s
                elif isinstance(action, SetAside):
                    self._set_aside(group, now)
                elif isinstance(action, Resolve):
                    self._keep_in_doubt(group, action)
                else:
                    _refuse(group, action)
            else:
                answer_all(batches, results)

    async def _run(self, batches: Batches, lock_s: float) -> list[list[Any]]:
        if len(batches) == 1:
            kind, waitings = batches[0]
            ops = [w.op for w in waitings]
            # A lone statement has the time limit for locks in its text, and that is a group's.
            alone = lock_s == GROUP_LOCK_S and kind.single(ops)
            return [await self._db.write_group(kind.apply, ops, lock_s=lock_s, alone=alone)]
        work = [(kind.apply, [w.op for w in waitings]) for kind, waitings in batches]
        return await self._db.write_group(_apply_all, work, lock_s=lock_s)

    def _keep_in_doubt(self, group: list[Waiting], action: Resolve) -> None:
        """Apply `kept` again until the database says what became of them; refuse the others."""
        kept = set(map(id, action.kept))
        _refuse([waiting for waiting in group if id(waiting) not in kept], Refuse(action.error))
        past = Past(doubted=True, until=action.until)
        self._start(self._settle(action.kept, past, GROUP_LOCK_S))

    def _set_aside(self, group: list[Waiting], now: float) -> None:
        """Keep the operations for later, and with them what is queued for the same runs."""
        self._aside.blocked(group, now)
        for waiting in self._queue:
            if waiting.subject in self._aside:
                self._aside.add(waiting)
                self._queued_bytes -= waiting.cost_bytes
        self._queue = [one for one in self._queue if one.subject not in self._aside]
        self._expire_in_time()
        self._try_aside()

    def _try_aside(self) -> None:
        if not self._trying_aside:
            self._trying_aside = True
            self._start(self._work_aside())

    async def _work_aside(self) -> None:
        """Try the runs that are set aside, each when it is due."""
        try:
            while (pause_s := self._aside.pause_s(perf_counter())) is not None:
                if pause_s > 0:
                    await asyncio.sleep(min(pause_s, ASIDE_LOOK_S))
                    continue
                subject, group = self._aside.take()
                began = perf_counter()
                if self.on_begin is not None:
                    self.on_begin(group, began)
                await self._settle(group, Past(), ASIDE_LOCK_S)
                self._aside.tried(subject, began)
        finally:
            self._trying_aside = False

    async def close(self) -> None:
        """Take no more operations; returns when what was queued is committed or refused."""
        self._closed = self._outcome.closing = True
        while self._tasks:
            await asyncio.wait(set(self._tasks))


async def _apply_all(tx: Tx, work: list[tuple[Apply, list[Any]]]) -> list[list[Any]]:
    return [await apply(tx, ops) for apply, ops in work]


def _answer_some(group: list[Waiting], answers: dict[int, ApiError]) -> list[Waiting]:
    """Answer the operations named; return the others."""
    rest: list[Waiting] = []
    for waiting in group:
        error = answers.get(id(waiting.op))
        if error is None:
            rest.append(waiting)
        else:
            waiting.answer(error)
    assert len(rest) < len(group), "Excluded must name an operation"
    return rest


def _refuse(group: list[Waiting], action: Refuse) -> None:
    """Every operation gets the error."""
    error = action.error
    if not isinstance(error, DatabaseError | ApiError):
        log.error("a write failed", exc_info=without_text(error))
    for waiting in group:
        waiting.answer(error)
