"""Failed logins are limited per user and address; memory is bounded; nobody else is locked out."""

from __future__ import annotations

import asyncio

import pytest

from headrace.auth.failures import (
    LONGEST_PAUSE_S,
    MAX_KEYS,
    PAUSE_S,
    PER_ADDRESS,
    PER_USER,
    PROMPT_ANSWERS,
    Failures,
    TooManyFailures,
)


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def guesses(failures: Failures, name: str, address: str, most: int = 1000) -> int:
    """How many guesses are allowed at once."""
    for count in range(most):
        try:
            failures.begin(name, address)
        except TooManyFailures:
            return count
    return most


def test_one_user_at_one_address_may_fail_some_times_and_then_slowly() -> None:
    clock = Clock()
    failures = Failures(clock)
    assert guesses(failures, "ann", "10.0.0.1") == PER_USER.burst
    with pytest.raises(TooManyFailures) as refused:
        failures.begin("ann", "10.0.0.1")
    assert refused.value.status == 429
    assert refused.value.retry_after_s == PER_USER.interval_s
    assert "try again in 30 seconds" in refused.value.message
    clock.now_s += 29
    with pytest.raises(TooManyFailures) as refused:
        failures.begin("ann", "10.0.0.1")
    assert refused.value.retry_after_s == 1
    clock.now_s += 1
    assert guesses(failures, "ann", "10.0.0.1") == 1
    clock.now_s += 3600
    assert guesses(failures, "ann", "10.0.0.1") == PER_USER.burst


def test_guesses_at_one_address_lock_nobody_out_elsewhere() -> None:
    failures = Failures(Clock())
    guesses(failures, "ann", "10.0.0.1")
    assert guesses(failures, "ann", "10.0.0.2") == PER_USER.burst
    assert guesses(failures, "bob", "10.0.0.1") == PER_USER.burst


def test_one_address_may_not_try_all_users() -> None:
    failures = Failures(Clock())
    allowed = sum(guesses(failures, f"user{n}", "10.0.0.1", 1) for n in range(1000))
    assert allowed == PER_ADDRESS.burst


def test_right_passwords_are_not_counted() -> None:
    failures = Failures(Clock())
    for _ in range(1000):
        failures.begin("ann", "10.0.0.1")
        failures.succeed("ann", "10.0.0.1")
    assert guesses(failures, "ann", "10.0.0.1") == PER_USER.burst
    assert len(failures._users) == 1


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
        ("odd:address", "odd:address", True),
    ],
)
def test_addresses_of_one_host_are_counted_together(one: str, other: str, together: bool) -> None:
    failures = Failures(Clock())
    guesses(failures, "ann", one)
    assert guesses(failures, "ann", other) == (0 if together else PER_USER.burst)


def test_memory_is_bounded() -> None:
    failures = Failures(Clock())
    for n in range(MAX_KEYS + 1000):
        failures.begin("x" * 10_000 + str(n % 7), f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(failures._users) == len(failures._addresses) == MAX_KEYS
    assert max(map(len, failures._users._due)) < 300


async def test_answers_to_an_address_that_guesses_are_slow() -> None:
    """The others are not, nor are more than a number at a time."""
    clock, slept, end = Clock(), list[float](), asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await end.wait()

    failures = Failures(clock, sleep, max_paused=2)
    for n in range(PROMPT_ANSWERS):
        failures.begin(f"user{n}", "10.0.0.1")
        await failures.pause("10.0.0.1")
    assert slept == []
    failures.begin("ann", "10.0.0.1")
    paused = [asyncio.create_task(failures.pause("10.0.0.1")) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert slept == [pytest.approx(11 * PAUSE_S)] * 2
    assert [task.done() for task in paused] == [False, False, True]
    await failures.pause("10.0.0.2")
    end.set()
    await asyncio.gather(*paused)
    await failures.pause("10.0.0.1")
    assert len(slept) == 3
    for n in range(PER_ADDRESS.burst - PROMPT_ANSWERS - 1):
        failures.begin(f"bob{n}", "10.0.0.1")
    await failures.pause("10.0.0.1")
    assert slept[3:] == [LONGEST_PAUSE_S]
    clock.now_s += PER_ADDRESS.burst * PER_ADDRESS.interval_s
    await failures.pause("10.0.0.1")
    assert len(slept) == 4
