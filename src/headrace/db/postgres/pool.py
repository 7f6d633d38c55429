"""A small connection pool that replaces broken connections, and TCP options that detect dead peers.

asyncpg's own pool sends a reset query after every use. Ours does not, because headrace never
changes session state. A failed connection is dropped and the next caller opens a new one.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from headrace.db.errors import Crowded, Unavailable
from headrace.db.postgres.errors import GONE, translate
from headrace.db.postgres.hosts import address_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.db.base import Load

Connection: TypeAlias = Any  # asyncpg ships no types
WAIT_TIMEOUT_S: Final = 10.0  # for a connection of the pool; then the caller gets 429
# A stock search of 100 runs takes 5 to 15 ms, so the last caller of a full queue waits a second or
# two.
MAX_WAITERS: Final = 128  # per pool; further callers get 429 immediately
# The kernel breaks a connection whose peer is silent for so long. This detects a host that
# vanished, or a firewall that dropped the connection, although new connections succeed.
SILENCE_MS: Final = 20_000
KEEPALIVE_IDLE_S: Final = 10
KEEPALIVE_INTERVAL_S: Final = 3
KEEPALIVE_PROBES: Final = 3


def notice_silence(connection: Connection) -> None:
    """Make the kernel break a TCP connection whose peer is silent (on Linux; elsewhere as far as supported)."""
    connection = getattr(connection, "driver", connection)
    # asyncpg offers no other access to its socket.
    transport = getattr(connection, "_transport", None)
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    options = {
        "TCP_KEEPIDLE": KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_S,
        "TCP_KEEPCNT": KEEPALIVE_PROBES,
        "TCP_USER_TIMEOUT": SILENCE_MS,
    }
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def request_cancel(connection: Connection) -> None:
    """Ask the server to cancel the statement that runs. Its answer still comes, whatever it is then.

    The connection is not for further statements: the request may arrive when the next one runs.
    """
    connection = getattr(connection, "driver", connection)
    # asyncpg has no other way: its own time limit gives up the answer.
    connection._cancel_current_command(asyncio.get_running_loop().create_future())


class Pool:
    """At most `size` connections, opened when first needed; callers queue for up to WAIT_TIMEOUT_S."""

    def __init__(
        self, open_one: Callable[[], Awaitable[Connection]], size: int, used: Callable[[], None]
    ) -> None:
        self._open_one = open_one
        self._used = used
        self._idle: list[Connection] = []
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._in_use: dict[Connection, float] = {}  # with the `monotonic` start of its use
        self._outdated: set[Connection] = set()  # those in use that are not to be used again
        self.away = False  # set while the database is known to be unreachable
        self._opening: list[float] = []  # the `monotonic` start of each connection being opened
        self.size = size
        self.closed = False

    @property
    def load(self) -> Load:
        """In use, idle, waiting callers, size."""
        return len(self._in_use), len(self._idle), len(self._waiters), self.size

    async def acquire(self) -> Connection:
        """An open connection. Raises `Unavailable` when none becomes available in time."""
        while True:
            if self.closed:
                raise Unavailable("the server is shutting down")
            if self.away:
                raise Unavailable("the database does not answer")
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    self._take(connection)
                    return connection
            if len(self._in_use) + len(self._opening) < self.size:
                return await self._open()
            if len(self._waiters) >= MAX_WAITERS:
                raise Crowded("too many requests wait for the database")
            if (handed := await self._wait()) is not None:
                return handed

    async def _wait(self) -> Connection | None:
        """A connection that another caller released, or None when one may be opened. Raises `Crowded`."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(WAIT_TIMEOUT_S):
                return await waiter
        except TimeoutError as error:
            self._pass_on(waiter)
            raise Crowded("no database connection became free in time") from error
        except asyncio.CancelledError:
            self._pass_on(waiter)
            raise

    def _pass_on(self, waiter: asyncio.Future[Connection | None]) -> None:
        """Pass on the connection that a leaving caller was handed in the same iteration of the loop."""
        if not waiter.done() or waiter.cancelled():
            with suppress(ValueError):
                self._waiters.remove(waiter)
        elif (connection := waiter.result()) is not None:
            self.release(connection)
        else:
            self._wake_one()

    async def _open(self) -> Connection:
        since = monotonic()
        self._opening.append(since)
        self._used()
        try:
            connection = await self._open_one()
        except BaseException as error:  # also when cancelled: the next waiter may open one
            self._opening.remove(since)
            self._wake_one()
            if isinstance(error, (asyncpg.PostgresError, *GONE)):
                raise Unavailable(translate(error).text) from error
            raise
        self._opening.remove(since)
        self._take(connection)
        return connection

    def _take(self, connection: Connection) -> None:
        self._in_use[connection] = monotonic()
        self._used()

    def oldest(self) -> float | None:
        """The `monotonic` start of the oldest use or opening of a connection; None without one."""
        return min([*self._in_use.values(), *self._opening], default=None)

    def break_all(self) -> None:
        """Break every connection: callers that use one or wait for one get an error immediately."""
        self.away = True
        for connection in [*self._in_use, *self._idle]:
            connection.terminate()
        self._idle.clear()
        while self._waiters:
            self._wake_one()

    def renew(self) -> None:
        """Replace every connection: an idle one now, one in use when it is released."""
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()
        self._outdated = set(self._in_use)

    def break_others(self, address: object) -> int:
        """Break every connection to another address; return their number."""
        others = [c for c in (*self._in_use, *self._idle) if address_of(c) != address]
        for connection in others:
            connection.terminate()
        return len(others)

    def release(self, connection: Connection) -> None:
        """Return a connection to the pool; drop it when it is closed, outdated or inside a transaction."""
        if (
            connection.is_closed()
            or connection.is_in_transaction()
            or self.closed
            or connection in self._outdated
        ):
            self._in_use.pop(connection, None)
            self._outdated.discard(connection)
            if not connection.is_closed():
                connection.terminate()
            self._wake_one()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._take(connection)
                waiter.set_result(connection)
                return
        self._in_use.pop(connection, None)
        self._idle.append(connection)

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def close(self) -> None:
        """Close idle connections now, and those in use when they are released."""
        self.closed = True
        while self._waiters:
            self._wake_one()
        for connection in self._idle:
            await connection.close(timeout=2)
        self._idle.clear()
