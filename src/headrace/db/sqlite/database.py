"""SQLite: one writer thread, a few reader threads, WAL. No client ever gets "database is locked".

A transaction function is a coroutine that awaits only its `tx`. Here no await suspends, so a thread
runs it to its end with one `send`, and returns its result to the event loop with one call.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from headrace.db.base import PING_TIMEOUT_S, RowCount
from headrace.db.coroutines import run_to_end
from headrace.db.errors import Crowded, Unavailable
from headrace.db.sqlite.connection import Connection, connect
from headrace.db.sqlite.errors import translate, translate_commit
from headrace.db.sqlite.file import DatabaseFile, LogGone
from headrace.db.sqlite.transaction import PointTx, SqliteTx, TooManyRows
from headrace.db.sqlite.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping

    from headrace.db.base import Dialect, Load, Schema

log = logging.getLogger(__name__)
T = TypeVar("T")
# A stock search of 100 runs takes 5 to 15 ms, so the last read of a full queue waits about half a
# second.
MAX_WAITING: Final = 40  # reads queued for one reader thread; further ones get 429 immediately
VERSION: Final = "PRAGMA data_version"
PING: Final = "SELECT count(*) FROM sqlite_master"
READ_LIMIT_S: Final = 60.0  # as for PostgreSQL: slow searches must not occupy all threads


def _backlog(worker: Worker) -> int:
    return worker.waiting + worker.busy


def _load(workers: Collection[Worker]) -> Load:
    busy = sum(worker.busy for worker in workers)
    return busy, len(workers) - busy, sum(worker.waiting for worker in workers), len(workers)


def _roll_back(connection: sqlite3.Connection) -> None:
    """End a failed transaction; a failure of the ROLLBACK must not replace the original error."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:  # the next BEGIN fails as well
            log.warning("a rollback failed: %s", error)


class SqliteDatabase:
    """One SQLite file. `readers` threads serve reads, one thread serves writes."""

    dialect: Dialect = "sqlite"
    write_lanes = 1
    replicas = ()

    def __init__(
        self,
        path: str,
        schema: Schema,
        *,
        readers: int = 3,
        synchronous: str = "FULL",
        read_limit_s: float = READ_LIMIT_S,
    ) -> None:
        self.schema = schema
        self.path = path
        self.row_count = RowCount()
        self._synchronous = synchronous
        self._file = DatabaseFile(path)
        self._writer = Worker("headrace-writer", lambda: self._open(read_only=False))
        self._readers = deque(
            Worker(f"headrace-reader-{n}", lambda: self._open(read_only=True), limit_s=read_limit_s)
            for n in range(readers)
        )
        # sqlite3 releases the GIL for every row, so concurrent threads that fetch many rows switch
        # at each row. With one at a time, and the right index, 10,000 points take 11.6 CPU-ms
        # instead of 20.6 (20 clients, 2026-11-28).
        self._fetching = threading.Lock()
        self._point = self._open(read_only=True)
        self._point.execute("PRAGMA busy_timeout = 0")  # the event loop must not wait
        self._point_tx = PointTx(self._point, schema)

    def _open(self, *, read_only: bool) -> Connection:
        """A connection for a thread. Raises DatabaseError; FileGone when the path names another file now."""
        self._file.check()  # SQLite would create a new file
        try:
            connection = connect(self.path, read_only=read_only, synchronous=self._synchronous)
            self._file.opened(connection)
        except sqlite3.Error as error:
            raise translate(error) from error
        return connection

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read`. Runs in a reader thread, in one snapshot."""

        self._file.check_sometimes()

        def job(connection: Connection) -> T:
            connection.expressions.begin()
            try:
                connection.execute("BEGIN")
                try:
                    tx = SqliteTx(connection, self.schema, self._fetching)
                    return run_to_end(cast("Coroutine[Any, Any, T]", fn(tx, *args)))
                finally:
                    connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise translate(error) from error

        return await self._reader().call(job)

    def _reader(self) -> Worker:
        """The next reader thread whose queue is not full. Raises `Crowded`."""
        for _ in range(len(self._readers)):
            self._readers.rotate(1)
            if self._readers[0].waiting < MAX_WAITING:
                return self._readers[0]
        raise Crowded("too many requests wait for the database")

    read_by_keys = read  # a statement has one plan

    async def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read_point`. Runs in the event loop.

        A point read takes 20-60 µs; the change to a thread and back costs more.
        """
        self._file.check_sometimes()
        try:
            return await fn(self._point_tx, *args)
        except TooManyRows:
            return await self.read(fn, *args)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return await self.read(fn, *args)  # a reader thread may wait for the lock
            raise translate(error) from error

    def version(self) -> int | None:
        """See `Database.version`. No row is written on the connection that is asked."""
        self._file.check_sometimes()
        try:
            row = self._point.execute(VERSION).fetchone()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return None  # a reader thread may wait for the lock
            raise translate(error) from error
        return cast("int", row[0])

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.write`."""

        def job(connection: Connection) -> T:
            changes = connection.total_changes
            in_commit = False
            try:
                self._check_file(connection)
                connection.execute("BEGIN IMMEDIATE")
                result = run_to_end(
                    cast("Coroutine[Any, Any, T]", fn(SqliteTx(connection, self.schema), *args))
                )
                in_commit = True
                connection.execute("COMMIT")
            except BaseException as error:
                # A failed COMMIT (disk full) may leave the transaction open.
                _roll_back(connection)
                if isinstance(error, sqlite3.Error):
                    raise (translate_commit if in_commit else translate)(error) from error
                raise
            self.row_count.rows += connection.total_changes - changes  # only this thread changes it
            return result

        return await self._writer.call(job)

    def _check_file(self, connection: sqlite3.Connection) -> None:
        """Raise FileGone when a commit would go to a file that has no name any more."""
        try:
            self._file.check()
        except LogGone:
            # Only this process still has the log: move its commits into the database.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            raise

    def write_group(
        self, fn: Callable[..., Awaitable[T]], *args: Any, lock_s: float, alone: bool = False
    ) -> Coroutine[Any, Any, T]:
        """See `Database.write_group`. Transactions run one at a time, so only the file's lock can block them."""
        return self.write(fn, *args)

    async def ping(self) -> None:
        """See `Database.ping`. Runs in a reader thread, since the file system may hang."""

        def job(connection: Connection) -> None:
            self._file.check()
            try:
                connection.execute(PING).fetchone()
            except sqlite3.Error as error:
                raise Unavailable(str(error)) from error

        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await min(self._readers, key=_backlog).call(job)
        except TimeoutError:
            raise Unavailable(f"no answer within {PING_TIMEOUT_S:g} s") from None

    def load(self) -> Mapping[str, Load]:
        """See `Database.load`."""
        return {
            "read": _load(self._readers),
            "write": _load([self._writer]),
        }

    async def close(self) -> None:
        """See `Database.close`."""
        await asyncio.to_thread(self._writer.stop)
        for reader in self._readers:
            await asyncio.to_thread(reader.stop)
        self._point.close()
