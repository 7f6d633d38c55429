"""Login: who sends a request, by its headers. Passwords are verified, remembered and limited here."""

from __future__ import annotations

import asyncio
import base64
import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from headrace.auth.authority import Caller, Unauthenticated
from headrace.auth.bearer import has_token, split
from headrace.auth.failures import Failures, TooManyFailures
from headrace.auth.passwords import Remembered
from headrace.auth.rules import METRICS, OPEN
from headrace.auth.tokens import PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from headrace.auth.authority import Account, Head
    from headrace.auth.origins import Origins
    from headrace.auth.passwords import Passwords
    from headrace.auth.rules import Rule
    from headrace.auth.tokens import Tokens

NOBODY: Final = Caller(None)
GATEWAY: Final = "/gateway/"
# On the gateway's routes, Authorization may be the key of the provider behind it.
GATEWAY_HEADER: Final = "x-mlflow-authorization"
# The password of MLflow's admins until 3.16.0. It is public, so no admin may use it.
PUBLISHED_PASSWORD: Final = "password1234"


class Method(Protocol):
    """One kind of credentials."""

    async def identify(self, head: Head) -> Caller | None:
        """The sender, or None if the head has no credentials of this kind.

        Raises Unauthenticated for credentials that are not valid, ApiError as
        `Authority.identify`.
        """


class Login:
    """Identifies the sender of a request by the first of several methods that applies."""

    def __init__(self, methods: Sequence[Method], metrics_token: str = "") -> None:
        self._methods = tuple(methods)
        self._metrics_token = metrics_token

    async def identify(self, rule: Rule, head: Head) -> Caller:
        """See `Authority.identify`."""
        if rule is OPEN:
            return NOBODY
        if rule is METRICS and has_token(head.headers, self._metrics_token):
            return NOBODY
        for method in self._methods:
            caller = await method.identify(head)
            if caller is not None:
                return caller
        raise Unauthenticated


class Authorization:
    """Reads the header Authorization: a password (Basic) or a token (Bearer)."""

    def __init__(
        self,
        passwords: PasswordLogin,
        tokens: Tokens,
        foreign_token: Callable[[str, Head], Awaitable[Caller]] | None = None,
    ) -> None:
        """`foreign_token` reads bearer tokens that are not ours, and raises as `Method.identify`."""
        self._passwords = passwords
        self._tokens = tokens
        self._foreign_token = foreign_token

    async def identify(self, head: Head) -> Caller | None:
        """See `Method.identify`."""
        headers = head.headers
        value = headers.get("authorization", "")
        if head.path.startswith(GATEWAY):
            value = headers.get(GATEWAY_HEADER) or value
        if not value:
            return None
        scheme, credentials = split(value)
        if scheme == "basic":
            return await self._passwords.identify(credentials, head)
        if scheme != "bearer":
            raise Unauthenticated("unknown scheme of Authorization")
        if credentials.startswith(PREFIX):
            return self._tokens.read(credentials)
        if self._foreign_token is None:
            raise Unauthenticated("unknown token")
        return await self._foreign_token(credentials, head)


class PasswordLogin:
    """Verifies names and passwords."""

    def __init__(
        self,
        read_account: Callable[[str], Awaitable[Account | None]],
        passwords: Passwords,
        origins: Origins,
        failures: Failures | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        """`read_account` reads the row of a user by name. `remembered` is for right passwords."""
        self.passwords = passwords
        self._read_account = read_account
        self._origins = origins
        self._failures = failures or Failures()
        self._key = secrets.token_bytes(32)
        self._right = remembered or Remembered()
        # Wrong passwords are remembered too: a client that repeats one learns nothing, so it
        # neither costs a hash nor counts as another guess.
        self._wrong = Remembered()
        self._existing = Remembered()  # names of users, for the log
        self._checks: dict[bytes, asyncio.Task[str]] = {}

    async def identify(self, credentials: str, head: Head) -> Caller:
        """The sender of a request with these credentials in base64. Raises as `Method.identify`."""
        try:
            content = base64.b64decode(credentials, validate=True)
            name, _, password = content.decode().partition(":")
        except ValueError:
            raise Unauthenticated("malformed Basic credentials") from None
        key = self._hash(content)
        stored = self._right.get(key)
        if stored is None:
            address = self._origins.address(head)
            stored = await self._shared_check(key, name, password, address)
        return PasswordCaller(name, password, key, stored, head, self)

    async def verify(self, name: str, password: str, stored: str, head: Head) -> str:
        """Check a password that a request repeats, with the limits of a login.

        `stored` is the hash in the user's row. Returns the hash that the password matches: another
        one if the row has just changed. Raises as `Method.identify`.
        """
        key = self._hash(f"{name}:{password}".encode())
        if self._right.get(key) == stored:
            return stored
        return await self._shared_check(key, name, password, self._origins.address(head))

    async def confirm(self, caller: PasswordCaller, account: Account | None) -> None:
        """Check credentials whose account is not as it was when they were verified."""
        if self._right.get(caller.key) == caller.stored and (
            account is None or account.password_hash != caller.stored
        ):
            self._right.forget(caller.key)
        if account is None:
            raise Unauthenticated("unknown user")
        if account.is_admin and caller.password == PUBLISHED_PASSWORD:
            raise Unauthenticated("the published default password of admins", caller.name)
        if self._right.get(caller.key) != account.password_hash:
            address = self._origins.address(caller.head)
            await self._shared_check(caller.key, caller.name or "", caller.password, address)

    def _hash(self, credentials: bytes) -> bytes:
        # A keyed hash; it takes a tenth of the time of OpenSSL's HMAC.
        return blake2b(credentials, key=self._key, digest_size=32).digest()

    async def _shared_check(self, key: bytes, name: str, password: str, address: str) -> str:
        """As `_check`; requests with equal credentials share one check."""
        task = self._checks.get(key)
        if task is None:
            check = self._check(key, name, password, address)
            task = self._checks[key] = asyncio.get_running_loop().create_task(check)
            task.add_done_callback(lambda done: self._end(key, done))
        # The task continues for the others when one of the clients leaves.
        return await asyncio.shield(task)

    def _end(self, key: bytes, task: asyncio.Task[str]) -> None:
        del self._checks[key]
        if not task.cancelled():
            task.exception()  # nobody may be left to receive it

    async def _check(self, key: bytes, name: str, password: str, address: str) -> str:
        """As `_verified`; the answers to many refusals are slow."""
        try:
            return await self._verified(key, name, password, address)
        except (Unauthenticated, TooManyFailures):
            await self._failures.pause(address)
            raise

    async def _verified(self, key: bytes, name: str, password: str, address: str) -> str:
        """Verify credentials that are not remembered; returns the stored hash that they match."""
        if key in self._wrong:
            stored = await self._stored(name)
            if stored == self._wrong.get(key):
                raise self._failure(name, stored)
        try:
            self._failures.begin(name, address)
        except TooManyFailures as refusal:
            refusal.name = name if _key(name) in self._existing else None
            raise
        matches = True  # so that it does not count if the database or a thread fails
        try:
            stored = await self._stored(name)
            matches = await self.passwords.matches(stored, password)
        finally:
            if matches:
                self._failures.succeed(name, address)
        if not matches or stored is None:
            self._wrong.put(key, stored)
            raise self._failure(name, stored)
        self._right.put(key, stored)
        return stored

    async def _stored(self, name: str) -> str | None:
        """The stored hash of a user; None if there is no such user."""
        if "\0" in name:
            return None  # PostgreSQL cannot even be asked for it
        account = await self._read_account(name)
        if account is None:
            return None
        self._existing.put(_key(name), "")
        return account.password_hash or ""

    @staticmethod
    def _failure(name: str, stored: str | None) -> Unauthenticated:
        if stored is None:
            return Unauthenticated("unknown user")
        return Unauthenticated("wrong password", name)


def _key(name: str) -> bytes:
    return name[:255].encode()


class PasswordCaller(Caller):
    """The sender of a request with a password that was verified against the hash `stored`."""

    __slots__ = ("_login", "head", "key", "password", "stored")

    def __init__(
        self, name: str, password: str, key: bytes, stored: str, head: Head, login: PasswordLogin
    ) -> None:
        super().__init__(name)
        self.head = head
        self.password = password
        self.key = key
        self.stored = stored
        self._login = login

    async def confirm(self, account: Account | None) -> None:
        """Verify the password again if the stored hash has changed. See `Caller.confirm`."""
        if (
            account is None
            or account.password_hash != self.stored
            or (account.is_admin and self.password == PUBLISHED_PASSWORD)
        ):
            await self._login.confirm(self, account)
