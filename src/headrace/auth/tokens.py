"""Access tokens: signed, without a table. `headrace auth token` makes them, clients send them as Bearer.

A token is PREFIX and base64url of `expiry (8 bytes) · account (16) · name · signature (32)`. `account`
is a keyed hash of the user's id and stored hash, so a token ends with a change of the password or
the deletion of the user. It has no dots, so it cannot be mistaken for a JWT.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from typing import TYPE_CHECKING, Final

from headrace.auth.authority import Caller, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.auth.authority import Account

PREFIX: Final = "hrt1_"
MAX_DAYS: Final = 3650
DAY_S: Final = 86_400
EXPIRY_BYTES: Final = 8
ACCOUNT_BYTES: Final = 16
SIGNATURE_BYTES: Final = 32
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")


class Tokens:
    """Makes and reads the tokens of a secret key, which all servers of a database share."""

    def __init__(
        self,
        secret_key: str,
        now: Callable[[], float] = time.time,
        purpose: bytes = b"headrace access token 1",
    ) -> None:
        # Derived, because the secret key signs other things too.
        self._key = hmac.digest(secret_key.encode(), purpose, "sha256")
        self._now = now

    def issue(self, name: str, account: Account, days: int) -> str:
        """A token of the user for 1 to MAX_DAYS days."""
        assert 1 <= days <= MAX_DAYS, "the caller checks the days"
        return self.issue_for(name, account, days * DAY_S)

    def issue_for(self, name: str, account: Account, lifetime_s: int) -> str:
        """A token of the user for some seconds."""
        expiry = int(self._now()) + lifetime_s
        signed = expiry.to_bytes(EXPIRY_BYTES, "big") + self._account(account) + name.encode()
        return PREFIX + _encode(signed + self._sign(signed))

    def read(self, token: str) -> TokenCaller:
        """The caller that a token names, still to be confirmed. Raises Unauthenticated."""
        content = _decode(token)
        if content is None:
            raise Unauthenticated("malformed token")
        signed, signature = content[:-SIGNATURE_BYTES], content[-SIGNATURE_BYTES:]
        if not hmac.compare_digest(self._sign(signed), signature):
            raise Unauthenticated("token with a wrong signature")
        account_end = EXPIRY_BYTES + ACCOUNT_BYTES
        name = signed[account_end:].decode()
        if int.from_bytes(signed[:EXPIRY_BYTES], "big") <= self._now():
            raise Unauthenticated("expired token", name)
        return TokenCaller(name, self, signed[EXPIRY_BYTES:account_end])

    def belongs_to(self, bound: bytes, account: Account) -> bool:
        """Whether a token was issued for this account with its present password."""
        return hmac.compare_digest(self._account(account), bound)

    def _sign(self, signed: bytes) -> bytes:
        return hmac.digest(self._key, b"token" + signed, "sha256")

    def _account(self, account: Account) -> bytes:
        text = f"account {account.id} {account.password_hash or ''}"
        return hmac.digest(self._key, text.encode(), "sha256")[:ACCOUNT_BYTES]


class TokenCaller(Caller):
    """The sender of a request with a token."""

    __slots__ = ("_bound", "_tokens")

    def __init__(self, name: str, tokens: Tokens, bound: bytes) -> None:
        super().__init__(name)
        self._tokens = tokens
        self._bound = bound

    async def confirm(self, account: Account | None) -> None:
        """Check that the account is still the one that the token was issued for."""
        if account is None:
            raise Unauthenticated("token of a deleted user")
        if not self._tokens.belongs_to(self._bound, account):
            raise Unauthenticated("token from before a change of password", self.name)


def _decode(token: str) -> bytes | None:
    text = token.removeprefix(PREFIX)
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        return None
    content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(content) != text:  # its last character has bits that do not count
        return None
    return content if len(content) > EXPIRY_BYTES + ACCOUNT_BYTES + SIGNATURE_BYTES else None


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
