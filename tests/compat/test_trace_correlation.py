"""The correlation of two filters is computed as the installed MLflow computes it."""

from __future__ import annotations

import math

import pytest
from mlflow.store.analytics.trace_correlation import calculate_npmi_from_counts

from headrace.api.traces.traces.correlation import npmi, smoothed_npmi

pytestmark = pytest.mark.compat
COUNTS = [
    (both, first, second, total)
    for total in (0, 1, 2, 7, 100)
    for first in {0, 1, total // 2, total}
    for second in {0, 1, total // 3, total}
    for both in {0, 1, min(first, second)}
]


def or_none(value: float | None) -> float | None:
    """The value as an answer has it: NaN is left out."""
    return None if value is None or math.isnan(value) else value


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_the_correlation_is_that_of_mlflow(counts: tuple[int, int, int, int]) -> None:
    theirs = calculate_npmi_from_counts(*counts)
    for ours, expected in (
        (npmi(*counts), or_none(theirs.npmi)),
        (smoothed_npmi(*counts), or_none(theirs.npmi_smoothed)),
    ):
        if expected is None:
            assert ours is None
        else:
            assert ours == pytest.approx(expected, abs=1e-12)
