"""Normalized pointwise mutual information of two filters. No I/O.

Source: Bouma, Normalized (pointwise) mutual information in collocation extraction (2009).
"""

from __future__ import annotations

import math
from typing import Final

SMOOTHING: Final = 0.5  # Jeffreys' prior, added to each of the four counts


def npmi(both: int, first: int, second: int, total: int) -> float | None:
    """Return the correlation of two filters from the numbers of traces that match them, -1 to 1.

    None if a filter matches nothing or the numbers contradict each other.
    """
    counts = _table(both, first, second, total)
    if counts is None:
        return None
    return -1.0 if both == 0 else _npmi(*counts)


def smoothed_npmi(both: int, first: int, second: int, total: int) -> float | None:
    """As `npmi`, with a little added to each count, so that small numbers mean less."""
    counts = _table(both, first, second, total)
    if counts is None:
        return None
    if not any(counts[1:]):
        return 1.0
    return _npmi(*(count + SMOOTHING for count in counts))


def _table(both: int, first: int, second: int, total: int) -> tuple[int, int, int, int] | None:
    """Return the numbers of traces: both, only the first, only the second, neither."""
    counts = (both, first - both, second - both, total - first - second + both)
    return counts if first and second and min(counts) >= 0 else None


def _npmi(both: float, only_first: float, only_second: float, neither: float) -> float:
    if not only_first and not only_second and not neither:
        return 1.0
    total = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    information = (math.log(both) + math.log(total)) - (math.log(first) + math.log(second))
    return max(-1.0, min(1.0, information / -(math.log(both) - math.log(total))))
