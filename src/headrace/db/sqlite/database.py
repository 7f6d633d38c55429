"""SQLite: one writer thread, a few reader threads, WAL. Nobody ever sees "database is locked".

A transaction function is a coroutine that awaits only its `tx`; here no await of it suspends, so a thread runs
it to its end with one `send`. Results go back to the event loop in one call each.
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
from headrace.db.sqlite.connection import connect
from headrace.db.sqlite.errors import translate, translate_commit
from headrace.db.sqlite.file import DatabaseFile, LogGone
from headrace.db.sqlite.transaction import PointTx, SqliteTx, TooManyRows
from headrace.db.sqlite.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping

    from headrace.db.base import Dialect, Load, Schema

log = logging.getLogger(__name__)
T = TypeVar("T")
# A stock search of 100 runs takes 5 to 15 ms, so that the last in a full line waits half a second or so.
MAX_WAITING: Final = 40  # reads in line for one reader thread; more get 429 at once
PING: Final = "SELECT version_num FROM alembic_version"
READ_LIMIT_S: Final = 60.0  # as PostgreSQL's statements: bad searches must not hold all threads


def _backlog(worker: Worker) -> int:
    return worker.waiting + worker.busy


def _load(workers: Collection[Worker]) -> Load:
    busy = sum(worker.busy for worker in workers)
    return busy, len(workers) - busy, sum(worker.waiting for worker in workers), len(workers)


def _roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed; a failure of that must not replace the reason."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:  # the next BEGIN says so, too
            log.warning("a rollback failed: %s", error)


class SqliteDatabase:
    """One SQLite file. `readers` threads serve reads, one thread serves writes."""

    dialect: Dialect = "sqlite"
    write_lanes = 1

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
        # sqlite3 lets go of the GIL for every row: threads that fetch many at the same time take turns row by row.
        # One at a time, and the right index: 11.6 instead of 20.6 CPU-ms for 10,000 points (20 clients, 2026-11-28).
        self._fetching = threading.Lock()
        self._point = self._open(read_only=True)
        self._point.execute("PRAGMA busy_timeout = 0")  # the event loop waits for nobody
        self._point_tx = PointTx(self._point, schema)

    def _open(self, *, read_only: bool) -> sqlite3.Connection:
        """A connection for a thread. Raises DatabaseError; FileGone when the path leads elsewhere now."""
        self._file.check()  # SQLite would make a new file
        try:
            connection = connect(self.path, read_only=read_only, synchronous=self._synchronous)
            self._file.opened(connection)
        except sqlite3.Error as error:
            raise translate(error) from error
        return connection

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read`: one hop to a reader thread, one snapshot."""

        self._file.check_sometimes()

        def job(connection: sqlite3.Connection) -> T:
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
        """The reader thread whose turn it is; one of them may be at a long query. Raises `Crowded`."""
        for _ in range(len(self._readers)):
            self._readers.rotate(1)
            if self._readers[0].waiting < MAX_WAITING:
                return self._readers[0]
        raise Crowded("too many requests wait for the database")

    async def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read_point`: in the event loop itself.

        A point read takes 20-60 µs; a hop to a thread and back costs more than that.
        """
        self._file.check_sometimes()
        try:
            return await fn(self._point_tx, *args)
        except TooManyRows:
            return await self.read(fn, *args)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return await self.read(fn, *args)  # a thread has the patience for it
            raise translate(error) from error

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.write`."""

        def job(connection: sqlite3.Connection) -> T:
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
                # A COMMIT that fails (disk full) may leave the transaction open.
                _roll_back(connection)
                if isinstance(error, sqlite3.Error):
                    raise (translate_commit if in_commit else translate)(error) from error
                raise
            self.row_count.rows += connection.total_changes - changes  # this thread alone writes it
            return result

        return await self._writer.call(job)

    def _check_file(self, connection: sqlite3.Connection) -> None:
        """Raise FileGone when a commit would be in no file that anybody finds."""
        try:
            self._file.check()
        except LogGone:
            # What was committed is in the log that this process alone has now: into the database with it.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            raise

    async def write_group(
        self, fn: Callable[..., Awaitable[T]], *args: Any, lock_s: float, alone: bool = False
    ) -> T:
        """See `Database.write_group`. One transaction at a time waits for no lock but the file's."""
        return await self.write(fn, *args)

    async def ping(self) -> None:
        """See `Database.ping`. Through a reader thread: the file system may hang."""

        def job(connection: sqlite3.Connection) -> None:
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
