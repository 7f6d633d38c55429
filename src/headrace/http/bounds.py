"""How much one process takes on, and how long it waits for a client."""

from __future__ import annotations

import sys
from typing import Final

RESERVED_DESCRIPTORS: Final = 256  # for databases, files, the bridge; the rest may be connections
MOST_DESCRIPTORS: Final = 65_536
MOST_CONNECTIONS: Final = 10_000


class Limits:
    """Bounds of a server; times in seconds, sizes in bytes.

    `in_flight` requests are answered at once, and bodies of `held_bytes` in all are held for them; beyond either
    the answer is 503. A client has `stall_timeout_s` to send or to take each LEAST_PROGRESS_BYTES of a body.
    """

    __slots__ = (
        "body_bytes",
        "close_timeout_s",
        "head_timeout_s",
        "held_bytes",
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
        held_bytes: int = 256 << 20,
        max_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self.body_bytes = body_bytes
        self.head_timeout_s = head_timeout_s
        self.stall_timeout_s = stall_timeout_s
        self.close_timeout_s = close_timeout_s
        self.keep_alive_s = keep_alive_s
        self.in_flight = in_flight
        self.held_bytes = max(held_bytes, 2 * body_bytes)
        self.max_connections = max_connections


def connections() -> int:
    """How many connections the descriptors of this process allow, after taking all it may have."""
    if sys.platform == "win32":
        return 500
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    have = most if soft == resource.RLIM_INFINITY else soft
    return max(have - RESERVED_DESCRIPTORS, have // 2)
