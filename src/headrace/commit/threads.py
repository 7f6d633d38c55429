"""The group commit of threads, for a process that is no server: the caller's thread commits.

Whoever has the turn commits everything that is queued; the others find their answer ready when the turn is theirs.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from headrace.commit.group import GROUP_LOCK_S, GroupCommit
from headrace.commit.kinds import MAX_GROUP_OPS, Batches, Kind, Waiting, answer_all
from headrace.commit.outcome import Past
from headrace.db.sqlite.database import run_to_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from headrace.db.base import Database
    from headrace.db.sqlite.direct import DirectSqlite


class Settled:
    """The result of an operation. Awaiting it never suspends: it is there when `submit` returns."""

    __slots__ = ("_error", "_value", "settled")

    def __init__(self) -> None:
        self.settled = False
        self._value: Any = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether there is a result yet."""
        return self.settled

    def set_result(self, value: Any) -> None:
        """Settle it."""
        self._value = value
        self.settled = True

    def set_exception(self, error: BaseException) -> None:
        """Settle it with an error."""
        self._error = error
        self.settled = True

    def result(self) -> Any:
        """The value, or raises the error."""
        if self._error is not None:
            raise self._error
        return self._value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return self.result()


class _InTurn:
    """What the group commit asks of a database, by the thread that has the turn."""

    write_lanes = 1

    def __init__(self, db: DirectSqlite) -> None:
        self._db = db

    async def write_group(
        self, fn: Callable[..., Awaitable[Any]], *args: Any, lock_s: float, alone: bool = False
    ) -> Any:
        return await self._db.write_in_turn(fn, *args)


class DirectCommit(GroupCommit):
    """The group commit of threads. `submit` returns when the operation is committed or refused."""

    def __init__(self, db: DirectSqlite) -> None:
        super().__init__(cast("Database", _InTurn(db)), can_wait=False)
        self._turns = db
        self._line: deque[Waiting] = deque()  # its append and popleft are atomic
        self._running: Batches = []  # what the transaction that runs now applies

    @property
    def depth(self) -> int:
        """Operations that wait for the next group."""
        return len(self._line)

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> Any:
        """As `GroupCommit.submit`, in the calling thread."""
        answer = Settled()
        mine = Waiting(kind, op, cost_bytes, cast("Any", answer), 0.0)
        self._line.append(mine)
        try:
            with self._turns:
                while not answer.settled:
                    self._commit_next()
        except BaseException:
            # Interrupted (Ctrl-C): what nobody waits for any more is not written behind their back.
            with suppress(ValueError):
                self._line.remove(mine)
            raise
        return answer

    async def _run(self, batches: Batches, lock_s: float) -> list[list[Any]]:
        self._turns.forget_committed()
        self._running = batches
        return await super()._run(batches, lock_s)

    def _commit_next(self) -> None:
        group: list[Waiting] = []
        while self._line and len(group) < MAX_GROUP_OPS:
            group.append(self._line.popleft())
        try:
            run_to_end(self._settle(group, Past(), GROUP_LOCK_S))
        except BaseException:
            while True:
                try:
                    self._after_interruption(group)
                except KeyboardInterrupt:  # once more while the first one is seen to
                    continue
                break
            raise

    def _after_interruption(self, group: list[Waiting]) -> None:
        """Answer what is committed; the others still wait for their commit. May be called again."""
        committed = self._turns.take_committed()
        if committed is not None:
            (results,) = committed
            answer_all(self._running, results if len(self._running) > 1 else [results])
        in_line = set(map(id, self._line))
        self._line.extendleft(
            w for w in reversed(group) if not w.future.done() and id(w) not in in_line
        )

    async def close(self) -> None:
        """Commit what is queued."""
        with self._turns:
            while self._line:
                self._commit_next()
