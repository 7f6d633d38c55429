"""Ids of the edges between runs, datasets and models, in the order in which this process makes them.

MLflow's table has no time: its ids are random, and so is the order in which a database finds the edges. An id that
begins with the time gives those that headrace writes the order of logging.
"""

from __future__ import annotations

import itertools
import secrets
from time import time_ns

_counter = itertools.count()


def new() -> str:
    """32 hexadecimal digits: 16 of the time in nanoseconds, 4 of a counter, 12 of chance."""
    return f"{time_ns():016x}{next(_counter) & 0xFFFF:04x}{secrets.token_hex(6)}"
