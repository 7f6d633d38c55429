"""At most so many points of one history, evenly spread: what a chart shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.db.base import Row, Tx
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Iterator

# Longer histories are walked in the index instead of sorted; below, the walk's many small statements cost more.
# 320 of 1,000,000 points: 3.4 s sorted, 0.84 s walked; of 100,000, three a step: 0.29 s and 0.52 s (PostgreSQL 15,
# medians of 3 by turns, busy machine, 2026-11-24).
LONG: Final = 200_000
# Points of one step that may lie before the one wanted; with more, the walk would go over them each time.
MAX_TIES: Final = 100

# The first of each of $3 equal buckets, and the last of all. A step range needs no text of its own: without
# one, $4 and $5 are the ends of a 64-bit integer.
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
# Databases of MLflow before 3.12 lack the index: there every step of the walk would read the whole run.
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
POINT: Final = Sql(  # of a range, for the reason given at `sql.ANY_STEP`
    postgres=_POINT.format("step = $3"),
    sqlite=_POINT.format("step BETWEEN $3 AND $3"),
)


async def sampled(tx: Tx, run_id: str, key: str, limit: int, start: int, end: int) -> list[Row]:
    """At most `limit` points (value, timestamp, step, is_nan) with start <= step <= end, in order of step.

    The first of each of `limit` equal buckets; the last point takes the place of the last of them when
    there are that many.
    """
    rows = None
    if await tx.fetch(IS_LONG, run_id, key, start, end):
        rows = await walked(tx, run_id, key, limit, start, end)
    if rows is None:
        rows = await tx.fetch(SORTED, run_id, key, limit, start, end)
    return rows if len(rows) <= limit else [*rows[: limit - 1], rows[-1]]


def places(points: int, buckets: int) -> Iterator[int]:
    """Where (from 0) SQL's ntile(buckets) begins its buckets among so many points, then the last place."""
    small, large = divmod(points, buckets)
    place = 0
    for bucket in range(min(points, buckets)):
        yield place
        place += small + (bucket < large)
    yield points - 1


async def walked(
    tx: Tx, run_id: str, key: str, limit: int, start: int, end: int
) -> list[Row] | None:
    """The points that `SORTED` finds in a history of more points than `limit`.

    Goes from place to place in the index over steps. None when a step is shared by too many points.
    """
    ((points,),) = await tx.fetch(COUNT, run_id, key, start, end)
    rows: list[Row] = []
    at, step, ties = 0, start, 0  # a place, its step, and the points of that step before it
    for place in places(points, limit):
        ahead = place - at + ties
        steps = [row[0] for row in await tx.fetch(STEPS, run_id, key, step, end, max(ahead - 1, 0))]
        if len(steps) <= (ahead > 0):  # points went away meanwhile
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
