"""Limits on failed logins, per user and address and per address.

Every process counts by itself, so a server with n processes allows up to n times as many guesses.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.contract.errors import ApiError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IPV6_PREFIX: Final = 64  # the addresses that one host can choose from
MAX_KEYS: Final = 20_000  # of each limit, about 0.3 KiB each; the least recent are dropped
PROMPT_ANSWERS: Final = 10  # failures of an address that are answered without a pause
PAUSE_S: Final = 0.1  # before the answers to further ones, for each of the address's failures
LONGEST_PAUSE_S: Final = 5.0
LONGEST_NAME: Final = 255  # characters; longer names are counted together


class Rate(NamedTuple):
    """`burst` failures at once, and one more every `interval_s`."""

    burst: int
    interval_s: float


PER_USER: Final = Rate(10, 30.0)  # at one address: 130 guesses in the first hour
PER_ADDRESS: Final = Rate(100, 3.0)  # many users may share an address


class TooManyFailures(ApiError):
    """429: this address has failed to log in too often. `name` as in `Unauthenticated`."""

    def __init__(self, retry_after_s: int, name: str | None) -> None:
        super().__init__(
            ErrorCode.REQUEST_LIMIT_EXCEEDED,
            f"Too many failed logins. Please try again in {retry_after_s} seconds.",
            retry_after_s=retry_after_s,
        )
        self.name = name


class Limit:
    """The failures of each key, as the time at which its next failure would be on schedule."""

    def __init__(self, rate: Rate, now: Callable[[], float], max_keys: int = MAX_KEYS) -> None:
        self._rate = rate
        self._now = now
        self._max_keys = max_keys
        self._due: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def wait_s(self, key: str) -> float:
        """The time until the next failure is allowed; 0 if it is allowed now."""
        burst, interval_s = self._rate
        return max(0.0, self._due.get(key, 0.0) - self._now() - (burst - 1) * interval_s)

    def count(self, key: str) -> float:
        """The number of failures; one is forgotten every `interval_s`."""
        return max(0.0, self._due.get(key, 0.0) - self._now()) / self._rate.interval_s

    def add(self, key: str) -> None:
        """Count a failure."""
        due = self._due
        due[key] = max(due.get(key, 0.0), self._now()) + self._rate.interval_s
        due.move_to_end(key)
        if len(due) > self._max_keys:
            due.popitem(last=False)

    def take_back(self, key: str) -> None:
        """Undo one `add`."""
        if key in self._due:
            self._due[key] -= self._rate.interval_s
            if self._due[key] <= self._now():
                del self._due[key]


class Failures:
    """Counts failed logins, and refuses further guesses.

    Only for credentials that this process has not verified yet. So no one else can lock out a user
    whose credentials are remembered, or who comes from another address.
    """

    def __init__(
        self,
        now: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        max_paused: int = 0,
    ) -> None:
        """At most `max_paused` answers are paused at a time; each is a request in progress."""
        self._users = Limit(PER_USER, now)
        self._addresses = Limit(PER_ADDRESS, now)
        self._sleep = sleep
        self._max_paused = max_paused
        self._paused = 0

    def begin(self, name: str, address: str) -> None:
        """Count a guess, which is not yet known to be wrong. Raises TooManyFailures."""
        network = network_of(address)
        wait_s = max(self._users.wait_s(_key(name, network)), self._addresses.wait_s(network))
        if wait_s > 0:
            raise TooManyFailures(math.ceil(wait_s), None)
        # Counted in advance, so that simultaneous guesses do not pass together.
        self._users.add(_key(name, network))
        self._addresses.add(network)

    def succeed(self, name: str, address: str) -> None:
        """The guess was right, or it was not made: do not count it."""
        network = network_of(address)
        self._users.take_back(_key(name, network))
        self._addresses.take_back(network)

    async def pause(self, address: str) -> None:
        """Wait before the answer to a refused login, if the address has failed several times.

        A client that guesses without a pause would take the processor from the others, even if each
        guess is refused without a hash.
        """
        failures = self._addresses.count(network_of(address))
        if failures <= PROMPT_ANSWERS or self._paused >= self._max_paused:
            return
        self._paused += 1
        try:
            await self._sleep(min(failures * PAUSE_S, LONGEST_PAUSE_S))
        finally:
            self._paused -= 1


def _key(name: str, network: str) -> str:
    return f"{network} {name[:LONGEST_NAME]}"


def network_of(address: str) -> str:
    """The address, or the /64 network of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address[:LONGEST_NAME]
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> IPV6_PREFIX << IPV6_PREFIX, IPV6_PREFIX)))
