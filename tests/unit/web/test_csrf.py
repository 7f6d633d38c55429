"""A token is valid for its cookie, its user and an hour, with the key of the server."""

from __future__ import annotations

import time

import pytest

from headrace.web.csrf import MAX_AGE_S, InvalidToken, Tokens, new_seed, seed_of, set_cookie

SEED = new_seed()


def test_a_token_is_accepted_by_every_server_with_the_key() -> None:
    token = Tokens("key").make(SEED, "ann")
    Tokens("key").check(token, SEED, "ann")


@pytest.mark.parametrize(
    ("key", "seed", "name"),
    [("other", SEED, "ann"), ("key", new_seed(), "ann"), ("key", SEED, "b")],
    ids=["another key", "another cookie", "another user"],
)
def test_a_token_of_another_key_cookie_or_user_is_refused(key: str, seed: str, name: str) -> None:
    token = Tokens(key).make(seed, name)
    with pytest.raises(InvalidToken, match="invalid"):
        Tokens("key").check(token, SEED, "ann")


def test_a_token_expires() -> None:
    tokens = Tokens("key")
    tokens.check(tokens.make(SEED, "ann", time.time() - MAX_AGE_S + 60), SEED, "ann")
    with pytest.raises(InvalidToken, match="expired"):
        tokens.check(tokens.make(SEED, "ann", time.time() - MAX_AGE_S - 1), SEED, "ann")


def test_the_time_of_a_token_cannot_be_changed() -> None:
    token = Tokens("key").make(SEED, "ann", time.time() - MAX_AGE_S - 1)
    forged = f"{int(time.time())}.{token.partition('.')[2]}"
    with pytest.raises(InvalidToken, match="invalid"):
        Tokens("key").check(forged, SEED, "ann")


@pytest.mark.parametrize("token", ["x", "1.2", "1." + "é" * 64, "²." + "0" * 64, "9" * 5000 + ".0"])
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        Tokens("key").check(token, SEED, "ann")


def test_the_cookie_is_found_among_others() -> None:
    cookie = set_cookie(SEED, secure=True)
    assert cookie.endswith("; Secure")
    assert seed_of(f'a={{"b": 1}}; =; {cookie.partition(";")[0]}; c=d') == SEED


@pytest.mark.parametrize(
    "header",
    [None, "", "session=", "session=x", f"session={SEED}0", "\x00=;;", f"s={SEED}"],
    ids=["none", "empty", "no value", "short", "long", "malformed", "another name"],
)
def test_a_cookie_of_another_form_is_none(header: str | None) -> None:
    assert seed_of(header) is None
