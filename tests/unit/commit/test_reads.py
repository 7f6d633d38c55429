"""Many equal requests share reads; none waits for others, or gets a read that began before it arrived."""

from __future__ import annotations

import asyncio
import gc
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest

from headrace.commit.reads import MAX_EQUAL_READS, BatchedReads, GatheredReads, SharedReads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

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


class Steps:
    """Reads that end when the test says so."""

    def __init__(self) -> None:
        self.open: list[asyncio.Future[int]] = []

    async def read(self) -> int:
        self.open.append(asyncio.get_running_loop().create_future())
        return await self.open[-1]


async def turn() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def asked(shared: SharedReads, source: Steps, count: int) -> list[asyncio.Task[int]]:
    """Requests that have arrived."""
    tasks = [asyncio.create_task(shared.get("key", source.read)) for _ in range(count)]
    await turn()
    return tasks


async def test_requests_share_a_read_only_if_as_many_equal_reads_run_as_may() -> None:
    shared, source = SharedReads(), Steps()
    first = await asked(shared, source, MAX_EQUAL_READS)
    assert len(source.open) == MAX_EQUAL_READS
    later = await asked(shared, source, CLIENTS)
    assert len(source.open) == MAX_EQUAL_READS
    source.open[0].set_result(0)
    await turn()
    assert len(source.open) == MAX_EQUAL_READS + 1
    source.open[-1].set_result(1)
    assert await asyncio.gather(first[0], *later) == [0] + CLIENTS * [1]
    source.open[1].set_result(2)
    assert await first[1] == 2


async def test_no_read_waits_for_clients_that_may_come() -> None:
    """The next read begins as soon as one ends, although the clients of the last ones are not back."""
    shared, source = SharedReads(), Steps()
    await asked(shared, source, CLIENTS)
    for number in range(ROUNDS):
        await asked(shared, source, 1)
        source.open[number].set_result(number)
        await turn()
        assert len(source.open) == MAX_EQUAL_READS + number + 1


async def test_clients_that_ask_again_at_once_share_reads() -> None:
    shared, source = SharedReads(), Source()

    async def client() -> None:
        for _ in range(ROUNDS):
            await shared.get("key", source.read)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    assert source.reads <= CLIENTS * ROUNDS / 2


async def test_no_read_begins_for_clients_that_went_away() -> None:
    shared, source = SharedReads(), Steps()
    first = await asked(shared, source, MAX_EQUAL_READS)
    for gone in await asked(shared, source, CLIENTS):
        gone.cancel()
    for number, task in enumerate(first):
        source.open[number].set_result(number)
        assert await task == number
    await turn()
    assert len(source.open) == MAX_EQUAL_READS
    (alone,) = await asked(shared, source, 1)
    source.open[-1].set_result(9)
    assert await alone == 9


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
    tasks = [asyncio.create_task(shared.get("key", source.read)) for _ in range(CLIENTS)]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, ConnectionError) for answer in answers)
    source.broken = False
    assert await shared.get("key", source.read) == source.began


async def test_a_client_that_goes_away_does_not_affect_the_others() -> None:
    shared, source = SharedReads(), Steps()
    await asked(shared, source, MAX_EQUAL_READS)
    gone, stays = await asked(shared, source, 2)
    gone.cancel()
    source.open[0].set_result(0)
    await turn()
    source.open[-1].set_result(1)
    assert await stays == 1
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_client_may_go_away_in_the_middle_of_its_read() -> None:
    shared, source = SharedReads(), Steps()
    first = await asked(shared, source, MAX_EQUAL_READS)
    (waits,) = await asked(shared, source, 1)
    first[0].cancel()
    await turn()
    source.open[-1].set_result(1)
    assert await waits == 1


class Rows:
    """The rows that a read holds when it fails."""


class Failing:
    """Reads that fail, and what each of them held."""

    def __init__(self) -> None:
        self.held: list[weakref.ref[Rows]] = []

    async def read(self, _: Sequence[str] = ()) -> dict[str, int]:
        rows = Rows()
        self.held.append(weakref.ref(rows))
        await asyncio.sleep(0)
        raise ConnectionError


async def refused(get: Callable[[], Awaitable[object]]) -> None:
    """A caller that gets the failure."""
    try:
        await get()
    except ConnectionError:
        return
    pytest.fail("the read succeeded")


@pytest.mark.parametrize("kind", ["shared", "batched", "gathered"])
async def test_what_a_failed_read_held_is_freed_without_the_cycle_collector(kind: str) -> None:
    source = Failing()
    shared = SharedReads()
    gets: dict[str, Callable[[], Awaitable[object]]] = {
        "shared": lambda: shared.get("key", source.read),
        "batched": partial(BatchedReads(source.read).get, "key"),
        "gathered": partial(GatheredReads(source.read).get, "key"),
    }
    gc.disable()
    try:
        await asyncio.gather(*(refused(gets[kind]) for _ in range(CLIENTS)))
        await turn()
        assert source.held
        assert [held() for held in source.held if held() is not None] == []
    finally:
        gc.enable()
