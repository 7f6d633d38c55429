"""SQLite in the caller's thread, for a process that is no server: no event loop, no hop.

`DirectSqlite` is a `Database` whose awaits never suspend, so `run_to_end` drives any transaction function in
the thread that calls. `DirectCommit` is the group commit for threads: whoever holds the lock commits
everything that is queued; the others find their answer ready when the lock is theirs.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from headrace import errors
from headrace.db.sqlite import SqliteTx, connect, run_to_end, translate
from headrace.db.sqlite_file import DatabaseFile
from headrace.db.writer import MAX_GROUP_OPS, GroupCommit, Kind, Waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from headrace.db.base import Database, Dialect, Schema

T = TypeVar("T")
PATIENCE_S: Final = 120.0  # for other processes that write to the file, one after the other
MAX_IDLE_READERS: Final = 8
FORK_WAIT_S: Final = 30.0  # for what other threads write and read to end before a fork
FORK_LOOK_S: Final = 0.001  # between two looks whether readers have ended


class DirectSqlite:
    """One SQLite file. Writes take turns on one connection, reads have one per thread that reads."""

    dialect: Dialect = "sqlite"
    write_lanes = 1

    def __init__(self, path: str, schema: Schema, *, synchronous: str = "FULL") -> None:
        self.schema = schema
        self.path = path
        self._synchronous = synchronous
        self._file = DatabaseFile(path)
        self._writer: sqlite3.Connection | None = None
        self._readers: deque[sqlite3.Connection] = deque()
        self._reading: set[object] = set()  # one object for each read that is going on
        self._forking = False
        self._turn = threading.Lock()
        self._holder = 0  # thread that has the turn
        self._closed = False

    def __enter__(self) -> DirectSqlite:
        me = threading.get_ident()
        if self._holder == me:
            # A signal handler in the middle of a write: waiting would be for ever.
            raise errors.unavailable("This thread is in the middle of a write. Please try again.")
        self._turn.acquire()
        self._holder = me
        return self

    def __exit__(self, *_: object) -> None:
        self._holder = 0
        self._turn.release()

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        if self._closed:
            raise errors.unavailable("The database is closed.")
        self._file.check()  # SQLite would make a new file
        connection = connect(self.path, read_only=read_only, synchronous=self._synchronous)
        self._file.opened(connection)
        return connection

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read`."""
        reading = self._begin_reading()
        try:
            self._file.check_sometimes()
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect(read_only=True)
            try:
                connection.execute("BEGIN")
                try:
                    return await fn(SqliteTx(connection, self.schema), *args)
                finally:
                    connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise translate(error) from error
            finally:
                if len(self._readers) < MAX_IDLE_READERS and not self._closed:
                    self._readers.append(connection)
                else:
                    connection.close()
        finally:
            self._reading.discard(reading)

    def _begin_reading(self) -> object:
        """Say that a read goes on; while the process is about to fork, wait until it has."""
        reading = object()
        while True:
            # Said before it is asked, so that either this thread sees the fork or the fork sees this thread.
            self._reading.add(reading)
            if not self._forking or self._holder == threading.get_ident():
                return reading
            self._reading.discard(reading)
            with self:
                pass

    read_point = read

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.write`."""
        with self:
            return await self.write_in_turn(fn, *args)

    async def write_in_turn(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """As `write`, by a caller that has the turn (`with db:`)."""
        try:
            connection = self._begun()
            try:
                result = await fn(SqliteTx(connection, self.schema), *args)
                connection.execute("COMMIT")
            except BaseException:
                # A COMMIT that fails (disk full) may leave the transaction open.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise translate(error) from error
        return result

    write_statement = write

    def _begun(self) -> sqlite3.Connection:
        connection = self._writer
        if connection is None:
            connection = self._writer = self._connect(read_only=False)
        self._file.check()
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > give_up:
                    raise
            else:
                return connection

    def let_go(self) -> bool:
        """Take the turn, let reads end and close all connections before this process forks.

        SQLite keeps its locks on a file per process, in memory that a child would inherit and believe
        (https://www.sqlite.org/howtocorrupt.html, section 2.6). True: `resume` is to be called.
        """
        give_up = time.monotonic() + FORK_WAIT_S
        if self._holder == threading.get_ident() or not self._turn.acquire(timeout=FORK_WAIT_S):
            return False
        self._forking = True
        while self._reading and time.monotonic() < give_up:
            time.sleep(FORK_LOOK_S)
        self._close_idle()
        return True

    def resume(self) -> None:
        """Give the turn back in the parent; connections open again when they are needed."""
        self._forking = False
        self._turn.release()

    def _close_idle(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        while self._readers:
            self._readers.pop().close()
        self._file.closed()

    async def close(self) -> None:
        """See `Database.close`."""
        with self:
            self._closed = True
            self._close_idle()


class Answer:
    """What became of an operation. Awaiting it never suspends: it is there when `submit` returns."""

    __slots__ = ("_error", "_value", "settled")

    def __init__(self) -> None:
        self.settled = False
        self._value: Any = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether there is an answer yet."""
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

    def __init__(self, db: DirectSqlite) -> None:
        self.write_lanes = 1
        self.write = db.write_in_turn
        self.write_statement = db.write_in_turn


class DirectCommit(GroupCommit):
    """The group commit of threads. `submit` returns when the operation is committed or refused."""

    def __init__(self, db: DirectSqlite) -> None:
        super().__init__(cast("Database", _InTurn(db)))
        self._turns = db
        self._line: deque[Waiting] = deque()  # its append and popleft are atomic

    @property
    def depth(self) -> int:
        """Operations that wait for the next group."""
        return len(self._line)

    def submit(self, kind: Kind, op: Any, cost_bytes: int = 256) -> Any:
        """As `GroupCommit.submit`, in the calling thread."""
        answer = Answer()
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

    def _commit_next(self) -> None:
        group: list[Waiting] = []
        while self._line and len(group) < MAX_GROUP_OPS:
            group.append(self._line.popleft())
        try:
            run_to_end(self._commit(group))
        except BaseException:
            # Interrupted in the middle: nothing is written, and the others still wait for theirs.
            self._line.extendleft(w for w in reversed(group) if not w.future.done())
            raise

    async def close(self) -> None:
        """Commit what is queued."""
        with self._turns:
            while self._line:
                self._commit_next()
