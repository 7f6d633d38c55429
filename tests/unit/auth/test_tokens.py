"""Tokens end with time, with a new password and with the user, and cannot be made without the key."""

from __future__ import annotations

import base64
from typing import NamedTuple

import pytest

from headrace.auth.authority import Unauthenticated
from headrace.auth.tokens import DAY_S, PREFIX, Tokens


class Row(NamedTuple):
    """A row of `users`."""

    id: int
    is_admin: bool
    password_hash: str | None


ANN = Row(7, False, "scrypt:32768:8:1$salt$00")


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.5

    def __call__(self) -> float:
        return self.now_s


async def test_a_token_names_its_user_until_it_expires() -> None:
    clock = Clock()
    tokens = Tokens("secret", clock)
    token = tokens.issue("ann · ä", ANN, 30)
    clock.now_s += 30 * DAY_S - 2
    caller = tokens.read(token)
    assert caller.name == "ann · ä"
    await caller.confirm(ANN)
    clock.now_s += 2
    with pytest.raises(Unauthenticated) as refused:
        tokens.read(token)
    assert (refused.value.reason, refused.value.name) == ("expired token", "ann · ä")


@pytest.mark.parametrize(
    "changed",
    [
        None,
        ANN._replace(id=8),
        ANN._replace(password_hash="scrypt:32768:8:1$salt$01"),
        ANN._replace(password_hash=None),
    ],
)
async def test_a_token_ends_with_the_password_or_the_user(changed: Row | None) -> None:
    tokens = Tokens("secret")
    caller = tokens.read(tokens.issue("ann", ANN, 1))
    await caller.confirm(ANN._replace(is_admin=True))
    with pytest.raises(Unauthenticated):
        await caller.confirm(changed)


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(Unauthenticated) as refused:
        Tokens("secret").read(Tokens("other").issue("ann", ANN, 1))
    assert refused.value.reason == "token with a wrong signature"
    assert refused.value.name is None


def test_a_token_with_any_other_bit_is_refused() -> None:
    tokens = Tokens("secret")
    token = tokens.issue("ann", ANN, 1).removeprefix(PREFIX)
    content = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for bit in range(len(content) * 8):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        text = base64.urlsafe_b64encode(changed).decode().rstrip("=")
        with pytest.raises(Unauthenticated):
            tokens.read(PREFIX + text)


@pytest.mark.parametrize(
    "token", ["", PREFIX, PREFIX + "A", PREFIX + "AAAA", PREFIX + "A" * 999, PREFIX + "é" * 80]
)
def test_malformed_tokens_are_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        Tokens("secret").read(token)


@pytest.mark.parametrize("name", ["ann", "anna", "annab"])
def test_a_token_has_one_spelling(name: str) -> None:
    """The last character has bits that do not count, unless the length is a multiple of four."""
    tokens = Tokens("secret")
    token = tokens.issue(name, ANN, 1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for character in alphabet.replace(token[-1], ""):
        with pytest.raises(Unauthenticated):
            tokens.read(token[:-1] + character)
    assert tokens.read(token).name == name


def test_a_token_is_no_jwt_and_fits_a_header() -> None:
    token = Tokens("secret").issue("ann", ANN, 1)
    assert token.startswith(PREFIX)
    assert "." not in token
    assert token.isascii()
    assert "ann" not in token
    assert ANN.password_hash is not None
    assert ANN.password_hash not in token
