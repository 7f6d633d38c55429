"""PostgreSQL through asyncpg: reads, and transactions that retry deadlocks."""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

import asyncpg
from asyncpg import exceptions as pg

from headrace.db.base import COPY_ROWS, PING_TIMEOUT_S, Tally
from headrace.db.errors import (
    Blocked,
    DatabaseError,
    InDoubt,
    Lost,
    NotNew,
    Retryable,
    Unavailable,
    UniqueViolation,
)
from headrace.db.postgres import doubt as postgres_doubt
from headrace.db.postgres.errors import GONE, is_rolled_back, translate
from headrace.db.postgres.link import SEARCH_STATEMENTS, SESSION, STATEMENTS, Link, set_local
from headrace.db.postgres.outage_watch import Pulse
from headrace.db.postgres.pool import Connection, Pool, notice_silence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from headrace.db.base import Copy, Dialect, Load, Row, Schema, Sql

log = logging.getLogger(__name__)
T = TypeVar("T")
# Runs of one transaction when the database reports a deadlock or serialization failure.
RETRIES: Final = 6
WRITE_CONNECTIONS: Final = 3  # of the group commit: two lanes, and one for runs that are set aside
OTHER_WRITE_CONNECTIONS: Final = 2  # apart, so that locks of those do not hold up the group commit
STATEMENT_TIMEOUT_S: Final = 60.0
# A write of its own waits so long for a lock, shorter when it is tried again, and is tried again for so long. It holds
# no connection in between.
LOCK_S: Final = 0.5
NEXT_LOCK_S: Final = 0.1
LOCK_PATIENCE_S: Final = 10.0
LOCK_PAUSE_S: Final = (0.1, 1.0)  # between two tries: the first, and at most
# Our statements are written for READ COMMITTED, whatever the role's default is.
BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '{}ms'"
CANCEL_S: Final = 2.0  # for the server to confirm that it has cancelled a statement
DOUBT_S: Final = 50.0  # less than the 60 s after which a proxy in front gives up by default
DOUBT_PAUSE_S: Final = 0.5
# A plan that ignores the values (PostgreSQL may choose one from the sixth execution on) took 297 ms instead of
# 0.6 for a rare tag; planning a look-up by id each time costs 70 µs (docs/decisions/search.md). So searches have
# connections of their own.
SEARCH_SESSION: Final = {**SESSION, "plan_cache_mode": "force_custom_plan"}
POINT_CONNECTIONS: Final = 3  # for look-ups by id, which are batched before they come here


class _Attempt:
    """One try of a transaction whose answer must be exact: its mark and its result, once it is to be committed."""

    __slots__ = ("mark", "result")

    def __init__(self) -> None:
        self.mark: postgres_doubt.Mark | None = None
        self.result: Any = None


class PostgresTx:
    """Statements on one connection."""

    __slots__ = ("_connection", "_copies", "_tally", "alone", "schema")
    dialect: Dialect = "postgres"

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        tally: Tally,
        *,
        alone: bool = False,
        copies: bool = False,
    ) -> None:
        self._connection = connection
        self.schema = schema
        self.alone = alone
        self._copies = copies
        self._tally = tally

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        try:
            return cast("list[Row]", await self._connection.fetch(sql.postgres, *args))
        except asyncpg.PostgresError as error:
            raise translate(error) from error

    async def fetchrow(self, sql: Sql, *args: Any) -> Row | None:
        try:
            return cast("Row | None", await self._connection.fetchrow(sql.postgres, *args))
        except asyncpg.PostgresError as error:
            raise translate(error) from error

    async def execute(self, sql: Sql, *args: Any) -> int:
        try:
            status: str = await self._connection.execute(sql.postgres, *args)
        except asyncpg.PostgresError as error:
            raise translate(error) from error
        touched = int(status.rsplit(" ", 1)[-1])
        self._tally.rows += touched
        return touched

    async def executemany(self, sql: Sql, rows: Iterable[Sequence[Any]]) -> None:
        rows = list(rows)
        try:
            await self._connection.executemany(sql.postgres, rows)
        except asyncpg.PostgresError as error:
            raise translate(error) from error
        self._tally.rows += len(rows)

    def wrote(self, rows: int) -> None:
        self._tally.rows += rows

    async def insert_many(self, sql: Sql, rows: Sequence[Sequence[Any]]) -> int:
        return await self.execute(sql, *zip(*rows, strict=True))

    async def copy_new(self, into: Copy, rows: Sequence[Sequence[Any]]) -> bool:
        if not self._copies or len(rows) < COPY_ROWS:
            return False
        try:
            await self._connection.copy_records_to_table(
                into.table, records=rows, columns=into.columns
            )
        except asyncpg.PostgresError as error:
            known = translate(error)
            raise NotNew(known.text) if isinstance(known, UniqueViolation) else known from error
        self._tally.rows += len(rows)
        return True

    def array(self, values: Sequence[Any]) -> Any:
        return values


async def _roll_back(connection: Connection, reason: BaseException) -> None:
    """End a transaction that failed. A connection that cannot is dropped; `reason` stays the error."""
    if connection.is_closed():
        return
    if isinstance(reason, TimeoutError):
        await _drop(connection)  # a ROLLBACK would wait behind the statement that does not end
        return
    try:
        await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, *GONE) as error:
        log.warning("a rollback failed, its connection is dropped: %s", type(error).__name__)
        connection.terminate()


async def _drop(connection: Connection) -> None:
    """Close a connection whose statement does not end. The server is told to cancel it, if it can be reached.

    A COMMIT that waits for a synchronous standby then ends as committed; otherwise it would stay open, and in doubt.
    """
    try:
        await connection.close(timeout=CANCEL_S)
    except (asyncpg.PostgresError, *GONE) as error:
        log.debug("a connection was closed without an answer: %s", type(error).__name__)
        connection.terminate()


def _sum(*loads: Load) -> Load:
    in_use, idle, waiting, size = (sum(figures) for figures in zip(*loads, strict=True))
    return in_use, idle, waiting, size


class PostgresDatabase:
    """One PostgreSQL database (or an engine that speaks its protocol)."""

    dialect: Dialect = "postgres"
    write_lanes = 2

    def __init__(
        self,
        link: Link,
        schema: Schema,
        *,
        pool_size: int = 8,
    ) -> None:
        self.schema = schema
        self.tally = Tally()
        self._probe: Connection | None = None
        self._link = link
        # A transaction pooler keeps no settings from one transaction to the next.
        self._begin = BEGIN + (set_local(SESSION) if link.pooler == "transaction" else "")
        # Apart, so that long searches cannot keep writes waiting.
        self._pulse = Pulse(self._answers, self._oldest, self._lost, self._found)
        search = partial(self._open, SEARCH_SESSION, SEARCH_STATEMENTS)
        self._readers = Pool(search, pool_size, self._pulse.watch)
        self._points = Pool(self._open, POINT_CONNECTIONS, self._pulse.watch)
        self._writers = Pool(self._open, WRITE_CONNECTIONS, self._pulse.watch)
        self._others = Pool(self._open, OTHER_WRITE_CONNECTIONS, self._pulse.watch)
        # By connection, which does not outlive it. None: the engine cannot say what became of a transaction.
        self._server_runs: WeakKeyDictionary[Connection, postgres_doubt.ServerRun | None] = (
            WeakKeyDictionary()
        )
        self._pools = (self._writers, self._others, self._readers, self._points)

    async def _answers(self) -> bool:
        """Whether the database gives a connection, or at least a reason that proves it alive.

        A pooler takes connections for a database that is away, and may have no server left for one more. There the
        connection of `ping` is asked.
        """
        try:
            if self._link.pooler == "none":
                (await self._open()).terminate()
            else:
                await self._ask(self._link.connect_timeout_s)
        except pg.TooManyConnectionsError:
            pass
        except (asyncpg.PostgresError, *GONE):
            return False
        return True

    def _oldest(self) -> float | None:
        return min((t for pool in self._pools if (t := pool.oldest()) is not None), default=None)

    def _lost(self) -> None:
        log.warning("the database does not answer")
        for pool in self._pools:
            pool.break_all()

    def _found(self) -> None:
        log.warning("the database answers again")
        for pool in self._pools:
            pool.away = False

    async def _open(
        self, session: Mapping[str, str] = SESSION, statements: int = STATEMENTS
    ) -> Connection:
        connection = await self._link.open(session, statements)
        notice_silence(connection)
        return connection

    @staticmethod
    async def _with_connection(pool: Pool, use: Callable[[Connection], Awaitable[T]]) -> T:
        connection = await pool.acquire()
        try:
            return await use(connection)
        except (asyncpg.PostgresError, *GONE) as error:
            known = translate(error)
            if isinstance(known, Unavailable) and connection.is_closed():
                known = Lost(known.text)
            if isinstance(known, Lost):
                connection.terminate()
            raise known from error
        except Lost:
            connection.terminate()
            raise
        finally:
            pool.release(connection)

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read`.

        Statements of one read are not wrapped in a transaction (behind a transaction pooler they are): BEGIN and
        COMMIT cost two round trips, and stock MLflow reads at READ COMMITTED too. A connection that breaks is
        replaced once, unseen by the caller.
        """
        return await self._read_from(self._readers, fn, args)

    async def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read_point`."""
        return await self._read_from(self._points, fn, args)

    async def _read_from(self, pool: Pool, fn: Callable[..., Awaitable[T]], args: Any) -> T:
        async def use(connection: Connection) -> T:
            tx = PostgresTx(connection, self.schema, self.tally)
            if self._link.pooler != "transaction":
                return await fn(tx, *args)
            async with connection.transaction():  # one for all statements, instead of one for each
                return await fn(tx, *args)

        try:
            return await self._with_connection(pool, use)
        except Lost:
            return await self._with_connection(pool, use)

    async def _transaction(
        self,
        connection: Connection,
        fn: Callable[..., Awaitable[T]],
        args: Any,
        *,
        copies: bool,
        lock_s: float,
        attempt: _Attempt | None = None,
    ) -> T:
        """Run `fn` between BEGIN and COMMIT. An `attempt` notes what resolves a COMMIT in doubt."""
        run = await self._server_run(connection) if attempt else None
        tx = PostgresTx(connection, self.schema, self.tally, copies=copies)
        try:
            await connection.execute(self._begin.format(round(lock_s * 1000)))
            result = await fn(tx, *args)
            if attempt and run is not None:
                attempt.result = result
                attempt.mark = await postgres_doubt.mark(connection, run)
        except BaseException as error:
            await _roll_back(connection, error)
            raise
        try:
            status = await connection.execute("COMMIT")
        except BaseException as error:
            if is_rolled_back(error):
                raise
            await _drop(connection)
            if isinstance(error, (asyncpg.PostgresError, *GONE)):
                raise InDoubt(translate(error).text) from error
            raise
        if status != "COMMIT":
            raise DatabaseError(f"the transaction was not committed: the database said {status}")
        return result

    async def _server_run(self, connection: Connection) -> postgres_doubt.ServerRun | None:
        if connection not in self._server_runs:
            self._server_runs[connection] = await postgres_doubt.server_run(connection)
        return self._server_runs[connection]

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.write`."""
        copies = True
        give_up = monotonic() + LOCK_PATIENCE_S
        pause_s = LOCK_PAUSE_S[0]
        lock_s = LOCK_S
        while True:
            attempt = _Attempt()
            work = partial(
                self._transaction, fn=fn, args=args, copies=copies, lock_s=lock_s, attempt=attempt
            )
            try:
                return await self._retried(self._others, work)
            except NotNew:
                copies = False
            except Blocked:
                if monotonic() > give_up:
                    raise
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))
                pause_s = min(2 * pause_s, LOCK_PAUSE_S[1])
                lock_s = NEXT_LOCK_S
            except InDoubt:
                fate = await self._fate(attempt.mark)
                if fate == "committed":
                    return cast("T", attempt.result)
                if fate != "aborted":
                    raise

    async def _fate(self, mark: postgres_doubt.Mark | None) -> postgres_doubt.Fate:
        """What became of a COMMIT in doubt, asked until the database knows it, for DOUBT_S at most."""
        if mark is None:
            return "unknown"
        if mark.txid is None:
            return "committed"  # it had nothing to write
        give_up = monotonic() + DOUBT_S
        while monotonic() < give_up:
            try:
                fate = await self._with_connection(
                    self._others, partial(postgres_doubt.fate, of=mark)
                )
            except Unavailable as error:
                log.debug("a COMMIT is still in doubt: %s", error.kind)
            else:
                if fate != "in progress":
                    return fate
            await asyncio.sleep(DOUBT_PAUSE_S)
        return "unknown"

    async def write_group(
        self, fn: Callable[..., Awaitable[T]], *args: Any, lock_s: float, alone: bool = False
    ) -> T:
        """See `Database.write_group`."""
        if alone:
            return await self._retried(self._writers, partial(self._statement, fn=fn, args=args))
        work = partial(self._transaction, fn=fn, args=args, lock_s=lock_s)
        try:
            return await self._retried(self._writers, partial(work, copies=True))
        except NotNew:
            return await self._retried(self._writers, partial(work, copies=False))

    async def _statement(
        self, connection: Connection, fn: Callable[..., Awaitable[T]], args: Any
    ) -> T:
        """Run an `fn` of one statement, which commits by itself: two of three round trips less."""
        try:
            return await fn(PostgresTx(connection, self.schema, self.tally, alone=True), *args)
        except BaseException as error:
            cause = error.__cause__ if isinstance(error, DatabaseError) else error
            if cause is None or is_rolled_back(cause):
                raise
            await _drop(connection)
            if isinstance(cause, (asyncpg.PostgresError, *GONE)):
                raise InDoubt(translate(cause).text) from error
            raise

    async def _retried(self, pool: Pool, use: Callable[[Connection], Awaitable[T]]) -> T:
        lost = False
        for attempt in range(1, RETRIES + 1):
            try:
                return await self._with_connection(pool, use)
            except Lost:
                # Before its COMMIT: nothing of it is written. A second loss is no accident of one connection.
                if lost:
                    raise
                lost = True
            except Retryable:
                if attempt == RETRIES:
                    raise
                # Full jitter: two processes that collided must not collide again in step.
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    async def ping(self) -> None:
        """See `Database.ping`. On a connection of its own, so that a busy pool does not look like an outage.

        It is kept from one question to the next: far away, or with a slow directory service, a login takes seconds.
        """
        try:
            await self._ask(PING_TIMEOUT_S)
        except (asyncpg.PostgresError, *GONE) as error:
            raise Unavailable(str(error) or "no answer in time") from error

    async def _ask(self, timeout_s: float) -> None:
        connection, self._probe = self._probe, None  # whatever happens to it, nobody else has it
        try:
            if connection is None or connection.is_closed():
                connection = await self._open()
            await connection.execute("SELECT 1", timeout=timeout_s)
        except BaseException:  # cancelled as well: it may be in the middle of an answer
            if connection is not None:
                connection.terminate()
            raise
        if self._probe is not None:  # kept by somebody who asked meanwhile
            self._probe.terminate()
        self._probe = connection

    def load(self) -> Mapping[str, Load]:
        """See `Database.load`."""
        return {
            "read": self._readers.load,
            "point": self._points.load,
            "write": _sum(self._writers.load, self._others.load),
        }

    async def close(self) -> None:
        """See `Database.close`."""
        await self._pulse.close()
        if self._probe is not None:
            self._probe.terminate()
        for pool in self._pools:
            await pool.close()
