"""Readiness sends one query at a time and waits for a limited time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from headrace.db.errors import Unavailable
from headrace.monitor import readiness
from headrace.monitor.readiness import Readiness

if TYPE_CHECKING:
    from headrace.db.base import Database


class Asked:
    """A database that answers when the test tells it to."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[None]] = []

    async def ping(self) -> None:
        question: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.questions.append(question)
        await question


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def ready(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Readiness:
    monkeypatch.setattr(readiness, "TIMEOUT_S", 0.01)
    return Readiness(cast("Database", asked))


async def test_while_a_login_takes_long_the_last_answer_holds(
    ready: Readiness, asked: Asked
) -> None:
    assert await ready.is_ready(), "the database was opened when the server started"
    assert await ready.is_ready()
    assert len(asked.questions) == 1, "the login goes on"
    asked.questions[0].set_exception(Unavailable("refused"))
    await asyncio.sleep(0)
    assert not await ready.is_ready(), "asked again, not answered yet: what was known last"
    assert len(asked.questions) == 2
    asked.questions[1].set_result(None)
    assert await ready.is_ready()


async def test_an_answer_in_time_counts_at_once(ready: Readiness, asked: Asked) -> None:
    for outcome in (True, False, True):
        asking = asyncio.create_task(ready.is_ready())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if outcome:
            asked.questions[-1].set_result(None)
        else:
            asked.questions[-1].set_exception(Unavailable("away"))
        assert await asking is outcome


async def test_a_caller_that_leaves_does_not_cancel_the_query_of_the_others(
    ready: Readiness, asked: Asked
) -> None:
    leaving = asyncio.create_task(ready.is_ready())
    staying = asyncio.create_task(ready.is_ready())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    asked.questions[0].set_exception(Unavailable("away"))
    assert not await staying
    assert len(asked.questions) == 1
