"""Limits of one process: concurrent requests, waiting times for clients, memory held for clients."""

from __future__ import annotations

import sys
from typing import Final

RESERVED_DESCRIPTORS: Final = 256  # for databases, files, the bridge; the others may be connections
MOST_DESCRIPTORS: Final = 65_536
MOST_CONNECTIONS: Final = 10_000
# A client must transfer this much per `stall_timeout_s`; slower clients are disconnected.
LEAST_PROGRESS_BYTES: Final = 16 << 10
# Bodies and answers up to this size may use the whole budget, longer ones only a part.
SMALL_BYTES: Final = 64 << 10
HELD_BYTES: Final = 256 << 20
# A streamed body or answer counts as held for this much from its start, because hundreds may begin before the first
# has moved a piece: one read of a socket (at most 256 kB) beside UNREAD_BYTES, or one piece of a file.
STREAM_BYTES: Final = 320 << 10
# The server reads no more of a body while its route has left this much unread.
UNREAD_BYTES: Final = 64 << 10
TOO_MANY_LONG: Final = "Too many long requests at once. Please try again."


class Limits:
    """Bounds of a server; times in seconds, sizes in bytes.

    At most `in_flight` requests are processed concurrently; further ones are rejected. A client has
    `stall_timeout_s` to send or to receive each LEAST_PROGRESS_BYTES of a body.
    """

    __slots__ = (
        "body_bytes",
        "close_timeout_s",
        "head_timeout_s",
        "in_flight",
        "keep_alive_s",
        "max_connections",
        "stall_timeout_s",
    )

    def __init__(
        self,
        *,
        body_bytes: int = 64 << 20,
        head_timeout_s: float = 30.0,
        stall_timeout_s: float = 30.0,
        close_timeout_s: float = 30.0,
        keep_alive_s: float = 120.0,
        in_flight: int = 512,
        max_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self.body_bytes = body_bytes
        self.head_timeout_s = head_timeout_s
        self.stall_timeout_s = stall_timeout_s
        self.close_timeout_s = close_timeout_s
        self.keep_alive_s = keep_alive_s
        self.in_flight = in_flight
        self.max_connections = max_connections


class Budget:
    """The bytes that one process holds for its clients: bodies being received or processed, answers being sent.

    Nothing is admitted beyond `limit` bytes. An eighth of it is reserved for small bodies and
    answers, so that a few long ones do not block all other clients.
    """

    __slots__ = ("_limit_long", "held", "limit")

    def __init__(self, limit: int = HELD_BYTES) -> None:
        self.held = 0
        self.limit = limit
        self._limit_long = limit - limit // 8

    def admits(self, size: int, more: int = 0) -> bool:
        """Whether `size` bytes may be held, of which `more` are not counted yet."""
        return self.held + more <= (self.limit if size <= SMALL_BYTES else self._limit_long)


class Account:
    """The bytes held for one client: each taken byte is given back."""

    __slots__ = ("_budget", "_held")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, size: int) -> None:
        """Count newly held bytes."""
        self._held += size
        self._budget.held += size

    def give(self, size: int) -> None:
        """Count bytes that are no longer held. Has no effect after `close`."""
        size = min(size, self._held)
        self._held -= size
        self._budget.held -= size

    def close(self) -> None:
        """Give back all bytes."""
        self._budget.held -= self._held
        self._held = 0

    def admits(self, size: int, more: int = 0) -> bool:
        """See `Budget.admits`."""
        return self._budget.admits(size, more)


def connections() -> int:
    """Raise the descriptor limit to the hard limit; returns how many connections it allows."""
    if sys.platform == "win32":
        return 500
    import resource  # does not exist on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    have = most if soft == resource.RLIM_INFINITY else soft
    return max(have - RESERVED_DESCRIPTORS, have // 2)
