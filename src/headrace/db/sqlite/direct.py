"""SQLite in the caller's thread, for a process that runs no server: no event loop, no change of threads.

`DirectSqlite` is a `Database` whose awaits never suspend, so `run_to_end` runs any transaction
function in the calling thread.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.contract import errors
from headrace.db.sqlite.connection import Connection, connect
from headrace.db.sqlite.errors import translate, translate_commit
from headrace.db.sqlite.file import DatabaseFile
from headrace.db.sqlite.transaction import SqliteTx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.db.base import Dialect, Schema

log = logging.getLogger(__name__)
T = TypeVar("T")
WRITE_LOCK_TIMEOUT_S: Final = 120.0  # other processes may write to the file one after another
MAX_IDLE_READERS: Final = 8
FORK_WAIT_S: Final = 30.0  # before a fork, for reads and writes of other threads to end
FORK_CHECK_S: Final = 0.001  # between two checks whether reads have ended


class DirectSqlite:
    """One SQLite file. Writes take turns on one connection; each concurrent read has a connection."""

    dialect: Dialect = "sqlite"
    write_lanes = 1
    replicas = ()

    def __init__(self, path: str, schema: Schema, *, synchronous: str = "FULL") -> None:
        self.schema = schema
        self.path = path
        self._synchronous = synchronous
        self._file = DatabaseFile(path)
        self._writer: Connection | None = None
        self._readers: deque[Connection] = deque()
        self._reading: set[object] = set()  # one object for each running read
        self._forking = False
        self._turn = threading.Lock()
        self._holder = 0  # thread that has the turn
        self._closed = False
        # The result of the transaction, valid if its COMMIT takes place.
        self._prepared: tuple[Any] | None = None

    def __enter__(self) -> DirectSqlite:
        me = threading.get_ident()
        if self._holder == me:
            # A signal handler interrupted a write of this thread, which would wait for itself for
            # ever.
            raise errors.unavailable("This thread is in the middle of a write. Please try again.")
        self._turn.acquire()
        self._holder = me
        return self

    def __exit__(self, *_: object) -> None:
        self._holder = 0
        self._turn.release()

    def _connect(self, *, read_only: bool) -> Connection:
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
            connection.expressions.begin()
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
        """Note that a read runs; while the process is about to fork, wait until it has forked."""
        reading = object()
        while True:
            # Noted before the check, so that either this thread sees the fork or the fork sees this
            # read.
            self._reading.add(reading)
            if not self._forking or self._holder == threading.get_ident():
                return reading
            self._reading.discard(reading)
            with self:
                pass

    read_point = read

    def version(self) -> None:
        """See `Database.version`. Each read may have another connection, whose versions differ."""
        return

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.write`."""
        with self:
            return await self.write_in_turn(fn, *args)

    async def write_in_turn(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """As `write`, for a caller inside `with db:`. See `take_committed` for interruptions."""
        self._prepared = None
        try:
            connection = self._begun()
            result = await fn(SqliteTx(connection, self.schema), *args)
            self._prepared = (result,)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            known = (translate_commit if self._prepared else translate)(error)
            self._prepared = None
            self._roll_back()
            raise known from error
        except BaseException:
            self._roll_back()
            raise
        return result

    def take_committed(self) -> tuple[Any] | None:
        """After an interruption (Ctrl-C) of `write_in_turn`: the result of `fn`, if the COMMIT took place."""
        self._roll_back()
        prepared, self._prepared = self._prepared, None
        return prepared

    def forget_committed(self) -> None:
        """Drop the result of the last `write_in_turn`: its callers have it."""
        self._prepared = None

    def _roll_back(self) -> None:
        """End the open transaction. Close the connection when that fails."""
        connection = self._writer
        if connection is None or not connection.in_transaction:
            return
        self._prepared = None
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.warning("a rollback failed, its connection is closed: %s", error)
            self._writer = None
            connection.close()

    def _begun(self) -> Connection:
        self._roll_back()  # an interrupted rollback may have left it open
        connection = self._writer
        if connection is None:
            connection = self._writer = self._connect(read_only=False)
        self._file.check()
        give_up = time.monotonic() + WRITE_LOCK_TIMEOUT_S
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > give_up:
                    raise
            else:
                return connection

    def prepare_fork(self) -> bool:
        """Before this process forks: take the turn, wait for reads to end, close all connections.

        SQLite records its file locks in memory, and a child process would inherit records of locks
        that it does not hold (https://www.sqlite.org/howtocorrupt.html, section 2.6). If the result
        is True, call `resume_after_fork` in the parent.
        """
        give_up = time.monotonic() + FORK_WAIT_S
        if self._holder == threading.get_ident() or not self._turn.acquire(timeout=FORK_WAIT_S):
            return False
        self._forking = True
        while self._reading and time.monotonic() < give_up:
            time.sleep(FORK_CHECK_S)
        self._close_idle()
        return True

    def resume_after_fork(self) -> None:
        """Release the turn; connections open again when needed."""
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
