"""Requests that wait at the same time share one read; no read begins before its request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from headrace.commit.reads import MAX_BATCH_KEYS, GatheredReads

if TYPE_CHECKING:
    from collections.abc import Sequence


class Source:
    """Returns each even key with the number of the read, after a pause or at once."""

    def __init__(self, pause: bool) -> None:
        self.pause = pause
        self.batches: list[list[int]] = []
        self.broken = False

    async def read(self, keys: Sequence[int]) -> dict[int, tuple[int, int]]:
        self.batches.append(sorted(keys))
        number = len(self.batches)
        if self.pause:
            await asyncio.sleep(0.001)
        if self.broken:
            raise ConnectionError
        return {key: (key, number) for key in keys if key % 2 == 0}


@pytest.mark.parametrize("pause", [False, True], ids=["at once", "after a pause"])
async def test_one_read_for_all_who_are_there(pause: bool) -> None:
    source = Source(pause)
    reads = GatheredReads(source.read)
    found = await asyncio.gather(*(reads.get(key) for key in (0, 1, 2, 2, 0)))
    assert found == [(0, 1), None, (2, 1), (2, 1), (0, 1)]
    assert source.batches == [[0, 1, 2]]


@pytest.mark.parametrize("pause", [False, True], ids=["at once", "after a pause"])
async def test_clients_that_ask_again_at_once_cause_one_read_a_round(pause: bool) -> None:
    source = Source(pause)
    reads = GatheredReads(source.read)

    async def client() -> None:
        for _ in range(20):
            await reads.get(2)

    await asyncio.gather(*(client() for _ in range(10)))
    assert len(source.batches) <= 22


async def test_one_turn_is_enough_for_requests_that_continue_together() -> None:
    """They resume in one turn after a read; a read of two can be in flight."""
    source = Source(pause=True)
    first = GatheredReads(source.read)
    then = GatheredReads(source.read, in_flight=2, turns=1)

    async def client(key: int) -> None:
        await first.get(0)
        await then.get(key)

    await asyncio.gather(*(client(key) for key in (2, 4, 6)))
    assert source.batches == [[0], [2, 4, 6]]


async def test_a_request_during_a_read_gets_the_next_one() -> None:
    source = Source(pause=True)
    reads = GatheredReads(source.read)
    first = asyncio.create_task(reads.get(2))
    while not source.batches:
        await asyncio.sleep(0)
    assert await reads.get(2) == (2, 2)
    assert await first == (2, 1)


async def test_a_read_has_a_limited_number_of_keys() -> None:
    source = Source(pause=False)
    reads = GatheredReads(source.read)
    keys = range(0, 6 * MAX_BATCH_KEYS, 2)
    found = await asyncio.gather(*map(reads.get, keys))
    assert [row and row[0] for row in found] == list(keys)
    assert [len(batch) for batch in source.batches] == [MAX_BATCH_KEYS] * 3


async def test_a_failure_reaches_all_its_callers_and_no_later_one() -> None:
    source = Source(pause=True)
    reads = GatheredReads(source.read)
    source.broken = True
    failed = await asyncio.gather(reads.get(2), reads.get(4), return_exceptions=True)
    assert [type(error) for error in failed] == [ConnectionError] * 2
    source.broken = False
    assert await reads.get(2) == (2, 2)


async def test_a_client_that_leaves_does_not_affect_the_others() -> None:
    source = Source(pause=True)
    reads = GatheredReads(source.read)
    first, second = (asyncio.create_task(reads.get(2)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == (2, 1)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await reads.get(2) == (2, 2)
