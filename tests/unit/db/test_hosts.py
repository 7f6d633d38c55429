"""Several hosts in a URI: which one is asked, for how long, and which error the caller gets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import pytest

from headrace.db.postgres import hosts
from headrace.db.postgres.hosts import Hosts

ARGUMENTS = {"host": ["one", "two"], "port": [1, 2], "user": "me"}


class Answer:
    """A connection, and whether it was closed."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.closed = False

    def terminate(self) -> None:
        self.closed = True


class Network:
    """Answers for each host: an exception, or the seconds until it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []
        monkeypatch.setattr(asyncpg, "connect", self.connect)
        monkeypatch.setattr(hosts, "PATIENCE_S", 0.05)

    async def connect(self, **arguments: Any) -> Answer:
        self.asked.append(arguments)
        answer = self.answers[arguments["host"]]
        if isinstance(answer, Exception):
            raise answer
        await asyncio.sleep(answer)
        return Answer(arguments["host"])


async def test_a_silent_host_costs_a_moment_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next host is asked meanwhile, and first from then on."""
    network = Network(monkeypatch, one=60, two=0)
    database = Hosts(ARGUMENTS)
    began = time.monotonic()
    assert (await database.connect(timeout=5)).host == "two"
    assert time.monotonic() - began < 5
    assert [asked["host"] for asked in network.asked] == ["one", "two"]
    assert {asked["timeout"] for asked in network.asked} == {5}
    assert (await database.connect()).host == "two"
    assert [asked["host"] for asked in network.asked[2:]] == ["two"]


async def test_a_host_that_refuses_is_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a pause; and the order of the URI decides while the first host answers."""
    network = Network(monkeypatch, one=0, two=0)
    database = Hosts(ARGUMENTS)
    assert (await database.connect()).host == "one"
    network.answers["one"] = ConnectionRefusedError()
    monkeypatch.setattr(hosts, "PATIENCE_S", 60)
    assert (await database.connect()).host == "two"


async def test_the_error_of_a_host_that_was_reached_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It tells more than that of a host that is away."""
    standby = asyncpg.TargetServerAttributeNotMatched("a standby")
    network = Network(monkeypatch, one=ConnectionRefusedError("away"), two=standby)
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched):
        await Hosts(ARGUMENTS).connect()
    network.answers["two"] = OSError("no route")
    with pytest.raises(ConnectionRefusedError, match="away"):
        await Hosts(ARGUMENTS).connect()


@pytest.mark.parametrize(
    ("given", "environment", "used", "only_primary"),
    [
        ({}, None, "read-write", True),
        ({}, "any", "any", False),
        ({"target_session_attrs": "primary"}, "any", "primary", True),
        ({"target_session_attrs": "standby"}, None, "standby", False),
    ],
)
async def test_several_hosts_are_searched_for_one_that_takes_writes(
    given: dict[str, str],
    environment: str | None,
    used: str,
    only_primary: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless the URI or libpq's variable says otherwise."""
    monkeypatch.delenv("PGTARGETSESSIONATTRS", raising=False)
    if environment:
        monkeypatch.setenv("PGTARGETSESSIONATTRS", environment)
    network = Network(monkeypatch, one=0, two=0)
    database = Hosts({**ARGUMENTS, **given})
    await database.connect()
    assert network.asked[0]["target_session_attrs"] == used
    assert database.only_primary is only_primary


async def test_a_host_that_answers_too_late_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is closed, not leaked."""
    both = asyncio.Event()
    late: list[Answer] = []

    async def connect(**arguments: Any) -> Answer:
        answer = Answer(arguments["host"])
        late.append(answer)
        if len(late) == 2:
            both.set()
        await both.wait()
        return answer

    monkeypatch.setattr(asyncpg, "connect", connect)
    monkeypatch.setattr(hosts, "PATIENCE_S", 0.01)
    used = await Hosts(ARGUMENTS).connect()
    for _ in range(5):
        await asyncio.sleep(0)
    (other,) = {answer for answer in late if answer is not used} - {used}
    assert other.closed and not used.closed
