"""Retry-After during an outage: MLflow's client with its seven retries outlasts three minutes."""

from __future__ import annotations

import pytest

from headrace.http.outage import LONGEST_S, SHORTEST_S, SPREAD, Outage

MLFLOW_TRIES = 7  # MLFLOW_HTTP_REQUEST_MAX_RETRIES


class Clock:
    """A clock that only tests advance."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def patience_s(outage: Outage, clock: Clock) -> float:
    """The time until a client that is always refused gives up."""
    began_s = clock.now_s
    for _ in range(MLFLOW_TRIES):
        clock.now_s += outage.retry_after_s()
    return clock.now_s - began_s


def test_a_client_outlasts_three_minutes() -> None:
    clock = Clock()
    assert patience_s(Outage(clock), clock) > 180


@pytest.mark.parametrize("late_s", [1, 10, 100])
def test_later_clients_wait_no_less(late_s: float) -> None:
    clock = Clock()
    outage = Outage(clock)
    while clock.now_s < late_s:
        outage.retry_after_s()
        clock.now_s += 0.5
    assert patience_s(outage, clock) > 180


def test_a_short_outage_costs_little() -> None:
    clock = Clock()
    outage = Outage(clock)
    for _ in range(100):
        assert SHORTEST_S <= outage.retry_after_s() <= SHORTEST_S * (1 + SPREAD) + 1
        clock.now_s += 0.02


def test_an_outage_is_forgotten_when_it_is_over() -> None:
    clock = Clock()
    outage = Outage(clock)
    for _ in range(60):
        outage.retry_after_s()
        clock.now_s += 1
    assert outage.retry_after_s() > 30
    clock.now_s += 2 * LONGEST_S + 1
    assert outage.retry_after_s() < 2 * SHORTEST_S


def test_clients_do_not_come_back_in_the_same_second() -> None:
    clock = Clock()
    outage = Outage(clock)
    for _ in range(40):
        outage.retry_after_s()
        clock.now_s += 1
    assert len({outage.retry_after_s() for _ in range(200)}) > 3
