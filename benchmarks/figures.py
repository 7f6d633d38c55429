"""Arithmetic of the results: percentiles, medians, spread, ratios, and the order of the servers."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


def percentile(values: Sequence[float], percent: float) -> float:
    """Interpolate linearly between the two nearest ranks, as k6 does."""
    if not values:
        raise ValueError("no values")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be within 0..100, not {percent}")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def spread(values: Sequence[float]) -> float | None:
    """The spread of the rounds, (largest - smallest) / median: 0.1 is ten per cent."""
    middle = median(values)
    if middle is None or middle == 0:
        return None
    return (max(values) - min(values)) / middle


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """`ours` divided by `theirs`; None if either is missing or `theirs` is 0."""
    if ours is None or not theirs:
        return None
    return ours / theirs


def turns(names: Sequence[T], rounds: int) -> list[list[T]]:
    """The order of the servers: A B C, then B C A, then C A B, ...

    Each server has each place equally often, so no server benefits if the machine becomes slower
    or the disk fuller over time.
    """
    if not names:
        return [[] for _ in range(rounds)]
    shifts = (turn % len(names) for turn in range(rounds))
    return [[*names[shift:], *names[:shift]] for shift in shifts]


def pairs(rounds: int) -> list[tuple[int, int]]:
    """The order of two servers: A B, B A, A B, ..."""
    return [(0, 1) if turn % 2 == 0 else (1, 0) for turn in range(rounds)]
