"""PostgreSQL through asyncpg: reads, and transactions with retries."""

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

from headrace.db.base import PING_TIMEOUT_S, RowCount
from headrace.db.errors import (
    Blocked,
    DatabaseError,
    Demoted,
    InDoubt,
    Lost,
    NeedsTransaction,
    NotNew,
    Unavailable,
)
from headrace.db.postgres import commit_status, endings
from headrace.db.postgres.connection import (
    POINT_SESSION,
    SEARCH_SESSION,
    SEARCH_STATEMENTS,
    SESSION,
    STATEMENTS,
    Connector,
    set_local,
)
from headrace.db.postgres.endings import CommitTimer, Retries, after_commit, drop, roll_back
from headrace.db.postgres.errors import GONE, is_rolled_back, translate
from headrace.db.postgres.hosts import address_of
from headrace.db.postgres.outage_watch import OutageWatch
from headrace.db.postgres.pool import Connection, Pool, notice_silence
from headrace.db.postgres.transaction import PostgresTx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from headrace.db.base import Dialect, Load, Schema

log = logging.getLogger(__name__)
T = TypeVar("T")
WRITE_CONNECTIONS: Final = 3  # for the group commit: two lanes, and one for blocked runs
OTHER_WRITE_CONNECTIONS: Final = 2  # separate, so that their locks do not delay the group commit
STATEMENT_TIMEOUT_S: Final = 60.0
# A write outside of the group commit waits LOCK_S for a lock, then NEXT_LOCK_S in each retry, and
# gives up after LOCK_RETRY_S. It holds no connection between the attempts.
LOCK_S: Final = 0.5
NEXT_LOCK_S: Final = 0.1
LOCK_RETRY_S: Final = 10.0
LOCK_PAUSE_S: Final = (0.1, 1.0)  # between two attempts: at first, and at most
# The statements assume READ COMMITTED, whatever the role's default is.
BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '{}ms'"
DOUBT_S: Final = 50.0  # less than the default timeout of proxies, 60 s
DOUBT_PAUSE_S: Final = 0.5
# While a database stays read-only, every write finds that out; not each one replaces all connections.
RENEW_EVERY_S: Final = 5.0
POINT_CONNECTIONS: Final = 3  # for look-ups by id, which arrive in batches
KEYS_CONNECTIONS: Final = 3  # for the data of pages, a few milliseconds each


class _Attempt:
    """One attempt of a transaction outside of the group commit: its mark and result, set before the COMMIT."""

    __slots__ = ("mark", "result")

    def __init__(self) -> None:
        self.mark: commit_status.Mark | None = None
        self.result: Any = None


def _sum(*loads: Load) -> Load:
    in_use, idle, waiting, size = (sum(figures) for figures in zip(*loads, strict=True))
    return in_use, idle, waiting, size


class _Borrowed:
    """A connection of a pool, for one use.

    Raises the driver's errors as ours; a connection that is lost is terminated.
    """

    __slots__ = ("_connection", "_db", "_pool")

    def __init__(self, db: PostgresDatabase, pool: Pool) -> None:
        self._db = db
        self._pool = pool

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.acquire()
        return self._connection

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                known = self._db.after(self._connection, error)
                if known is not error:
                    raise known from error
        finally:
            self._pool.release(self._connection)


class PostgresDatabase:
    """One PostgreSQL database (or an engine with its protocol)."""

    dialect: Dialect = "postgres"
    write_lanes = 2
    replicas = ()

    def __init__(
        self,
        connector: Connector,
        schema: Schema,
        *,
        pool_size: int = 8,
    ) -> None:
        self.schema = schema
        self.row_count = RowCount()
        self._probe: Connection | None = None
        self._renewed = -RENEW_EVERY_S  # `monotonic`
        self._connector = connector
        # A transaction pooler keeps no settings from one transaction to the next.
        self._begin = BEGIN + (set_local(SESSION) if connector.pooler == "transaction" else "")
        # Separate pools: long searches must not delay writes.
        self._outage_watch = OutageWatch(
            self._answers, self._oldest, self._on_outage, self._on_recovery
        )
        search = partial(self._open, SEARCH_SESSION, SEARCH_STATEMENTS)
        self._readers = Pool(search, pool_size, self._outage_watch.watch)
        point = partial(self._open, POINT_SESSION)
        self._points = Pool(point, POINT_CONNECTIONS, self._outage_watch.watch)
        self._by_keys = Pool(point, KEYS_CONNECTIONS, self._outage_watch.watch)
        self._writers = Pool(point, WRITE_CONNECTIONS, self._outage_watch.watch)
        self._others = Pool(self._open, OTHER_WRITE_CONNECTIONS, self._outage_watch.watch)
        # By connection. None: the engine cannot report the status of a transaction.
        self._server_runs: WeakKeyDictionary[Connection, commit_status.ServerRun | None] = (
            WeakKeyDictionary()
        )
        self._pools = (self._writers, self._others, self._readers, self._by_keys, self._points)

    async def _answers(self) -> bool:
        """Whether the database accepts a connection, or rejects it in a way that proves that it runs.

        A pooler accepts connections for an unavailable database, and may have no server left for
        one more. Behind one, the connection of `ping` is used.
        """
        try:
            if self._connector.pooler == "none":
                connection = await self._open()
                if self._connector.hosts.only_primary:
                    self._leave_others(address_of(connection))
                connection.terminate()
            else:
                await self._ask(self._connector.connect_timeout_s)
        except pg.TooManyConnectionsError:
            pass
        except (asyncpg.PostgresError, *GONE):
            return False
        return True

    def after(self, connection: Connection, error: BaseException) -> BaseException:
        """As `endings.after`. A server that has become read-only loses all connections."""
        known = endings.after(connection, error)
        if isinstance(known, Demoted) and monotonic() - self._renewed >= RENEW_EVERY_S:
            log.warning("the database has become read-only: its connections are replaced")
            self._renewed = monotonic()
            self._close_probe()
            for pool in self._pools:
                pool.renew()
        return known

    def _leave_others(self, primary: object) -> None:
        """Break the connections to hosts that are not the primary any more, even if they are silent."""
        for pool in self._pools:
            if pool.break_others(primary):
                log.warning("another host has become the primary: connections to the old one break")

    def _close_probe(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.terminate()

    def _oldest(self) -> float | None:
        return min((t for pool in self._pools if (t := pool.oldest()) is not None), default=None)

    def _on_outage(self) -> None:
        log.warning("the database does not answer")
        for pool in self._pools:
            pool.break_all()

    def _on_recovery(self) -> None:
        log.warning("the database answers again")
        for pool in self._pools:
            pool.away = False

    async def _open(
        self, session: Mapping[str, str] = SESSION, statements: int = STATEMENTS
    ) -> Connection:
        connection = await self._connector.open(session, statements)
        notice_silence(connection)
        return connection

    def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> Coroutine[Any, Any, T]:
        """See `Database.read`.

        The statements of one read share a transaction only behind a transaction pooler: BEGIN and
        COMMIT cost two round trips, and stock MLflow reads at READ COMMITTED too. After a lost
        connection the read is retried once.
        """
        return self._read_from(self._readers, fn, args)

    def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> Coroutine[Any, Any, T]:
        """See `Database.read_point`."""
        return self._read_from(self._points, fn, args)

    def version(self) -> None:
        """See `Database.version`."""
        return

    def read_by_keys(self, fn: Callable[..., Awaitable[T]], *args: Any) -> Coroutine[Any, Any, T]:
        """See `Database.read_by_keys`. Separate from `read_point`, which must not wait for large reads."""
        return self._read_from(self._by_keys, fn, args)

    async def _read_from(self, pool: Pool, fn: Callable[..., Awaitable[T]], args: Any) -> T:
        # Spelled out, without context managers: this is the way of every read.
        is_last = False
        while True:
            connection = await pool.acquire()
            try:
                tx = PostgresTx(connection, self.schema, self.row_count)
                if self._connector.pooler != "transaction":
                    return await fn(tx, *args)
                # One transaction for all statements, instead of one for each.
                async with connection.transaction():
                    return await fn(tx, *args)
            except (DatabaseError, asyncpg.PostgresError, *GONE) as error:
                known = self.after(connection, error)
                if is_last or not isinstance(known, Lost):
                    raise known from (error if known is not error else error.__cause__)
            finally:
                pool.release(connection)
            is_last = True

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
        """Run `fn` between BEGIN and COMMIT. An `attempt` records the data to resolve a COMMIT in doubt."""
        run = await self._server_run(connection) if attempt else None
        tx = PostgresTx(connection, self.schema, self.row_count, copies=copies)
        try:
            await connection.execute(self._begin.format(round(lock_s * 1000)))
            result = await fn(tx, *args)
            if attempt and run is not None:
                attempt.result = result
                attempt.mark = await commit_status.mark(connection, run)
        except BaseException as error:
            await roll_back(connection, error)
            raise
        timer = CommitTimer(connection)
        try:
            status = await connection.execute("COMMIT")
        except BaseException as error:
            if is_rolled_back(error):
                raise
            await drop(connection)
            if isinstance(error, (asyncpg.PostgresError, *GONE)):
                raise InDoubt(translate(error).text) from error
            raise
        finally:
            timer.stop()
        if status != "COMMIT":
            raise DatabaseError(f"the transaction was not committed: the database said {status}")
        return result

    async def _server_run(self, connection: Connection) -> commit_status.ServerRun | None:
        if connection not in self._server_runs:
            self._server_runs[connection] = await commit_status.server_run(connection)
        return self._server_runs[connection]

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.write`."""
        copies = True
        give_up = monotonic() + LOCK_RETRY_S
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
                status = await self._status_of(attempt.mark)
                if status == "committed":
                    return cast("T", attempt.result)
                if status != "aborted":
                    raise

    async def _status_of(self, mark: commit_status.Mark | None) -> commit_status.Status:
        """The status of a COMMIT in doubt. Asks for DOUBT_S at most, until the database knows it."""
        if mark is None:
            return "unknown"
        if mark.txid is None:
            return "committed"  # a transaction without writes
        give_up = monotonic() + DOUBT_S
        while monotonic() < give_up:
            try:
                async with _Borrowed(self, self._others) as connection:
                    status = await commit_status.status_of(connection, mark=mark)
            except Unavailable as error:
                log.debug("a COMMIT is still in doubt: %s", error.kind)
            else:
                if status != "in progress":
                    return status
            await asyncio.sleep(DOUBT_PAUSE_S)
        return "unknown"

    async def write_group(
        self, fn: Callable[..., Awaitable[T]], *args: Any, lock_s: float, alone: bool = False
    ) -> T:
        """See `Database.write_group`."""
        retries = Retries()
        while alone:
            try:
                return await self._statement(fn, args)
            except NeedsTransaction:
                alone = False
            except DatabaseError as error:
                if not await retries.again(error):
                    raise
        work = partial(self._transaction, fn=fn, args=args, lock_s=lock_s)
        try:
            return await self._retried(self._writers, partial(work, copies=True))
        except NotNew:
            return await self._retried(self._writers, partial(work, copies=False))

    async def _statement(self, fn: Callable[..., Awaitable[T]], args: Any) -> T:
        """Run `fn`, whose only statement commits by itself: one round trip instead of three.

        Spelled out, without context managers: this is the way of every small log-batch.
        """
        connection = await self._writers.acquire()
        timer = CommitTimer(connection)
        try:
            tx = PostgresTx(connection, self.schema, self.row_count, alone=True)
            return await fn(tx, *args)
        except BaseException as error:
            known = self.after(connection, await after_commit(connection, error))
            if known is not error:
                raise known from error
            raise
        finally:
            timer.stop()
            self._writers.release(connection)

    async def _retried(self, pool: Pool, use: Callable[[Connection], Awaitable[T]]) -> T:
        retries = Retries()
        while True:
            try:
                async with _Borrowed(self, pool) as connection:
                    return await use(connection)
            except DatabaseError as error:
                if not await retries.again(error):
                    raise

    async def ping(self) -> None:
        """See `Database.ping`. Uses a separate connection, so that a busy pool does not look like an outage.

        The connection stays open: to a distant server, or with a slow directory service, a login
        takes seconds.
        """
        try:
            await self._ask(PING_TIMEOUT_S)
        except (asyncpg.PostgresError, *GONE) as error:
            raise Unavailable(str(error) or "no answer in time") from error

    async def _ask(self, timeout_s: float) -> None:
        connection, self._probe = self._probe, None  # no other caller may use it meanwhile
        try:
            if connection is None or connection.is_closed():
                connection = await self._open()
            await connection.execute("SELECT 1", timeout=timeout_s)
        except BaseException:  # also when cancelled: an answer may be incomplete
            if connection is not None:
                connection.terminate()
            raise
        if self._probe is not None:  # another caller has stored one meanwhile
            self._probe.terminate()
        self._probe = connection

    def load(self) -> Mapping[str, Load]:
        """See `Database.load`."""
        return {
            "read": _sum(self._readers.load, self._by_keys.load),
            "point": self._points.load,
            "write": _sum(self._writers.load, self._others.load),
        }

    async def close(self) -> None:
        """See `Database.close`."""
        await self._outage_watch.close()
        self._close_probe()
        for pool in self._pools:
            await pool.close()
