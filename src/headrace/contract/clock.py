"""The current time in MLflow's unit."""

from __future__ import annotations

from time import time


def now_ms() -> int:
    """Return the current time in milliseconds since the epoch."""
    return int(time() * 1000)
