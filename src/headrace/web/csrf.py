"""Tokens against forged requests, for the forms of headrace's own pages.

A page sets a cookie with a random text, and its form has a token that is signed for this text, the
user and the time. Another site can make a browser send the form and the cookie, but it knows no
token. The key is derived from the server's secret key, so any server with that key accepts them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import Final

COOKIE: Final = "session"
MAX_AGE_S: Final = 3600
_SEED: Final = re.compile(r"[0-9a-f]{32}")
_TOKEN: Final = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})")


class InvalidToken(Exception):
    """The form was not sent by a page of this server. The text is for the user."""


def seed_of(cookie_header: str | None) -> str | None:
    """The random text in the Cookie header of a request."""
    for part in (cookie_header or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and _SEED.fullmatch(value):
            return value
    return None


def new_seed() -> str:
    """A random text for the cookie."""
    return secrets.token_hex(16)


def set_cookie(seed: str, *, secure: bool) -> str:
    """The value of the Set-Cookie header; `secure` for HTTPS."""
    return f"{COOKIE}={seed}; HttpOnly; Path=/; SameSite=Lax" + ("; Secure" if secure else "")


class Tokens:
    """Makes and checks tokens with the server's secret key."""

    def __init__(self, secret_key: str) -> None:
        self._key = hmac.digest(secret_key.encode(), b"headrace csrf", hashlib.sha256)

    def make(self, seed: str, username: str, now_s: float | None = None) -> str:
        """A token for the form of a page."""
        made_s = str(int(time.time() if now_s is None else now_s))
        return f"{made_s}.{self._signature(seed, username, made_s)}"

    def check(self, token: str | None, seed: str | None, username: str) -> None:
        """Raise InvalidToken unless the token belongs to the cookie and the user."""
        if not token:
            raise InvalidToken("The CSRF token is missing.")
        if seed is None:
            raise InvalidToken("The CSRF session token is missing.")
        parts = _TOKEN.fullmatch(token)
        if parts is None or not hmac.compare_digest(
            parts[2], self._signature(seed, username, parts[1])
        ):
            raise InvalidToken("The CSRF token is invalid.")
        if time.time() - int(parts[1]) > MAX_AGE_S:
            raise InvalidToken("The CSRF token has expired.")

    def _signature(self, seed: str, username: str, made_s: str) -> str:
        signed = f"{seed}.{made_s}.{username}"
        return hmac.digest(self._key, signed.encode(), hashlib.sha256).hex()
