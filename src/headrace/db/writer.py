"""The group commit: everything that is waiting is merged and committed as one transaction.

There is no timer. A flusher takes what is queued; whatever arrives while the database works forms the next
group. So a lone request waits for nothing, and twenty that arrive together share one COMMIT.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any, Final

from headrace import errors
from headrace.db.answers import answer
from headrace.db.base import Database, Tx
from headrace.db.errors import DatabaseError, InDoubt, Unavailable
from headrace.errors import ApiError
from headrace.logs import without_text

log = logging.getLogger(__name__)
# Bounds of one transaction, which keep its COMMIT short for those that wait behind it.
MAX_GROUP_OPS: Final = 256
MAX_GROUP_BYTES: Final = 2 << 20  # estimated, of parameters: about 12,000 points
# A second group goes to the database at the same time only when this much waits (about 1,200 points). Small
# groups are better merged than sent side by side: their cost is the round trip and the COMMIT.
SECOND_GROUP_BYTES: Final = 64 << 10

# A stock client's request waits 120 s for its answer; one that is refused is tried again, so the sooner the better.
MAX_WAIT_S: Final = 10.0

# For an operation whose COMMIT is in doubt and that the client must not send again: less than the 60 s after which
# a proxy in front gives up by default.
DOUBT_S: Final = 50.0
DOUBT_PAUSE_S: Final = 0.5


class Excluded(Exception):
    """Raised by an `apply` after it has written: run the group again without these operations.

    `answers` maps the `id()` of an operation to its error.
    """

    def __init__(self, answers: dict[int, ApiError]) -> None:
        super().__init__(answers)
        self.answers = answers


Apply = Callable[[Tx, Sequence[Any]], Awaitable[list[Any]]]


class Kind:
    """A kind of operation: how a sequence of them is applied in one transaction.

    `apply(tx, ops)` returns one result per operation; a result that is an `ApiError` is that caller's answer,
    and nothing of that operation has been written. `rank` orders kinds inside a group: everybody locks tables
    in the same order, so processes do not deadlock. `single(ops)` says whether `apply` will run exactly one
    statement, which then needs no BEGIN and COMMIT.

    Every operation may be applied twice with the same result: after a COMMIT that is in doubt it is. `once` says
    that sending it again is something else: a client that sends create-run twice has two runs.
    """

    __slots__ = ("apply", "name", "once", "rank", "single")

    def __init__(
        self,
        name: str,
        rank: int,
        apply: Apply,
        single: Callable[[Sequence[Any]], bool] = lambda ops: False,
        *,
        once: bool = False,
    ) -> None:
        self.name = name
        self.rank = rank
        self.apply = apply
        self.single = single
        self.once = once


class Waiting:
    """An operation in the queue, and who waits for it."""

    __slots__ = ("cost_bytes", "future", "kind", "op", "since")

    def __init__(
        self, kind: Kind, op: Any, cost_bytes: int, future: asyncio.Future[Any], since: float
    ) -> None:
        self.kind = kind
        self.op = op
        self.cost_bytes = cost_bytes
        self.future = future
        self.since = since


class GroupCommit:
    """A bounded queue in front of a database, and its flushers.

    `max_ops` and `max_bytes` bound what is queued; beyond them `submit` answers 503 with Retry-After.
    As many groups as the database has lanes may be there at once, more than one only when much waits.
    """

    def __init__(
        self,
        db: Database,
        *,
        max_ops: int = 10_000,
        max_bytes: int = 64 << 20,
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
        self.on_group: Callable[[int, float, float], None] | None = None

    @property
    def depth(self) -> int:
        """Operations that wait for the next group."""
        return len(self._queue)

    @property
    def depth_bytes(self) -> int:
        """Estimated bytes of parameters that wait for the next group."""
        return self._queued_bytes

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> asyncio.Future[Any]:
        """Queue an operation; the future has its result after COMMIT, or its error."""
        if (
            self._closed
            or len(self._queue) >= self._max_ops
            or self._queued_bytes + cost_bytes > self._max_bytes
        ):
            raise errors.overloaded("The write queue is full. Please try again.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._queue.append(Waiting(kind, op, cost_bytes, future, perf_counter()))
        self._queued_bytes += cost_bytes
        if not self._flushing or (
            self._flushing < self._lanes and self._queued_bytes > SECOND_GROUP_BYTES
        ):
            self._flushing += 1
            self._start(self._flush())
        if self._expiry is None:
            self._expiry = loop.call_later(MAX_WAIT_S, self._expire)
        return future

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expire(self) -> None:
        """Refuse what has waited too long behind groups that the database does not finish."""
        self._expiry = None
        now = perf_counter()
        fresh = 0
        while fresh < len(self._queue) and now - self._queue[fresh].since >= MAX_WAIT_S:
            waiting = self._queue[fresh]
            self._queued_bytes -= waiting.cost_bytes
            _answer(waiting, errors.overloaded("The database is busy. Please try again."))
            fresh += 1
        del self._queue[:fresh]
        if self._queue:
            left = MAX_WAIT_S - (now - self._queue[0].since)
            self._expiry = asyncio.get_running_loop().call_later(left, self._expire)

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
                await self._commit(group)
                if self.on_group is not None:
                    done = perf_counter()
                    self.on_group(len(group), started - group[0].since, done - started)
        finally:
            self._flushing -= 1

    async def _commit(self, group: list[Waiting]) -> None:
        """Commit a group and answer its callers."""
        doubted = False
        while group:
            batches = _by_kind(group)
            try:
                answers = await self._run(batches)
            except Unavailable as error:
                if isinstance(error, InDoubt) and not doubted:
                    doubted = True
                    continue
                await self._fail(self._resolve_later(group) if doubted else group, error)
                return
            except Excluded as excluded:
                group = _answer_excluded(batches, excluded)
            except Exception as error:  # noqa: BLE001 a supervising loop: it outlives any fault of an apply
                await self._fail(group, error)
                return
            else:
                _answer_all(batches, answers)
                return

    def _resolve_later(self, group: list[Waiting]) -> list[Waiting]:
        """Keep those of a group in doubt that must not be sent again; the others may be told to."""
        kept = [waiting for waiting in group if waiting.kind.once]
        if kept:
            self._start(self._resolve(kept))
        return [waiting for waiting in group if not waiting.kind.once]

    async def _resolve(self, group: list[Waiting]) -> None:
        """Apply operations that may be written already, as soon as the database is back."""
        until = perf_counter() + DOUBT_S
        batches = _by_kind(group)
        while True:
            await asyncio.sleep(DOUBT_PAUSE_S)
            try:
                answers = await self._run(batches)
            except Unavailable as error:
                if self._closed or perf_counter() > until:
                    await self._fail(group, error)
                    return
            except Exception as error:  # noqa: BLE001 its callers get it, one by one
                await self._fail(group, error)
                return
            else:
                _answer_all(batches, answers)
                return

    async def _fail(self, group: list[Waiting], error: Exception) -> None:
        """Nothing of the group is written: run its operations one by one, or tell the only one why."""
        if isinstance(error, Unavailable):
            error = answer(error)
        elif len(group) > 1:
            for waiting in group:
                await self._commit([waiting])
            return
        elif not isinstance(error, DatabaseError | ApiError):
            log.error("a write failed", exc_info=without_text(error))
        for waiting in group:
            _answer(waiting, error)

    async def _run(self, batches: list[tuple[Kind, list[Waiting]]]) -> list[list[Any]]:
        if len(batches) == 1:
            kind, waitings = batches[0]
            ops = [w.op for w in waitings]
            write = self._db.write_statement if kind.single(ops) else self._db.write
            return [await write(kind.apply, ops)]
        return await self._db.write(
            _apply_all, [(kind.apply, [w.op for w in waitings]) for kind, waitings in batches]
        )

    async def close(self) -> None:
        """Take no more operations; returns when what was queued is committed."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(set(self._tasks))


def _answer_all(batches: list[tuple[Kind, list[Waiting]]], answers: list[list[Any]]) -> None:
    for (_, waitings), results in zip(batches, answers, strict=True):
        for waiting, result in zip(waitings, results, strict=True):
            _answer(waiting, result)


async def _apply_all(tx: Tx, batches: list[tuple[Apply, list[Any]]]) -> list[list[Any]]:
    return [await apply(tx, ops) for apply, ops in batches]


def _by_kind(group: list[Waiting]) -> list[tuple[Kind, list[Waiting]]]:
    kinds: dict[Kind, list[Waiting]] = {}
    for waiting in group:
        kinds.setdefault(waiting.kind, []).append(waiting)
    return sorted(kinds.items(), key=lambda item: item[0].rank)


def _answer_excluded(
    batches: list[tuple[Kind, list[Waiting]]], excluded: Excluded
) -> list[Waiting]:
    """Answer the excluded operations; return the others, which run again."""
    again: list[Waiting] = []
    for _, waitings in batches:
        for waiting in waitings:
            error = excluded.answers.get(id(waiting.op))
            if error is None:
                again.append(waiting)
            else:
                _answer(waiting, error)
    assert sum(len(w) for _, w in batches) > len(again), "Excluded must name an operation"
    return again


def _answer(waiting: Waiting, result: Any) -> None:
    if waiting.future.done():  # the client went away; its write stands all the same
        return
    if isinstance(result, Exception):
        waiting.future.set_exception(result)
    else:
        waiting.future.set_result(result)
