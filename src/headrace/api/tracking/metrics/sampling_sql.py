"""A limited number of evenly spaced points of one history, for a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.db.base import Row, Tx
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Iterator

# Histories of more points are not sorted: the index is walked instead. For shorter histories, the
# many small statements of the walk cost more. 320 of 1,000,000 points take 3.4 s sorted and 0.84 s
# walked; 320 of 100,000 points with three points per step take 0.29 s and 0.52 s (PostgreSQL 15,
# medians of 3 alternating runs, busy machine, 2026-11-24).
LONG: Final = 200_000
# Maximum number of points of one step before the sampled point: the walk would read them again each
# time.
MAX_TIES: Final = 100

# The first point of each of $3 equal buckets, and the last point. Requests without a step range use
# the same text: $4 and $5 are then the limits of a 64-bit integer.
SORTED: Final = Sql(
    "SELECT value, timestamp, step, is_nan FROM ("
    "  SELECT *, lag(bucket) OVER (ORDER BY place) AS bucket_before FROM ("
    "    SELECT value, timestamp, step, is_nan, ntile($3) OVER sorted AS bucket,"
    "           row_number() OVER sorted AS place, count(*) OVER () AS points"
    "    FROM metrics WHERE run_uuid = $1 AND key = $2 AND step BETWEEN $4 AND $5"
    "    WINDOW sorted AS (ORDER BY step, timestamp, value, is_nan)) AS bucketed) AS marked"
    " WHERE bucket_before IS NULL OR bucket <> bucket_before OR place = points ORDER BY place"
)
_POINTS: Final = "run_uuid = $1 AND key = $2 AND step BETWEEN $3 AND $4"
# Databases of MLflow before 3.12 lack the index. Without it, each step of the walk would read the
# whole run.
IS_LONG: Final = Sql(
    postgres="SELECT 1 FROM metrics WHERE to_regclass('index_metrics_run_uuid_key_step') IS NOT NULL"
    f" AND {_POINTS} LIMIT 1 OFFSET {LONG}",
    sqlite="SELECT 1 FROM metrics WHERE EXISTS (SELECT 1 FROM sqlite_master"
    " WHERE type = 'index' AND name = 'index_metrics_run_uuid_key_step')"
    f" AND {_POINTS} LIMIT 1 OFFSET {LONG}",
)
COUNT: Final = Sql(f"SELECT count(*) FROM metrics WHERE {_POINTS}")
STEPS: Final = Sql(f"SELECT step FROM metrics WHERE {_POINTS} ORDER BY step LIMIT 2 OFFSET $5")
_POINT: Final = (
    "SELECT value, timestamp, step, is_nan FROM metrics WHERE run_uuid = $1 AND key = $2 AND {}"
    " ORDER BY timestamp, value, is_nan LIMIT 1 OFFSET $4"
)
POINT: Final = Sql(  # SQLite: a range of one step, for the reason given at `sql.ANY_STEP`
    postgres=_POINT.format("step = $3"),
    sqlite=_POINT.format("step BETWEEN $3 AND $3"),
)


async def sampled(tx: Tx, run_id: str, key: str, limit: int, start: int, end: int) -> list[Row]:
    """Return at most `limit` points with start <= step <= end, sorted by step.

    A point is (value, timestamp, step, is_nan). The points are the first of each of `limit` equal
    buckets and the last point of all. If these are more than `limit`, the last point replaces that
    of the last bucket.
    """
    rows = None
    if await tx.fetch(IS_LONG, run_id, key, start, end):
        rows = await walked(tx, run_id, key, limit, start, end)
    if rows is None:
        rows = await tx.fetch(SORTED, run_id, key, limit, start, end)
    return rows if len(rows) <= limit else [*rows[: limit - 1], rows[-1]]


def places(points: int, buckets: int) -> Iterator[int]:
    """Yield the positions (from 0) where SQL's ntile(buckets) starts its buckets, then the last."""
    small, large = divmod(points, buckets)
    place = 0
    for bucket in range(min(points, buckets)):
        yield place
        place += small + (bucket < large)
    yield points - 1


async def walked(
    tx: Tx, run_id: str, key: str, limit: int, start: int, end: int
) -> list[Row] | None:
    """Return the points that `SORTED` finds in a history of more than `limit` points.

    Moves from position to position in the index over steps. Returns None if too many points share a
    step.
    """
    ((points,),) = await tx.fetch(COUNT, run_id, key, start, end)
    rows: list[Row] = []
    # A position, its step, and the number of earlier points of that step.
    at, step, ties = 0, start, 0
    for place in places(points, limit):
        ahead = place - at + ties
        steps = [row[0] for row in await tx.fetch(STEPS, run_id, key, step, end, max(ahead - 1, 0))]
        if len(steps) <= (ahead > 0):  # points were deleted in the meantime
            break
        if ahead > 0 and steps[0] < steps[1]:
            ties = 0
        elif ahead > 0:
            ((between,),) = await tx.fetch(COUNT, run_id, key, step, steps[1] - 1)
            ties = ahead - between
        if ties > MAX_TIES:
            return None
        at, step = place, steps[ahead > 0]
        rows += await tx.fetch(POINT, run_id, key, step, ties)
    return rows
