"""The benchmark's arithmetic."""

from __future__ import annotations

from collections import Counter
from io import StringIO

import pytest
from benchmarks import figures
from benchmarks.progress import Progress, clock
from benchmarks.size import imported_us
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


def test_percentiles_interpolate_between_the_nearest_ranks() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert figures.percentile(values, 0) == 1
    assert figures.percentile(values, 50) == 2.5
    assert figures.percentile(values, 99) == pytest.approx(3.97)
    assert figures.percentile(values, 100) == 4


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_a_percentile_of_nothing_or_beyond_the_ends_is_an_error(
    values: list[float], percent: float
) -> None:
    with pytest.raises(ValueError, match=r"no values|within 0\.\.100"):
        figures.percentile(values, percent)


@given(VALUES, st.floats(0, 100))
def test_a_percentile_lies_within_the_values(values: list[float], percent: float) -> None:
    slack = 1e-9 * max(values)
    found = figures.percentile(values, percent)
    assert min(values) - slack <= found <= max(values) + slack


@given(VALUES)
def test_the_median_is_the_fiftieth_percentile(values: list[float]) -> None:
    assert figures.median(values) == pytest.approx(figures.percentile(values, 50))


def test_the_spread_is_the_range_over_the_median() -> None:
    assert figures.spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)
    assert figures.spread([100.0]) == 0
    assert figures.spread([]) is None
    assert figures.spread([0.0, 0.0]) is None


def test_a_ratio_with_a_missing_side_is_missing() -> None:
    assert figures.ratio(300.0, 100.0) == 3
    assert figures.ratio(None, 100.0) is None
    assert figures.ratio(300.0, None) is None
    assert figures.ratio(300.0, 0.0) is None


def test_servers_take_turns() -> None:
    assert figures.turns(["A", "B", "C"], 4) == [
        ["A", "B", "C"],
        ["B", "C", "A"],
        ["C", "A", "B"],
        ["A", "B", "C"],
    ]
    assert figures.turns([], 2) == [[], []]


@given(st.integers(1, 8), st.integers(1, 4))
def test_in_full_cycles_everybody_has_every_place_equally_often(size: int, cycles: int) -> None:
    rounds = figures.turns(list(range(size)), size * cycles)
    for place in range(size):
        assert Counter(turn[place] for turn in rounds) == dict.fromkeys(range(size), cycles)


def test_two_sides_lead_in_turns() -> None:
    assert figures.pairs(3) == [(0, 1), (1, 0), (0, 1)]


def test_the_clock_of_the_progress_bar_has_hours_minutes_seconds() -> None:
    assert clock(3725.4) == "1:02:05"
    assert clock(-1) == "0:00:00"


def test_the_time_left_follows_the_speed_so_far() -> None:
    progress = Progress(100, StringIO())
    progress.step("first", 25)
    progress.step("second", 75)
    began = progress._began
    assert progress.left_s(began + 50) == pytest.approx(150)


def test_progress_says_what_runs_and_ends_at_a_hundred_per_cent() -> None:
    out = StringIO()
    progress = Progress(2, out)
    progress.step("one server", 1)
    progress.finish()
    first, last = out.getvalue().splitlines()
    assert first.endswith("one server")
    assert "100%" in last


def test_import_time_is_that_of_the_module_with_all_it_imports() -> None:
    log = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       429 |        429 |         _json\n"
        "import time:       793 |      24955 |     json.decoder\n"
        "import time:      1524 |      27322 |   json\n"
        "import time:        35 |      27356 | json.decoder\n"
    )
    assert imported_us(log, "json.decoder") == 27356
    with pytest.raises(ValueError, match="does not mention xml"):
        imported_us(log, "xml")
