"""The connection pool: its counts are right after every order of hand-over, cancellation and failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from headrace.db.errors import Crowded, Unavailable
from headrace.db.postgres import pool as postgres_pool
from headrace.db.postgres.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Connection:
    """A connection that does nothing."""

    def __init__(self) -> None:
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def is_in_transaction(self) -> bool:
        return False

    def terminate(self) -> None:
        self.closed = True

    async def close(self, timeout: float) -> None:
        self.closed = True


async def turns(number: int = 5) -> None:
    """Let the other tasks run until they wait."""
    for _ in range(number):
        await asyncio.sleep(0)


def pool(open_one: Callable[[], Awaitable[Connection]], size: int = 1) -> Pool:
    return Pool(open_one, size, lambda: None)


async def opened() -> Connection:
    return Connection()


async def test_a_caller_that_leaves_while_it_connects_lets_the_next_one_connect() -> None:
    gate = asyncio.Event()

    async def slow() -> Connection:
        await gate.wait()
        return Connection()

    connections = pool(slow)
    first = asyncio.create_task(connections.acquire())
    await turns()
    second = asyncio.create_task(connections.acquire())
    await turns()
    assert connections.load == (0, 0, 1, 1)
    first.cancel()
    await turns()
    gate.set()
    connection = await second
    assert connections.load == (1, 0, 0, 1)
    connections.release(connection)
    assert connections.load == (0, 1, 0, 1)


async def test_a_connect_that_fails_lets_the_next_one_connect() -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    begun: list[asyncio.Event] = []

    async def first_fails() -> Connection:
        begun.append(gates[len(begun)])
        await begun[-1].wait()
        if len(begun) == 1:
            raise ConnectionRefusedError
        return Connection()

    connections = pool(first_fails)
    first = asyncio.create_task(connections.acquire())
    await turns()
    second = asyncio.create_task(connections.acquire())
    await turns()
    gates[0].set()
    with pytest.raises(Unavailable):
        await first
    gates[1].set()
    await second
    assert connections.load == (1, 0, 0, 1)


async def test_a_caller_that_leaves_in_the_tick_of_the_hand_over_loses_no_connection() -> None:
    """Since Python 3.12 a cancellation takes precedence over a result that is already set."""
    connections = pool(opened)
    connection = await connections.acquire()
    waiting = asyncio.create_task(connections.acquire())
    await turns()
    connections.release(connection)
    assert connections.load == (1, 0, 0, 1), "handed over"
    waiting.cancel()
    outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
    if outcome is connection:  # a caller that got it in spite of the cancellation releases it
        connections.release(connection)
    assert connections.load == (0, 1, 0, 1)
    assert await connections.acquire() is connection


async def test_what_a_leaving_caller_was_handed_goes_to_the_next_in_line() -> None:
    connections = pool(opened)
    connection = await connections.acquire()
    leaving = asyncio.create_task(connections.acquire())
    await turns()
    staying = asyncio.create_task(connections.acquire())
    await turns()
    connections.release(connection)
    leaving.cancel()
    outcome = (await asyncio.gather(leaving, return_exceptions=True))[0]
    if outcome is connection:
        connections.release(connection)
    assert await staying is connection
    assert connections.load == (1, 0, 0, 1)


async def test_a_free_place_offered_to_a_leaving_caller_goes_to_the_next_in_line() -> None:
    connections = pool(opened)
    connection = await connections.acquire()
    leaving = asyncio.create_task(connections.acquire())
    await turns()
    staying = asyncio.create_task(connections.acquire())
    await turns()
    connection.terminate()
    connections.release(connection)  # broken: the first waiting caller may open another
    leaving.cancel()
    outcome = (await asyncio.gather(leaving, return_exceptions=True))[0]
    if isinstance(outcome, Connection):
        connections.release(outcome)
    await staying
    assert connections.load == (1, 0, 0, 1)


async def test_a_caller_that_leaves_the_line_is_forgotten() -> None:
    connections = pool(opened)
    connection = await connections.acquire()
    waiting = asyncio.create_task(connections.acquire())
    await turns()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert connections.load == (1, 0, 0, 1)
    connections.release(connection)
    assert connections.load == (0, 1, 0, 1)


async def test_a_caller_that_waited_too_long_is_refused_and_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_pool, "WAIT_TIMEOUT_S", 0.0)
    connections = pool(opened)
    connection = await connections.acquire()
    with pytest.raises(Crowded):
        await connections.acquire()
    assert connections.load == (1, 0, 0, 1)
    connections.release(connection)
    assert connections.load == (0, 1, 0, 1)


async def test_callers_in_line_learn_at_once_that_the_pool_closes() -> None:
    connections = pool(opened)
    connection = await connections.acquire()
    waiting = asyncio.create_task(connections.acquire())
    await turns()
    await connections.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await waiting
    connections.release(connection)
    assert connections.load == (0, 0, 0, 1)
    assert connection.closed


async def test_the_oldest_connect_is_known_when_a_later_one_ends_first() -> None:
    gates: list[asyncio.Event] = []

    async def gated() -> Connection:
        gate = asyncio.Event()
        gates.append(gate)
        await gate.wait()
        return Connection()

    connections = pool(gated, size=2)
    first = asyncio.create_task(connections.acquire())
    await turns()
    since = connections.oldest()
    second = asyncio.create_task(connections.acquire())
    await turns()
    gates[1].set()
    connections.release(await second)
    assert connections.oldest() == since
    gates[0].set()
    await first


async def test_a_renewed_pool_uses_no_old_connection_again() -> None:
    """Idle ones are closed now, those in use when they are released; a waiting caller gets a new one."""
    connections = pool(opened, size=2)
    idle, used = await connections.acquire(), await connections.acquire()
    connections.release(idle)
    connections.renew()
    assert idle.is_closed() and not used.is_closed()
    fresh = await connections.acquire()
    waiting = asyncio.create_task(connections.acquire())
    await turns()
    connections.release(used)
    assert used.is_closed()
    last = await waiting
    assert last is not used
    for connection in (fresh, last):
        connections.release(connection)
        assert not connection.is_closed()
    assert connections.load == (0, 2, 0, 2)


async def test_connections_to_another_address_are_broken() -> None:
    connections = pool(opened, size=3)
    taken = [await connections.acquire() for _ in range(3)]
    for connection, address in zip(taken, ("old", "old", "new"), strict=True):
        connection._addr = address
    connections.release(taken[0])
    assert connections.break_others("new") == 2
    assert [connection.is_closed() for connection in taken] == [True, True, False]
    connections.release(taken[1])
    assert (await connections.acquire()).is_closed() is False
