"""Ids of the edges between runs, datasets and models, in the order of their creation.

MLflow's table has no time column and its ids are random, so a database returns the edges in random
order. Ids that begin with the time keep the edges that headrace writes in the order of logging.
"""

from __future__ import annotations

import itertools
import secrets
from time import time_ns

_counter = itertools.count()


def new() -> str:
    """Return 32 hexadecimal digits: 16 for the time in nanoseconds, 4 for a counter, 12 random."""
    return f"{time_ns():016x}{next(_counter) & 0xFFFF:04x}{secrets.token_hex(6)}"
