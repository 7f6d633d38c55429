"""Passwords: werkzeug's hash formats, and the threads that compute them off the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import random
import re
import secrets
import string
import sys
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from headrace.contract.errors import OVERLOAD_RETRY_S, ApiError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
THREADS: Final = 2  # a hash takes 50 to 100 ms and 32 MiB in each
WAITING: Final = 64  # beyond, an answer would take more than about 3 s
REMEMBERED: Final = 10_000  # credentials, each about 0.5 KiB
SALT_LENGTH: Final = 16
SALT_CHARACTERS: Final = string.ascii_letters + string.digits
# Bounds on the cost of a stored hash: four times what werkzeug writes.
MAX_SCRYPT_COST: Final = 4 << 18  # n·r·p; 128 MiB for p = 1
MAX_PBKDF2_ITERATIONS: Final = 4_000_000
THREAD_NICENESS: Final = 5  # a third of the processor time of a request that competes

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")
_PBKDF2_DIGESTS: Final = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512"})


class Scrypt(NamedTuple):
    """The parameters of `scrypt:N:R:P`."""

    n: int
    r: int
    p: int

    def digest(self, password: bytes, salt: bytes) -> str:
        """The hash in hexadecimal digits."""
        n, r, p = self
        # OpenSSL needs a little more than the 128·n·r·p bytes of the algorithm.
        maxmem = 132 * n * r * p
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=maxmem).hex()


class Pbkdf2(NamedTuple):
    """The parameters of `pbkdf2:HASH:ITERATIONS`."""

    hash_name: str
    iterations: int

    def digest(self, password: bytes, salt: bytes) -> str:
        """The hash in hexadecimal digits."""
        return hashlib.pbkdf2_hmac(self.hash_name, password, salt, self.iterations).hex()


Method = Scrypt | Pbkdf2
DEFAULT: Final = Scrypt(1 << 15, 8, 1)


class StoredHash(NamedTuple):
    """A stored hash, parsed: `METHOD$SALT$HEX`."""

    method: Method
    salt: str
    hexadecimal: str

    def matches(self, password: str) -> bool:
        """Whether the hash is that of the password. Takes 50 ms to 1 s of CPU time."""
        try:
            digest = self.method.digest(password.encode(), self.salt.encode())
        except ValueError:  # OpenSSL refuses some parameters, such as a very small n
            return False
        return hmac.compare_digest(digest.encode(), self.hexadecimal.encode())


# Verified in place of a hash that is absent, so that the time does not tell whether a user exists.
ABSENT: Final = StoredHash(DEFAULT, "absent", "never")


def parse(stored: str | None) -> StoredHash | None:
    """The stored hash; None if it can match no password, or would cost too much to verify."""
    parts = (stored or "").split("$", 2)
    if len(parts) != 3:
        return None
    method = _method(*parts[0].split(":"))
    if method is None:
        return None
    return StoredHash(method, parts[1], parts[2])


def _method(name: str, *arguments: str) -> Method | None:
    if name == "scrypt":
        if not arguments:
            return DEFAULT
        if len(arguments) != 3 or not all(map(_NUMBER.fullmatch, arguments)):
            return None
        n, r, p = map(int, arguments)
        is_power_of_2 = n > 1 and not n & (n - 1)
        return Scrypt(n, r, p) if is_power_of_2 and n * r * p <= MAX_SCRYPT_COST else None
    if name == "pbkdf2" and len(arguments) <= 2:
        hash_name, iterations = (*arguments, *("sha256", "1000000")[len(arguments) :])
        if hash_name not in _PBKDF2_DIGESTS or not _NUMBER.fullmatch(iterations):
            return None
        if int(iterations) <= MAX_PBKDF2_ITERATIONS:
            return Pbkdf2(hash_name, int(iterations))
    return None


def hashed(password: str) -> str:
    """The password's hash for `users.password_hash`. Takes 50 to 100 ms of CPU time."""
    salt = "".join(secrets.choice(SALT_CHARACTERS) for _ in range(SALT_LENGTH))
    n, r, p = DEFAULT
    return f"scrypt:{n}:{r}:{p}${salt}${DEFAULT.digest(password.encode(), salt.encode())}"


def no_password() -> str:
    """A value of `users.password_hash` for a user without a password, different for each user.

    It is random so that a token is valid only for the user for whom it was issued, even if another
    one gets the name and id of a deleted user.
    """
    return "!" + secrets.token_urlsafe(16)


class Passwords:
    """Computes hashes in two threads with a bounded queue. For one event loop."""

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._pool = ThreadPoolExecutor(threads, "password", initializer=_yield_to_event_loop)
        self._limit = threads + waiting
        self._in_progress = 0  # including those whose request is gone
        self._lock = threading.Lock()

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether the stored hash, None for an unknown user, is that of the password.

        Raises ApiError (503) if too many hashes wait.
        """
        known = parse(stored)
        found = await self._run((known or ABSENT).matches, password)
        return found and known is not None

    async def hash(self, password: str) -> str:
        """As `hashed`. Raises ApiError (503) if too many hashes wait."""
        return await self._run(hashed, password)

    async def _run(self, function: Callable[[str], T], password: str) -> T:
        with self._lock:
            is_full = self._in_progress >= self._limit
            self._in_progress += not is_full
        if is_full:
            raise ApiError(
                ErrorCode.TEMPORARILY_UNAVAILABLE,
                "The server is checking too many passwords. Please try again.",
                retry_after_s=random.randint(*OVERLOAD_RETRY_S),
            )
        future = self._pool.submit(function, password)
        future.add_done_callback(self._finish)
        return await asyncio.wrap_future(future)

    def _finish(self, future: Future[Any]) -> None:
        with self._lock:  # a callback runs in a thread of the pool
            self._in_progress -= 1

    def close(self) -> None:
        """End the threads; hashes that wait are not computed."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Remembered:
    """Credentials with the stored hash that they were checked against; the least recent are dropped.

    A credential is known by a keyed hash, so memory contains no password. An entry is valid only
    while the user's row has the same stored hash, which the caller compares on every use.
    """

    def __init__(
        self, limit: int = REMEMBERED, ttl_s: float = 0, now: Callable[[], float] = monotonic
    ) -> None:
        """With a `ttl_s`, an entry is dropped after that time even if it was used."""
        self._limit = limit
        self._ttl_s = ttl_s or float("inf")
        self._now = now
        self._entries: OrderedDict[bytes, tuple[str | None, float]] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> str | None:
        """The stored hash, or None."""
        found = self._entries.get(key)
        if found is None:
            return None
        if found[1] <= self._now():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: bytes, stored: str | None) -> None:
        """Remember a credential. None stands for an unknown user."""
        self._entries[key] = stored, self._now() + self._ttl_s
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def forget(self, key: bytes) -> None:
        """Drop a credential, if it is known."""
        self._entries.pop(key, None)


def _yield_to_event_loop() -> None:
    """Lower the priority of this thread, so that requests run before hashes on a busy machine."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), THREAD_NICENESS)
