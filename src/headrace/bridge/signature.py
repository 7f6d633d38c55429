"""The header that tells stock MLflow who sent a request, signed for that one request. No I/O.

Everything a request carries may leave MLflow again: its AI gateway sends the headers of a client to
the provider. A value that was seen elsewhere must be worthless, so it is bound to the method and the
target, expires, and is accepted once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections import deque
from time import monotonic
from typing import Final

VALID_S: Final = 60.0  # from signing to the check; both processes read the same monotonic clock
_NONCE_BYTES: Final = 16


def signed(secret: str, user: str, method: str, target: str) -> str:
    """The header's value: time in ms, nonce, user name and signature, separated by dots.

    `target` is the path and query of the request line. A question mark at its end does not count.
    """
    name = base64.urlsafe_b64encode(user.encode()).decode()
    claims = f"{monotonic() * 1000:.0f}.{secrets.token_hex(_NONCE_BYTES)}.{name}"
    return f"{claims}.{_signature(secret, claims, method, target.rstrip('?'))}"


def ticket(secret: str, user: str, scope: str, valid_s: float) -> str:
    """A value that proves the user's name, for `valid_s` seconds and requests of this scope."""
    claims = f"{(monotonic() + valid_s) * 1000:.0f}"
    return f"{claims}.{_signature(secret, claims, scope, user)}"


def is_ticket(secret: str, value: str, user: str, scope: str) -> bool:
    """Whether `ticket` made the value for this user and scope, and it has not expired."""
    until_ms, _, signature = value.partition(".")
    expected = _signature(secret, until_ms, scope, user)
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return False
    return float(until_ms) >= monotonic() * 1000


class Verifier:
    """Checks the values of one secret, and remembers those that have not expired yet."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._used: set[str] = set()
        self._by_age: deque[tuple[float, str]] = deque()

    def user_of(self, value: str, method: str, target: str) -> str | None:
        """The user name in a valid value; None for every other value."""
        claims, _, signature = value.rpartition(".")
        expected = _signature(self._secret, claims, method, target.rstrip("?"))
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            return None
        made_ms, nonce, name = claims.split(".")
        now_s = monotonic()
        if abs(now_s - float(made_ms) / 1000) > VALID_S or nonce in self._used:
            return None
        self._remember(nonce, now_s)
        try:
            return base64.urlsafe_b64decode(name).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None

    def _remember(self, nonce: str, now_s: float) -> None:
        while self._by_age and now_s - self._by_age[0][0] > 2 * VALID_S:
            self._used.discard(self._by_age.popleft()[1])
        self._used.add(nonce)
        self._by_age.append((now_s, nonce))


def _signature(secret: str, *parts: str) -> str:
    return hmac.new(secret.encode(), "\n".join(parts).encode(), "sha256").hexdigest()
