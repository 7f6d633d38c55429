"""Computes `Retry-After` while a database or store is unavailable: it grows with the outage.

MLflow's client retries a rejected request seven times, then raises. With one second each it would
give up after seven seconds. So `Retry-After` is about the duration of the outage so far. Seven
retries then last for over three minutes, and after a short outage no client waits long.
"""

from __future__ import annotations

import math
import random
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_S: Final = 3.0
LONGEST_S: Final = 90.0
SPREAD: Final = 0.25  # random, so that clients do not all return in the same second


class Outage:
    """Tracks the 503s of one process. An outage ends when no 503 was sent for twice the last Retry-After."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since = 0.0
        self._over = -1.0

    def retry_after_s(self) -> int:
        """Note a 503; returns the seconds that its client should wait."""
        now = self._clock()
        if now > self._over:
            self._since = now
        pause_s = min(max(SHORTEST_S, now - self._since), LONGEST_S)
        self._over = max(self._over, now + 2 * pause_s)
        return math.ceil(pause_s * random.uniform(1, 1 + SPREAD))
