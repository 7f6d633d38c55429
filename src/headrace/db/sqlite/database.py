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
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from headrace.db.base import PING_TIMEOUT_S, Tally
from headrace.db.errors import (
    Crowded,
    DatabaseError,
    DataRejected,
    ForeignKeyViolation,
    InDoubt,
    Unavailable,
    UniqueViolation,
)
from headrace.db.sqlite.file import DatabaseFile, LogGone
from headrace.db.sqlite.worker import Worker

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Collection,
        Coroutine,
        Iterable,
        Mapping,
        Sequence,
    )

    from headrace.db.base import Copy, Dialect, Load, Row, Schema, Sql

log = logging.getLogger(__name__)
T = TypeVar("T")
BUSY_TIMEOUT_MS: Final = (
    20_000  # as stock MLflow sets it: another process may hold the file that long
)
MAX_POINT_ROWS: Final = 500  # per statement: about 0.5 ms of the event loop; more goes to a thread
CACHED_STATEMENTS: Final = 512  # statement texts per connection; search makes one per filter shape
# A stock search of 100 runs takes 5 to 15 ms, so that the last in a full line waits half a second or so.
MAX_WAITING: Final = 40  # reads in line for one reader thread; more get 429 at once
FEW_ROWS: Final = 500  # fetched without a turn: see `SqliteDatabase._fetching`
ALONE: Final = nullcontext()  # for a connection beside which no other thread fetches
_to_json: Final = msgspec.json.Encoder().encode
PING: Final = "SELECT version_num FROM alembic_version"
READ_LIMIT_S: Final = 60.0  # as PostgreSQL's statements: bad searches must not hold all threads
_UNIQUE: Final = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"})


def violated_key(text: str) -> tuple[str, frozenset[str]]:
    """Table and columns of "UNIQUE constraint failed: tags.key, tags.run_uuid"; empty for an index on expressions."""
    pairs = [name.partition(".") for name in text.rpartition(": ")[2].split(", ")]
    if not all(column for _, _, column in pairs):
        return "", frozenset()
    return pairs[0][0], frozenset(column for _, _, column in pairs)


def translate(error: sqlite3.Error) -> DatabaseError:
    """The driver's error as one of ours; `text` stays the driver's."""
    name = getattr(error, "sqlite_errorname", "") or ""
    text = f"(sqlite3.{type(error).__name__}) {error}"
    if name == "SQLITE_INTERRUPT":
        text += ": the statement took too long"
    if name in _UNIQUE:
        table, columns = violated_key(str(error))
        return UniqueViolation(text, table, columns)
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return ForeignKeyViolation(text)
    # SQLITE_ERROR is a statement that cannot run (no such table): trying it again helps nobody.
    if isinstance(error, sqlite3.OperationalError) and name != "SQLITE_ERROR":
        return Unavailable(text)
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError):
        return DataRejected(text)
    return DatabaseError(text)


def translate_commit(error: sqlite3.Error) -> DatabaseError:
    """The error of a COMMIT. One of the file leaves open whether it took place, unless it could not be written to."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_IOERR") and name != "SQLITE_IOERR_WRITE":
        return InDoubt(f"(sqlite3.{type(error).__name__}) {error}")
    return translate(error)


class SqliteTx:
    """Statements on one connection; the methods never suspend."""

    __slots__ = ("_connection", "_fetching", "schema")
    dialect: Dialect = "sqlite"
    alone = False

    def __init__(
        self,
        connection: sqlite3.Connection,
        schema: Schema,
        fetching: AbstractContextManager[Any] = ALONE,
    ) -> None:
        """`fetching` is held while many rows are fetched."""
        self._connection = connection
        self._fetching = fetching
        self.schema = schema

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        try:
            cursor = self._connection.execute(sql.sqlite, args)
            rows = cursor.fetchmany(FEW_ROWS)
            if len(rows) == FEW_ROWS:
                with self._fetching:
                    rows += cursor.fetchall()
        except sqlite3.Error as error:
            raise translate(error) from error
        return cast("list[Row]", rows)

    async def fetchrow(self, sql: Sql, *args: Any) -> Row | None:
        try:
            cursor = self._connection.execute(sql.sqlite, args)
            row = cursor.fetchone()
            cursor.close()
        except sqlite3.Error as error:
            raise translate(error) from error
        return cast("Row | None", row)

    async def execute(self, sql: Sql, *args: Any) -> int:
        try:
            return self._connection.execute(sql.sqlite, args).rowcount
        except sqlite3.Error as error:
            raise translate(error) from error

    async def executemany(self, sql: Sql, rows: Iterable[Sequence[Any]]) -> None:
        try:
            self._connection.executemany(sql.sqlite, rows)
        except sqlite3.Error as error:
            raise translate(error) from error

    def wrote(self, rows: int) -> None:
        """SQLite counts them itself."""

    async def insert_many(self, sql: Sql, rows: Sequence[Sequence[Any]]) -> int:
        try:
            return self._connection.executemany(sql.sqlite, rows).rowcount
        except sqlite3.Error as error:
            raise translate(error) from error

    async def copy_new(self, into: Copy, rows: Sequence[Sequence[Any]]) -> bool:
        return False  # SQLite has no way of its own for many rows

    def array(self, values: Sequence[Any]) -> Any:
        return _to_json(values).decode()


def _backlog(worker: Worker) -> int:
    return worker.waiting + worker.busy


def _load(workers: Collection[Worker]) -> Load:
    busy = sum(worker.busy for worker in workers)
    return busy, len(workers) - busy, sum(worker.waiting for worker in workers), len(workers)


class TooManyRows(Exception):
    """A point read met more rows than the event loop should wait for."""


class PointTx(SqliteTx):
    """A transaction that runs in the event loop, and gives up rather than hold it up."""

    __slots__ = ()

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        cursor = self._connection.execute(sql.sqlite, args)
        rows = cursor.fetchmany(MAX_POINT_ROWS + 1)
        if len(rows) > MAX_POINT_ROWS:
            cursor.close()
            raise TooManyRows
        return cast("list[Row]", rows)


def run_to_end(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that awaits nothing that suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    coroutine.close()
    raise AssertionError("a transaction function may await only its tx")


def connect(
    path: str, *, read_only: bool, synchronous: str, busy_timeout_ms: int = BUSY_TIMEOUT_MS
) -> sqlite3.Connection:
    """A connection with stock MLflow's session settings (case-sensitive LIKE, foreign keys, 20 s of patience)."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_MS
        / 1000,  # opening waits: another connection may just recover the file
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )
    connection.execute("PRAGMA case_sensitive_like = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
    return connection


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
        self.tally = Tally()
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
            self.tally.rows += connection.total_changes - changes  # this thread alone writes it
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
