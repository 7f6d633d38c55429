"""A signed header is valid for one request, once and for a short time."""

from __future__ import annotations

import base64

import pytest

from headrace.bridge import signature
from headrace.bridge.signature import VALID_S, Verifier, is_ticket, signed, ticket

SECRET = "0123456789abcdef" * 4
TARGET = "/api/3.0/mlflow/traces/tr-1?a=%20b"


class Clock:
    """A monotonic clock that a test sets."""

    now_s = 1_000_000.0

    def __call__(self) -> float:
        """The time in s."""
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(signature, "monotonic", clock)
    return clock


@pytest.mark.parametrize("user", ["ann", "", "zoë", "a.b.c", "x\ny", "名", " "])
def test_the_user_arrives_unchanged(user: str) -> None:
    assert Verifier(SECRET).user_of(signed(SECRET, user, "GET", TARGET), "GET", TARGET) == user


def test_a_value_is_accepted_once() -> None:
    verifier = Verifier(SECRET)
    value = signed(SECRET, "ann", "GET", TARGET)
    assert verifier.user_of(value, "GET", TARGET) == "ann"
    assert verifier.user_of(value, "GET", TARGET) is None
    assert verifier.user_of(signed(SECRET, "ann", "GET", TARGET), "GET", TARGET) == "ann"


def test_a_value_is_bound_to_its_request_and_to_the_secret() -> None:
    value = signed(SECRET, "ann", "GET", TARGET)
    verifier = Verifier(SECRET)
    assert verifier.user_of(value, "DELETE", TARGET) is None
    assert verifier.user_of(value, "GET", TARGET + "1") is None
    assert Verifier(SECRET + "0").user_of(value, "GET", TARGET) is None
    assert verifier.user_of(value, "GET", TARGET) == "ann"  # the attempts have not used it up


@pytest.mark.parametrize("position", range(4))
def test_no_part_of_a_value_can_be_changed(position: int) -> None:
    parts = signed(SECRET, "ann", "GET", TARGET).split(".")
    admin = base64.urlsafe_b64encode(b"admin").decode()
    for other in ("", "0", admin, parts[position] + "0", parts[position][:-1]):
        changed = ".".join([*parts[:position], other, *parts[position + 1 :]])
        assert Verifier(SECRET).user_of(changed, "GET", TARGET) is None


@pytest.mark.parametrize("value", ["", ".", "...", "a.b.c.d", "é", "x" * 10_000, SECRET])
def test_any_other_text_is_refused(value: str) -> None:
    assert Verifier(SECRET).user_of(value, "GET", TARGET) is None
    assert not is_ticket(SECRET, value, "ann", "/gateway/")


def test_a_value_expires_and_is_then_forgotten(clock: Clock) -> None:
    verifier = Verifier(SECRET)
    late = signed(SECRET, "ann", "GET", TARGET)
    used = signed(SECRET, "ann", "GET", TARGET)
    assert verifier.user_of(used, "GET", TARGET) == "ann"
    clock.now_s += VALID_S + 1
    assert verifier.user_of(late, "GET", TARGET) is None
    clock.now_s += VALID_S
    assert verifier.user_of(used, "GET", TARGET) is None
    for _ in range(3):
        assert verifier.user_of(signed(SECRET, "a", "GET", TARGET), "GET", TARGET) == "a"
    assert len(verifier._used) == 3


def test_a_ticket_is_bound_to_user_scope_and_time(clock: Clock) -> None:
    value = ticket(SECRET, "ann", "/gateway/", 10)
    assert is_ticket(SECRET, value, "ann", "/gateway/")
    assert not is_ticket(SECRET, value, "bob", "/gateway/")
    assert not is_ticket(SECRET, value, "ann", "/")
    assert not is_ticket(SECRET + "0", value, "ann", "/gateway/")
    assert Verifier(SECRET).user_of(value, "GET", "/gateway/") is None
    clock.now_s += 11
    assert not is_ticket(SECRET, value, "ann", "/gateway/")
