"""Times and durations in protobuf's JSON form."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_MIN_S: Final = -62_135_596_800  # 0001-01-01
_MAX_S: Final = 253_402_300_799  # 9999-12-31


def timestamp(ms: int) -> str:
    """Return a time in milliseconds since the epoch as RFC 3339, such as 2025-10-09T08:53:20.010Z.

    A time outside of the years 1 to 9999, which the form cannot express, becomes its first or last
    second.
    """
    seconds, rest = divmod(ms, 1000)
    if not _MIN_S <= seconds <= _MAX_S:
        seconds, rest = (_MIN_S if seconds < 0 else _MAX_S), 0
    minute, second = divmod(seconds, 60)
    return (
        f"{_minute(minute)}{second:02d}.{rest:03d}Z" if rest else f"{_minute(minute)}{second:02d}Z"
    )


@lru_cache(maxsize=4096)
def _minute(number: int) -> str:
    """Return the text of a minute since the epoch up to its seconds. Traces of a page share few minutes."""
    return datetime.fromtimestamp(60 * number, UTC).isoformat()[:-8]


def duration(ms: int) -> str:
    """Return a duration in milliseconds as seconds, such as 1.500s or 2s."""
    seconds, rest = divmod(abs(ms), 1000)
    sign = "-" if ms < 0 else ""
    return f"{sign}{seconds}.{rest:03d}s" if rest else f"{sign}{seconds}s"
