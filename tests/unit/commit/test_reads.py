"""Concurrent equal reads share one, and no caller gets a read that began before its request."""

from __future__ import annotations

import asyncio

import pytest

from headrace.commit.reads import SharedReads

CLIENTS, ROUNDS = 10, 20


class Source:
    """A slow read that returns its number."""

    def __init__(self) -> None:
        self.reads = 0
        self.began = 0
        self.broken = False

    async def read(self) -> int:
        self.began += 1
        number = self.began
        await asyncio.sleep(0.01)
        if self.broken:
            raise ConnectionError
        self.reads += 1
        return number


async def test_clients_that_ask_again_at_once_share_the_next_read() -> None:
    """One read per round of all clients, except for the first, which begins with the first client."""
    shared, source = SharedReads(), Source()

    async def client() -> None:
        for _ in range(ROUNDS):
            await shared.get("key", source.read)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    assert source.reads <= ROUNDS + 2


async def test_a_read_begins_after_it_was_asked_for() -> None:
    shared, source = SharedReads(), Source()

    async def client(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        for _ in range(ROUNDS):
            already = source.began
            assert await shared.get("key", source.read) > already
            await asyncio.sleep(delay_s)

    await asyncio.gather(*(client(n / 1000) for n in range(CLIENTS)))


async def test_one_client_alone_has_every_read_to_itself() -> None:
    shared, source = SharedReads(), Source()
    for n in range(1, ROUNDS):
        assert await shared.get("key", source.read) == n


async def test_all_callers_of_a_shared_read_get_its_failure_and_later_ones_do_not() -> None:
    shared, source = SharedReads(), Source()
    source.broken = True
    asked = [asyncio.create_task(shared.get("key", source.read)) for _ in range(CLIENTS)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, ConnectionError) for answer in answers)
    source.broken = False
    assert await shared.get("key", source.read) == source.began


async def test_a_client_that_goes_away_does_not_affect_the_others() -> None:
    shared, source = SharedReads(), Source()
    first, second, third = (asyncio.create_task(shared.get("key", source.read)) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    assert await first == 1
    assert await third == 2
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_the_first_one_may_go_away_in_the_middle_of_its_read() -> None:
    shared, source = SharedReads(), Source()
    first, second = (asyncio.create_task(shared.get("key", source.read)) for _ in range(2))
    await asyncio.sleep(0.001)
    first.cancel()
    assert await second == 2
