"""Charts keep their spikes: the extremes of a history, compared with a model in Python."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.fill import fill

from headrace.api.tracking.metrics import extremes_sql as extremes
from headrace.db.open import open_database
from headrace.db.sql import Sql
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from headrace.db.base import Database

RUN, OTHER = "0" * 32, "1" * 32
POINTS = 3_000
EVERYTHING = (-(2**63), 2**63 - 1)
LARGEST = 1.7976931348623157e308  # infinity, as MLflow stores it
FAR = 2**60
LAYOUTS: dict[str, Callable[[int], int]] = {
    "one point a step": lambda n: n,
    "gaps, from below zero": lambda n: n * 7 - 10_000,
    "three points a step": lambda n: n // 3,
    "all at one step": lambda _: 4,
    "at forty steps": lambda n: n % 40,
    "the last step far away": lambda n: n if n < POINTS - 1 else FAR,
    "from the smallest step to the largest": lambda n: (
        -(2**63) if n == 0 else n if n < POINTS - 1 else 2**63 - 1
    ),
    "two clusters": lambda n: n % 1_500 + n // 1_500 * FAR,
    "ever sparser": lambda n: int(1.01**n) if n < POINTS else 0,
}
Point = tuple[float, int, int, bool]


def points(layout: str) -> list[Point]:
    """A noisy history with a spike up, a spike down, two infinities and some NaN, sorted by step."""
    dice = random.Random(layout)
    values = [dice.gauss(0, 1) for _ in range(POINTS)]
    values[1_234], values[2_345] = 50.0, -50.0
    values[777], values[778] = LARGEST, -LARGEST
    rows = [(value, 1_000 + n, LAYOUTS[layout](n), False) for n, value in enumerate(values)]
    for n in (555, 1_999, 2_000):
        rows[n] = (0.0, 1_000 + n, rows[n][2], True)
    return sorted(rows, key=order)


def order(point: Point) -> Any:
    value, timestamp, step, is_nan = point
    return step, timestamp, value, is_nan


@pytest.fixture
async def db(uri: str) -> AsyncIterator[Database]:
    """Histories of every layout. Another run has larger values at the same steps and times."""
    opened = await open_database(Settings(backend_store_uri=uri))
    fill(uri, "runs", "run_uuid, experiment_id", [(RUN, 0), (OTHER, 0)])
    rows = [(RUN, layout, *point) for layout in LAYOUTS for point in points(layout)]
    rows += [(OTHER, layout, 1e300, *others, False) for _, layout, _, *others, _ in rows]
    rows += [(RUN, "NaNs", n / 7, n, n, False) for n in range(0, POINTS, 2)]
    rows += [(RUN, "NaNs", 0.0, n, n, True) for n in range(1, POINTS, 2)]
    random.Random(1).shuffle(rows)
    fill(uri, "metrics", "run_uuid, key, value, timestamp, step, is_nan", rows)
    yield opened
    await opened.close()


async def chart(db: Database, layout: str, limit: int, steps: Any = EVERYTHING) -> list[Point]:
    """The points of a chart."""
    found = await db.read(extremes.extremes, RUN, layout, limit, *steps)
    return [(value, timestamp, step, bool(nan)) for value, timestamp, step, nan in found]


def of_parts(parts: list[list[Point]]) -> list[Point]:
    """The model: the ends of everything; the smallest, the largest and the first NaN of each part."""
    parts = [part for part in parts if part]
    chosen = {parts[0][0], parts[-1][-1]}
    for part in parts:
        numbers = [point for point in part if not point[3]]
        if numbers:
            lowest, largest = min(numbers)[0], max(numbers)[0]
            chosen.add(next(point for point in numbers if point[0] == lowest))
            chosen.add(next(point for point in numbers if point[0] == largest))
        chosen |= set([point for point in part if point[3]][:1])
    return sorted(chosen, key=order)


@pytest.mark.parametrize("steps", [EVERYTHING, (3, 2_500)], ids=["all", "a range"])
async def test_the_ends_the_spikes_infinities_and_nans_are_kept(db: Database, steps: Any) -> None:
    """And every point of the chart is a point of the history, in order, within the limit."""
    for layout in LAYOUTS:
        every = [point for point in points(layout) if steps[0] <= point[2] <= steps[1]]
        numbers = [point for point in every if not point[3]]
        for limit in (4, 5, 6, 50, 321, 2_500):
            found = await chart(db, layout, limit, steps)
            assert set(found) <= set(every), layout
            assert found == sorted(set(found), key=order), layout
            assert len(found) <= limit, layout
            if not every:
                continue
            assert (found[0], found[-1]) == (every[0], every[-1]), layout
            assert {min(numbers), max(numbers)} <= set(found), layout
            if limit > 4 and any(point[3] for point in every):
                assert any(point[3] for point in found), layout
            if limit >= 50 and layout != "ever sparser":  # there they are in the infinities' parts
                spikes = [point for point in every if abs(point[0]) == 50]
                assert set(spikes) <= set(found), layout


async def test_the_parts_are_equal_ranges_of_steps(db: Database) -> None:
    """Of evenly spaced steps."""
    for layout in ("one point a step", "gaps, from below zero", "three points a step"):
        every = points(layout)
        first, steps = every[0][2], every[-1][2] - every[0][2] + 1
        for count in (3, 7, 50, 99):
            parts: list[list[Point]] = [[] for _ in range(count)]
            edges = [first + steps * n // count for n in range(count)]
            for point in every:
                parts[sum(edge <= point[2] for edge in edges) - 1].append(point)
            assert_mostly(await chart(db, layout, 2 * count + 3), of_parts(parts), 2 * count + 3)


async def test_the_parts_of_few_steps_are_equal_numbers_of_points(db: Database) -> None:
    for layout in ("all at one step", "at forty steps"):
        every = points(layout)
        for count in (90, 159):
            parts: list[list[Point]] = [[] for _ in range(count)]
            for place, point in enumerate(every):
                parts[place * count // len(every)].append(point)
            assert_mostly(await chart(db, layout, 2 * count + 3), of_parts(parts), 2 * count + 3)


def assert_mostly(found: list[Point], expected: list[Point], limit: int) -> None:
    """The expected points; if these exceed the limit, because of NaNs, parts were united."""
    if len(expected) <= limit:
        assert found == expected
    else:
        assert set(found) < set(expected)
        assert limit - 3 < len(found) <= limit


async def test_uneven_steps_still_fill_the_chart(db: Database) -> None:
    for layout in LAYOUTS:
        for limit in (50, 320, 1_000):
            assert len(await chart(db, layout, limit)) > limit // 3, layout


async def test_the_smallest_charts(db: Database) -> None:
    every = points("one point a step")
    for limit, expected in (
        (1, every[-1:]),
        (2, [every[0], every[-1]]),
        (3, [every[0], every[-1]]),
    ):
        assert await chart(db, "one point a step", limit) == expected
    for limit in (POINTS - 1, POINTS, POINTS + 1):
        found = await chart(db, "one point a step", limit)
        assert len(found) <= limit
        assert (found == every) == (limit >= POINTS)
    assert await chart(db, "no such metric", 320) == []


async def test_many_nans_unite_parts(db: Database) -> None:
    found = await chart(db, "NaNs", 100)
    assert 60 < len(found) <= 100
    assert sum(point[3] for point in found) > 20
    assert found[-2:] == [
        ((POINTS - 2) / 7, POINTS - 2, POINTS - 2, False),
        (0.0, POINTS - 1, POINTS - 1, True),
    ]


async def test_a_very_long_history_is_read_in_windows(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each span a bounded number of points; the chart is as full, and has both ends."""
    monkeypatch.setattr(extremes, "MOST_READ", 500)
    for layout in LAYOUTS:
        every = points(layout)
        found = await chart(db, layout, 100)
        assert set(found) <= set(every), layout
        assert (found[0], found[-1]) == (every[0], every[-1]), layout
        assert 33 < len(found) <= 100, layout


async def test_a_span_reads_no_more_than_its_window(db: Database) -> None:
    ranges = extremes.divided(0, POINTS - 1, 10)
    found = await db.read(extremes._read, (RUN, "one point a step"), ranges, 7)
    assert [span.points for span in found] == [7] * 10
    for (first, last), span in zip(ranges, found, strict=True):
        assert (span.first, span.last) == (first, last)
        assert all(first <= point[2] < first + 7 for point in span.chosen)


async def test_without_the_index_the_parts_are_equal_numbers_of_points(db: Database) -> None:
    """As in databases of MLflow before 3.12."""

    async def drop(tx: Any) -> None:
        await tx.fetch(Sql("DROP INDEX index_metrics_run_uuid_key_step"))

    await db.write(drop)
    every = points("gaps, from below zero")
    parts = [every[n : n + 30] for n in range(0, POINTS, 30)]
    assert await chart(db, "gaps, from below zero", 203) == of_parts(parts)
