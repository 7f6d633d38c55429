"""The answer about a trace waits for spans that have arrived, whichever of the two requests comes first."""

from __future__ import annotations

import asyncio

import pytest

from headrace.api.traces import arriving
from headrace.api.traces.arriving import Arriving


async def test_spans_that_have_arrived_are_waited_for() -> None:
    found = Arriving()
    with found.committing(["tr-1", "tr-2"]):
        answer = asyncio.create_task(found.settled("tr-2"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not answer.done(), "they are not committed yet"
    assert await answer


async def test_spans_that_arrive_meanwhile_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "GRACE_S", 60.0)
    found = Arriving()
    with found.committing(["tr-1"]):
        pass
    answers = [asyncio.create_task(found.settled("tr-2")) for _ in range(2)]
    await asyncio.sleep(0)
    with found.committing(["tr-2"]):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not any(answer.done() for answer in answers)
    assert await asyncio.gather(*answers) == [True, True]


async def test_a_refused_commit_ends_the_wait() -> None:
    found = Arriving()
    with pytest.raises(ValueError, match="refused"), found.committing(["tr-1"]):
        answer = asyncio.create_task(found.settled("tr-1"))
        await asyncio.sleep(0)
        raise ValueError("refused")
    assert await answer


async def test_nothing_is_waited_for_where_no_client_sends_spans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arriving, "GRACE_S", 1e9)
    assert not await Arriving().settled("tr-1")


async def test_spans_that_do_not_come_are_not_waited_for_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arriving, "GRACE_S", 0.001)
    found = Arriving()
    with found.committing(["tr-1"]):
        assert not await found.settled("tr-2")
    assert not found._awaited
    assert not found._commits
