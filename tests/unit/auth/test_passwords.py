"""Stored hashes are those of werkzeug. A hash that cannot match is never computed beyond a bound."""

from __future__ import annotations

import asyncio
import threading

import pytest
from werkzeug.security import check_password_hash, generate_password_hash

from headrace.auth.passwords import Passwords, Remembered, hashed, no_password, parse
from headrace.contract.errors import ApiError

WORD = "correct horse · пароль"


def matches(stored: str | None, password: str) -> bool:
    known = parse(stored)
    return known is not None and known.matches(password)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        "scrypt",
        "scrypt:16384:8:1",
        "scrypt:1024:4:2",
        "pbkdf2",
        "pbkdf2:sha1",
        "pbkdf2:sha512:1000",
        "pbkdf2:sha256:600000",
        "pbkdf2:md5:1",
    ],
)
def test_hashes_of_werkzeug_match_their_password_only(method: str) -> None:
    stored = generate_password_hash(WORD, method)
    assert matches(stored, WORD)
    assert not matches(stored, WORD + " ")
    assert not matches(stored, "")


@pytest.mark.slow
def test_werkzeug_reads_our_hashes() -> None:
    stored = hashed(WORD)
    assert stored.startswith("scrypt:32768:8:1$")
    assert len(stored.split("$")[1]) == 16
    assert check_password_hash(stored, WORD)
    assert matches(stored, WORD)
    assert hashed(WORD) != stored


@pytest.mark.slow
def test_methods_without_arguments_have_werkzeugs_defaults() -> None:
    for method in ("scrypt", "pbkdf2"):
        full = generate_password_hash(WORD, method)
        short = method + full[full.index("$") :]
        assert check_password_hash(short, WORD)
        assert matches(short, WORD)


GOOD = hashed(WORD)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "!",
        "!secret$",
        WORD,
        "plain$$" + WORD,
        GOOD.upper(),
        GOOD[:-1],
        GOOD + " ",
        " " + GOOD,
        GOOD.replace("scrypt:32768", "scrypt: 32768"),
        GOOD.replace("scrypt:32768", "scrypt:32_768"),
        GOOD.replace("scrypt:32768", "scrypt:+32768"),
        GOOD.replace("scrypt:32768", "scrypt:٣٢٧٦٨"),
        GOOD.replace("scrypt:32768", "scrypt:032768"),
        GOOD.replace("scrypt:32768:8:1", "scrypt:32768:8"),
        GOOD.replace("scrypt:32768:8:1", "scrypt:32768:8:1:1"),
        GOOD.replace("scrypt:32768", "scrypt:32767"),
        GOOD.replace("scrypt:32768", "scrypt:1"),
        GOOD.replace("scrypt:32768", "scrypt:0"),
        GOOD.replace(
            "scrypt:32768:8:1", "scrypt:2:1:1"
        ),  # OpenSSL refuses werkzeug's limit of memory
        GOOD.replace("scrypt:32768", "scrypt:-2"),
        "scrypt:2:1:1$s$é",
        "pbkdf2:sha256:0$s$00",
        "pbkdf2:sha256:1:1$s$00",
        "pbkdf2:crc32:1$s$00",
        "pbkdf2:shake_128:1$s$00",
        "md5$salt$00",
        "$$",
    ],
)
def test_malformed_hashes_match_nothing(stored: str | None) -> None:
    assert not matches(stored, WORD)
    assert not matches(stored, "")


@pytest.mark.parametrize(
    "method",
    [
        "scrypt:1048576:8:1",
        "scrypt:32768:8:64",
        "scrypt:2:1000000:1",
        "pbkdf2:sha256:5000000",
        "pbkdf2:sha256:99999999999999999999",
    ],
)
def test_a_hash_that_costs_too_much_is_not_computed(method: str) -> None:
    assert parse(f"{method}$salt$00") is None


def test_users_without_a_password_have_different_values_that_match_nothing() -> None:
    values = {no_password() for _ in range(100)}
    assert len(values) == 100
    for value in values:
        assert value.startswith("!")
        assert "$" not in value
        assert not check_password_hash(value, "")
        assert parse(value) is None


class Held:
    """A hash that is computed until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.began = threading.Semaphore(0)

    def matches(self, password: str) -> bool:
        self.began.release()
        assert self.released.wait(30)
        return True


async def test_hashes_beyond_the_queue_are_refused_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = Held()
    monkeypatch.setattr("headrace.auth.passwords.parse", lambda stored: held)
    passwords = Passwords(threads=2, waiting=1)
    tasks = [asyncio.create_task(passwords.matches("", "")) for _ in range(3)]
    for _ in range(2):
        assert await asyncio.to_thread(held.began.acquire, timeout=30)
    with pytest.raises(ApiError, match="too many passwords") as refused:
        await passwords.matches("", "")
    assert refused.value.status == 503
    assert refused.value.retry_after_s is not None
    tasks[2].cancel()  # its hash waits for a thread, and is not computed any more
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    last = asyncio.create_task(passwords.matches("", ""))
    await asyncio.sleep(0)
    held.released.set()
    assert await asyncio.gather(*tasks[:2], last) == [True] * 3
    passwords.close()


async def test_an_unknown_user_costs_a_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = []
    monkeypatch.setattr(
        "headrace.auth.passwords.Scrypt.digest",
        lambda self, password, salt: costs.append(tuple(self)) or "never",
    )
    passwords = Passwords()
    for stored in (None, "!", "not a hash", GOOD, "scrypt:1048576:8:1$salt$never"):
        assert not await passwords.matches(stored, WORD)
    assert costs == [(32768, 8, 1)] * 5
    passwords.close()


def test_the_least_recent_credentials_are_forgotten() -> None:
    remembered = Remembered(limit=3)
    for key in (b"a", b"b", b"c"):
        remembered.put(key, "hash")
    assert remembered.get(b"a") == "hash"
    remembered.put(b"d", "hash")
    assert [key in remembered for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert len(remembered) == 3
    remembered.forget(b"a")
    assert remembered.get(b"a") is None


def test_credentials_are_forgotten_after_a_time_of_the_configuration() -> None:
    clock = [0.0]
    remembered = Remembered(ttl_s=60, now=lambda: clock[0])
    remembered.put(b"a", "hash")
    clock[0] = 59.0
    assert remembered.get(b"a") == "hash"
    clock[0] = 60.0
    assert remembered.get(b"a") is None
    assert len(remembered) == 0
    for_ever = Remembered(now=lambda: clock[0])
    for_ever.put(b"a", "hash")
    clock[0] = 1e9
    assert for_ever.get(b"a") == "hash"
