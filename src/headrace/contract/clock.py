"""The time, as MLflow writes it down."""

from __future__ import annotations

from time import time


def now_ms() -> int:
    """The time, in milliseconds since the epoch."""
    return int(time() * 1000)
