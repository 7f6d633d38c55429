"""What `Retry-After` says while a database or store is away: the longer it lasts, the later.

MLflow's client tries a refused request seven times more, then raises. With one second each it would give up
after seven; so a client is told to wait about as long as the outage has lasted already. Seven tries that begin
with the outage then reach over three minutes, and after a short one nobody waits long.
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
SPREAD: Final = 0.25  # at random, so that clients do not all come back in the same second


class Outage:
    """The refusals of one process. An outage is over when nobody was refused for twice as long as was asked for."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since = 0.0
        self._over = -1.0

    def retry_after_s(self) -> int:
        """Note a refusal; how many seconds its client should wait."""
        now = self._clock()
        if now > self._over:
            self._since = now
        pause_s = min(max(SHORTEST_S, now - self._since), LONGEST_S)
        self._over = max(self._over, now + 2 * pause_s)
        return math.ceil(pause_s * random.uniform(1, 1 + SPREAD))
