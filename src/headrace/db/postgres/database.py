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
    InDoubt,
    Lost,
    NotNew,
    Retryable,
    Unavailable,
)
from headrace.db.postgres import commit_status
from headrace.db.postgres.connection import (
    POINT_SESSION,
    SEARCH_SESSION,
    SEARCH_STATEMENTS,
    SESSION,
    STATEMENTS,
    Connector,
    set_local,
)
from headrace.db.postgres.errors import GONE, is_rolled_back, translate
from headrace.db.postgres.outage_watch import OutageWatch
from headrace.db.postgres.pool import Connection, Pool, notice_silence, request_cancel
from headrace.db.postgres.transaction import PostgresTx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from headrace.db.base import Dialect, Load, Schema

log = logging.getLogger(__name__)
T = TypeVar("T")
# How often one transaction runs when the database reports deadlocks or serialization failures.
RETRIES: Final = 6
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
# A COMMIT that takes longer waits for a synchronous standby. Less than the default timeout of
# proxies, 60 s, and than STATEMENT_TIMEOUT_S, after which the answer is lost.
COMMIT_S: Final = 30.0
CANCEL_S: Final = 2.0  # how long to wait for the server to confirm a cancellation
DOUBT_S: Final = 50.0  # less than the default timeout of proxies, 60 s
DOUBT_PAUSE_S: Final = 0.5
POINT_CONNECTIONS: Final = 3  # for look-ups by id, which arrive in batches
KEYS_CONNECTIONS: Final = 3  # for the data of pages, a few milliseconds each


class _Attempt:
    """One attempt of a transaction outside of the group commit: its mark and result, set before the COMMIT."""

    __slots__ = ("mark", "result")

    def __init__(self) -> None:
        self.mark: commit_status.Mark | None = None
        self.result: Any = None


async def _roll_back(connection: Connection, reason: BaseException) -> None:
    """End a failed transaction; drop the connection when that fails. `reason` remains the error."""
    if connection.is_closed():
        return
    if isinstance(reason, TimeoutError):
        await _drop(connection)  # a ROLLBACK would wait for the statement that does not end
        return
    try:
        await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, *GONE) as error:
        log.warning("a rollback failed, its connection is dropped: %s", type(error).__name__)
        connection.terminate()


class _CommitTimer:
    """Cancels a statement that commits if it takes longer than COMMIT_S; its answer still arrives.

    If it waits for a synchronous standby that is away, the answer says that the transaction is
    committed. A second attempt to write the same would wait as long again.
    """

    __slots__ = ("_connection", "_timer", "has_fired")

    def __init__(self, connection: Connection) -> None:
        self.has_fired = False
        self._connection = connection
        self._timer = asyncio.get_running_loop().call_later(COMMIT_S, self._cancel)

    def _cancel(self) -> None:
        self.has_fired = True
        request_cancel(self._connection)

    def stop(self) -> None:
        """End the time limit; call this when the statement has ended, whatever its outcome."""
        self._timer.cancel()
        if self.has_fired:
            log.warning("a COMMIT took %.0f s; is a synchronous standby away?", COMMIT_S)
            self._connection.terminate()


async def _drop(connection: Connection) -> None:
    """Close a connection whose statement does not end, and ask the server to cancel the statement.

    A COMMIT that waits for a synchronous standby then ends as committed; otherwise it would stay
    open and in doubt.
    """
    try:
        await connection.close(timeout=CANCEL_S)
    except (asyncpg.PostgresError, *GONE) as error:
        log.debug("a connection was closed without an answer: %s", type(error).__name__)
        connection.terminate()


def _sum(*loads: Load) -> Load:
    in_use, idle, waiting, size = (sum(figures) for figures in zip(*loads, strict=True))
    return in_use, idle, waiting, size


def _after(connection: Connection, error: BaseException) -> BaseException:
    """The error of a use of the connection, as ours. A connection that is lost is terminated."""
    known = error
    if isinstance(error, (asyncpg.PostgresError, *GONE)):
        known = translate(error)
        if isinstance(known, Unavailable) and connection.is_closed():
            known = Lost(known.text)
    if isinstance(known, Lost):
        connection.terminate()
    return known


class _Borrowed:
    """A connection of a pool, for one use.

    Raises the driver's errors as ours; a connection that is lost is terminated.
    """

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.acquire()
        return self._connection

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                known = _after(self._connection, error)
                if known is not error:
                    raise known from error
        finally:
            self._pool.release(self._connection)


async def _after_commit(connection: Connection, error: BaseException) -> BaseException:
    """The error of a statement that commits by itself: in doubt unless the database rolled back."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if cause is None or is_rolled_back(cause):
        return error
    await _drop(connection)
    if isinstance(cause, (asyncpg.PostgresError, *GONE)):
        return InDoubt(translate(cause).text)
    return error


class _Retries:
    """Decides after each failed attempt of a transaction whether there is another one."""

    __slots__ = ("_attempts", "_lost")

    def __init__(self) -> None:
        self._attempts = 0
        self._lost = False

    async def again(self, error: DatabaseError) -> bool:
        """Whether to try again; waits until then."""
        self._attempts += 1
        if isinstance(error, Lost):
            # Lost before the COMMIT, so nothing is written. A second loss is not the fault of one
            # connection.
            is_first, self._lost = not self._lost, True
            return is_first
        if isinstance(error, Retryable) and self._attempts < RETRIES:
            # Full jitter, so that two processes that collided do not collide again.
            await asyncio.sleep(random.uniform(0, 0.02 * 2**self._attempts))
            return True
        return False


class PostgresDatabase:
    """One PostgreSQL database (or an engine that speaks its protocol)."""

    dialect: Dialect = "postgres"
    write_lanes = 2

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
                (await self._open()).terminate()
            else:
                await self._ask(self._connector.connect_timeout_s)
        except pg.TooManyConnectionsError:
            pass
        except (asyncpg.PostgresError, *GONE):
            return False
        return True

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
                known = _after(connection, error)
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
            await _roll_back(connection, error)
            raise
        timer = _CommitTimer(connection)
        try:
            status = await connection.execute("COMMIT")
        except BaseException as error:
            if is_rolled_back(error):
                raise
            await _drop(connection)
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
                async with _Borrowed(self._others) as connection:
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
        retries = _Retries()
        while alone:
            try:
                return await self._statement(fn, args)
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
        timer = _CommitTimer(connection)
        try:
            tx = PostgresTx(connection, self.schema, self.row_count, alone=True)
            return await fn(tx, *args)
        except BaseException as error:
            known = _after(connection, await _after_commit(connection, error))
            if known is not error:
                raise known from error
            raise
        finally:
            timer.stop()
            self._writers.release(connection)

    async def _retried(self, pool: Pool, use: Callable[[Connection], Awaitable[T]]) -> T:
        retries = _Retries()
        while True:
            try:
                async with _Borrowed(pool) as connection:
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
        if self._probe is not None:
            self._probe.terminate()
        for pool in self._pools:
            await pool.close()
