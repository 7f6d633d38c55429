"""How uses of a connection end: with a COMMIT or a ROLLBACK, in time or not, and with which error."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final

import asyncpg

from headrace.db.errors import DatabaseError, InDoubt, Lost, Retryable, Unavailable
from headrace.db.postgres.errors import GONE, is_rolled_back, translate
from headrace.db.postgres.pool import request_cancel

if TYPE_CHECKING:
    from headrace.db.postgres.pool import Connection

log = logging.getLogger(__name__)
# How often one transaction runs when the database reports deadlocks or serialization failures.
RETRIES: Final = 6
# A COMMIT that takes longer waits for a synchronous standby. Less than the default timeout of
# proxies, 60 s, and than STATEMENT_TIMEOUT_S, after which the answer is lost.
COMMIT_S: Final = 30.0
CANCEL_S: Final = 2.0  # how long to wait for the server to confirm a cancellation


async def roll_back(connection: Connection, reason: BaseException) -> None:
    """End a failed transaction; drop the connection when that fails. `reason` remains the error."""
    if connection.is_closed():
        return
    if isinstance(reason, TimeoutError):
        await drop(connection)  # a ROLLBACK would wait for the statement that does not end
        return
    try:
        await connection.execute("ROLLBACK")
    except (asyncpg.PostgresError, *GONE) as error:
        log.warning("a rollback failed, its connection is dropped: %s", type(error).__name__)
        connection.terminate()


class CommitTimer:
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


async def drop(connection: Connection) -> None:
    """Close a connection whose statement does not end, and ask the server to cancel the statement.

    A COMMIT that waits for a synchronous standby then ends as committed; otherwise it would stay
    open and in doubt.
    """
    try:
        await connection.close(timeout=CANCEL_S)
    except (asyncpg.PostgresError, *GONE) as error:
        log.debug("a connection was closed without an answer: %s", type(error).__name__)
        connection.terminate()


def after(connection: Connection, error: BaseException) -> BaseException:
    """The error of a use of the connection, as ours. A connection that is lost is terminated."""
    known = error
    if isinstance(error, (asyncpg.PostgresError, *GONE)):
        known = translate(error)
        if isinstance(known, Unavailable) and connection.is_closed():
            known = Lost(known.text)
    if isinstance(known, Lost):
        connection.terminate()
    return known


async def after_commit(connection: Connection, error: BaseException) -> BaseException:
    """The error of a statement that commits by itself: in doubt unless the database rolled back."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if cause is None or is_rolled_back(cause):
        return error
    await drop(connection)
    if isinstance(cause, (asyncpg.PostgresError, *GONE)):
        return InDoubt(translate(cause).text)
    return error


class Retries:
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
