"""The smallest and the largest value in each part of one history, for a chart that keeps its spikes.

The parts ("spans") are ranges of steps of equal length. The database finds them in the index over
run, key and step, and reads each once. Spans without points are replaced by a finer division of
those with many. If the points have few different steps, the parts are equal numbers of points.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, NamedTuple

from headrace.db.base import Row, Tx
from headrace.db.sql import Sql

# Every point of a history of up to this many points is read. Of a longer one, each span reads its
# first points, in all at most this number in each round of the division.
MOST_READ: Final = 1_000_000
# A round divides the spans with many points. One is enough for evenly spaced steps.
ROUNDS: Final = 4
_WHERE: Final = "run_uuid = $1 AND key = $2 AND step BETWEEN $3 AND $4"
# Whether the index exists (databases of MLflow before 3.12 lack it, and each span would read the
# whole run), the number of points (at most $5), the first and the last step.
_EXTENT: Final = (
    f"SELECT {{indexed}}, (SELECT count(*) FROM (SELECT 1 FROM metrics WHERE {_WHERE} LIMIT $5) AS taken),"
    f" (SELECT min(step) FROM metrics WHERE {_WHERE}), (SELECT max(step) FROM metrics WHERE {_WHERE})"
)
EXTENT: Final = Sql(
    postgres=_EXTENT.format(indexed="to_regclass('index_metrics_run_uuid_key_step') IS NOT NULL"),
    sqlite=_EXTENT.format(
        indexed="EXISTS (SELECT 1 FROM sqlite_master"
        " WHERE type = 'index' AND name = 'index_metrics_run_uuid_key_step')"
    ),
)
_POINT: Final = "value, timestamp, step, is_nan"
_ALL: Final = (
    f"SELECT {_POINT} FROM metrics WHERE {_WHERE}"
    " ORDER BY step{0}, timestamp{0}, value{0}, is_nan{0} LIMIT $5"
)
FIRST: Final = Sql(_ALL.format(""))
LAST: Final = Sql(_ALL.format(" DESC"))
# From the first $n points of one span: the smallest, the largest and the first NaN; then a row with
# the number of these points instead of a value, and the last and the first step of the whole span.
_SPAN: Final = (
    f"WITH taken AS MATERIALIZED (SELECT {_POINT} FROM metrics"
    " WHERE run_uuid = $1 AND key = $2 AND step BETWEEN {low} AND {high} ORDER BY step LIMIT {most})"
    f" SELECT * FROM (SELECT {_POINT}, 0 AS kind FROM taken WHERE NOT is_nan"
    " ORDER BY value, step, timestamp LIMIT 1) AS low"
    f" UNION ALL SELECT * FROM (SELECT {_POINT}, 0 FROM taken WHERE NOT is_nan"
    " ORDER BY value DESC, step, timestamp LIMIT 1) AS high"
    f" UNION ALL SELECT * FROM (SELECT {_POINT}, 0 FROM taken WHERE is_nan"
    " ORDER BY step, timestamp LIMIT 1) AS nan"
    " UNION ALL SELECT (SELECT count(*) FROM taken),"
    " (SELECT max(step) FROM metrics WHERE run_uuid = $1 AND key = $2 AND step BETWEEN {low} AND {high}),"
    " (SELECT min(step) FROM metrics WHERE run_uuid = $1 AND key = $2 AND step BETWEEN {low} AND {high}),"
    " NULL, 1"
)
# PostgreSQL reads all spans with one statement: each statement costs more than a span. The last
# column is the number of the span, from 1.
SPANS: Final = Sql(
    postgres="SELECT point.*, number FROM unnest($3::bigint[], $4::bigint[]) WITH ORDINALITY"
    " AS spans(low, high, number) CROSS JOIN LATERAL ("
    + _SPAN.format(low="low", high="high", most="$5")
    + ") AS point",
    sqlite=_SPAN.format(low="$3", high="$4", most="$5") + " ORDER BY kind",
)
# The same of $3 parts with equal numbers of points, without the rows with numbers; the last column
# is the number of the part. Reads and sorts all points.
PARTS: Final = Sql(
    "WITH placed AS MATERIALIZED ("
    f" SELECT {_POINT}, row_number() OVER (ORDER BY step, timestamp, value, is_nan) - 1 AS place"
    "  FROM metrics WHERE run_uuid = $1 AND key = $2 AND step BETWEEN $4 AND $5),"
    " parted AS (SELECT *, place * $3 / (SELECT count(*) FROM placed) AS part FROM placed),"
    " ends AS (SELECT part, min(value) AS low, max(value) AS high FROM parted"
    "  WHERE NOT is_nan GROUP BY part),"
    " chosen AS (SELECT min(place) AS place FROM parted JOIN ends USING (part)"
    "  WHERE NOT is_nan AND (value = low OR value = high) GROUP BY part, value"
    "  UNION ALL SELECT min(place) FROM parted WHERE is_nan GROUP BY part)"
    f" SELECT {_POINT}, part FROM parted WHERE place IN (SELECT place FROM chosen) ORDER BY place"
)


class Span(NamedTuple):
    """The points chosen from one span, the range of its steps, and its number of points.

    `points` ends at the number of points that may be read of a span.
    """

    chosen: list[Row]
    points: int
    first: int
    last: int


async def extremes(tx: Tx, run_id: str, key: str, limit: int, start: int, end: int) -> list[Row]:
    """Return at most `limit` points with start <= step <= end, sorted by step.

    A point is (value, timestamp, step, is_nan). If there are more points than `limit`, these are
    the first and the last point, and of each of (limit - 2) / 2 parts the smallest value, the
    largest value and the first NaN.
    """
    of = (run_id, key)
    ((indexed, points, low, high),) = await tx.fetch(EXTENT, *of, start, end, MOST_READ + 1)
    if points <= limit:
        return await tx.fetch(FIRST, *of, start, end, limit)
    ends = await tx.fetch(LAST, *of, start, end, 1)
    if limit == 1:
        return ends
    ends += await tx.fetch(FIRST, *of, start, end, 1)
    count = (limit - 2) // 2
    chosen = (
        await spans(tx, of, (int(low), int(high)), count, points) if indexed and count else None
    )
    if chosen is None:
        chosen = await parts(tx, of, (start, end), count) if count else []
    return together(chosen, ends, limit)


async def spans(
    tx: Tx, of: tuple[str, str], steps: tuple[int, int], count: int, points: int
) -> list[list[Row]] | None:
    """Return the points chosen from each of at most `count` spans.

    None: the points have too few different steps to be divided by step.
    """
    if steps[1] - steps[0] < count // 2:
        return None
    most = points if points <= MOST_READ else max(1, MOST_READ // count)
    many = min(2 * points // count, most - 1)
    found = await _read(tx, of, divided(*steps, count), most)
    for _ in range(ROUNDS):
        free = count - len(found)
        crowded = [span for span in found if span.points > many and span.first < span.last][:free]
        if not crowded:
            break
        finer = [
            some
            for span in crowded
            for some in divided(span.first, span.last, 1 + free // len(crowded))
        ]
        kept = {span.first for span in found} - {span.first for span in crowded}
        found = [span for span in found if span.first in kept]
        found += await _read(tx, of, finer, most)
        found.sort(key=_first)
    chosen = [span.chosen for span in found]
    hidden = sum(span.points for span in found) > sum(map(len, chosen))
    return None if hidden and len(found) < count // 2 else chosen


def divided(low: int, high: int, count: int) -> list[tuple[int, int]]:
    """Return the first and last steps of `count` ranges of equal length, or of one step each."""
    steps = high - low + 1
    count = min(count, steps)
    edges = [low + steps * n // count for n in range(count + 1)]
    return [(first, after - 1) for first, after in pairwise(edges)]


async def _read(
    tx: Tx, of: tuple[str, str], ranges: list[tuple[int, int]], most: int
) -> list[Span]:
    """Return the spans that have points."""
    if tx.dialect == "sqlite":
        answers = [await tx.fetch(SPANS, *of, low, high, most) for low, high in ranges]
    else:
        answers = [[] for _ in ranges]
        lows, highs = zip(*ranges, strict=True)
        for *row, number in await tx.fetch(SPANS, *of, tx.array(lows), tx.array(highs), most):
            answers[number - 1].append(row)
    found = []
    for rows in answers:
        ((points, last, first),) = [row[:3] for row in rows if row[4]]
        if points:
            chosen = [row[:4] for row in rows if not row[4]]
            found.append(Span(chosen, int(points), int(first), int(last)))
    return found


async def parts(tx: Tx, of: tuple[str, str], steps: tuple[int, int], count: int) -> list[list[Row]]:
    """Return the points chosen from each of `count` parts with equal numbers of points."""
    chosen: list[list[Row]] = [[] for _ in range(count)]
    for *point, part in await tx.fetch(PARTS, *of, count, *steps):
        chosen[part].append(point)
    return chosen


def together(chosen: list[list[Row]], ends: list[Row], limit: int) -> list[Row]:
    """Return the points of all parts and the two ends, sorted.

    While they are too many, because of NaNs, some pairs of neighbouring parts are united.
    """
    while True:
        every = {tuple(point) for part in (ends, *chosen) for point in part}
        if len(every) <= limit:
            return sorted(every, key=_order)
        pairs = len(chosen) // 2
        if not pairs:  # four points: the NaN is the fifth
            chosen = [[point for point in chosen[0] if not point[3]]]
            continue
        needed = min(pairs, (len(every) - limit + 1) // 2)  # a united pair saves two points
        for at in {2 * (n * pairs // needed) for n in range(needed)}:
            chosen[at : at + 2] = [_united(chosen[at] + chosen[at + 1]), []]
        chosen = [part for part in chosen if part]


def _united(points: list[Row]) -> list[Row]:
    """Return the smallest value, the largest value and the first NaN of the points."""
    points.sort(key=_order)
    numbers = [point for point in points if not point[3]]
    nans = [point for point in points if point[3]]
    if numbers:
        numbers = [min(numbers, key=_value), max(numbers, key=_value)]
    return numbers + nans[:1]


def _order(point: Row) -> Any:
    value, timestamp, step, is_nan = point
    return step, timestamp, value, is_nan


def _value(point: Row) -> Any:
    return point[0]


def _first(span: Span) -> int:
    return span.first
