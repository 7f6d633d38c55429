"""The group commit of threads, for a process that runs no server: the calling thread commits.

The thread that holds the turn commits everything in the queue; the others find their result ready when they get
the turn.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

from headrace.commit.group import GROUP_LOCK_S, GroupCommit
from headrace.commit.kinds import MAX_GROUP_OPS, Batches, Kind, Waiting, answer_all
from headrace.commit.outcome import History
from headrace.db.coroutines import run_to_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from headrace.db.base import Database


class TurnDatabase(Protocol):
    """A database that one thread at a time may write to: the thread inside `with db:`."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    async def write_in_turn(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """As `Database.write`, in the thread that has the turn."""
        ...

    def take_committed(self) -> tuple[Any] | None:
        """After an interruption of `write_in_turn`: the result of `fn`, if the COMMIT took place."""
        ...

    def forget_committed(self) -> None:
        """Drop the result of the last `write_in_turn`: its callers have it."""
        ...


class ImmediateResult:
    """The result of an operation, with the methods of a future. It is set when `submit` returns.

    Awaiting it never suspends.
    """

    __slots__ = ("_error", "_value", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._value: Any = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether the result is set."""
        return self.is_set

    def set_result(self, value: Any) -> None:
        """Set a value."""
        self._value = value
        self.is_set = True

    def set_exception(self, error: BaseException) -> None:
        """Set an error."""
        self._error = error
        self.is_set = True

    def result(self) -> Any:
        """The value. Raises the error if there is one."""
        if self._error is not None:
            raise self._error
        return self._value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return self.result()


class _WriterInTurn:
    """The methods that `GroupCommit` calls on a database, for the thread that has the turn."""

    write_lanes = 1

    def __init__(self, db: TurnDatabase) -> None:
        self._db = db

    async def write_group(
        self, fn: Callable[..., Awaitable[Any]], *args: Any, lock_s: float, alone: bool = False
    ) -> Any:
        return await self._db.write_in_turn(fn, *args)


class DirectCommit(GroupCommit):
    """The group commit of threads. `submit` returns when the operation is committed or rejected."""

    def __init__(self, db: TurnDatabase) -> None:
        super().__init__(cast("Database", _WriterInTurn(db)), can_wait=False)
        self._turn_db = db
        self._pending: deque[Waiting] = deque()  # its append and popleft are atomic
        self._running: Batches = []  # the operations of the current transaction

    @property
    def depth(self) -> int:
        """Operations that wait for the next group."""
        return len(self._pending)

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> Any:
        """As `GroupCommit.submit`, in the calling thread."""
        result = ImmediateResult()
        mine = Waiting(kind, op, cost_bytes, cast("Any", result), 0.0)
        self._pending.append(mine)
        try:
            with self._turn_db:
                while not result.is_set:
                    self._commit_next()
        except BaseException:
            # Interrupted (Ctrl-C): another thread must not commit an operation that has no caller any more.
            with suppress(ValueError):
                self._pending.remove(mine)
            raise
        return result

    def _transaction(self, batches: Batches, lock_s: float) -> tuple[Callable[..., Any], Any, bool]:
        self._turn_db.forget_committed()
        self._running = batches
        return super()._transaction(batches, lock_s)

    def _commit_next(self) -> None:
        group: list[Waiting] = []
        while self._pending and len(group) < MAX_GROUP_OPS:
            group.append(self._pending.popleft())
        try:
            run_to_end(self._settle(group, History(), GROUP_LOCK_S))
        except BaseException:
            while True:
                try:
                    self._after_interruption(group)
                except KeyboardInterrupt:  # another Ctrl-C during the recovery from the first
                    continue
                break
            raise

    def _after_interruption(self, group: list[Waiting]) -> None:
        """Answer the committed operations and queue the others again. May be called again."""
        committed = self._turn_db.take_committed()
        if committed is not None:
            (results,) = committed
            answer_all(self._running, results if len(self._running) > 1 else [results])
        in_line = set(map(id, self._pending))
        self._pending.extendleft(
            w for w in reversed(group) if not w.future.done() and id(w) not in in_line
        )

    async def close(self) -> None:
        """Commit the operations that are queued."""
        with self._turn_db:
            while self._pending:
                self._commit_next()
