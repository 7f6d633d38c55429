"""SQL for metric histories: by page, in parts, of several runs.

A history is sorted by timestamp, step and value, as in stock. A NaN is stored as 0 and follows a 0
with the same timestamp and step. With `is_nan`, the last column of the table's primary key, the
order is total.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.contract.scalars import INT64_MIN
from headrace.db.base import Row, Tx
from headrace.db.sql import Sql

# The page size of MLflow's client: a history or page of at most this many points is read at once.
PAGE_ROWS: Final = 25_000
PART_ROWS: Final = 10_000  # points of one part of a longer history
# Number of entries of the primary key's index that one step reads. If fewer than one in LEAST_SHARE
# of these entries belongs to the history, the step is the last.
STEP_ENTRIES: Final = 10_000
LEAST_SHARE: Final = 2
# MLflow collects no statistics in SQLite. Without them SQLite prefers a covering index to the
# selective one and reads the key's points in all runs: 95 ms instead of 6 ms for 10,000 points when
# 100 runs have 10,000 points each (2026-11-28). A range that contains all steps makes SQLite use
# the index over run, key and step.
ANY_STEP: Final = f"step >= {INT64_MIN}"
_POINTS: Final = (
    "SELECT value, timestamp, step, is_nan FROM metrics WHERE run_uuid = $1 AND key = $2"
)
_ORDER: Final = "ORDER BY timestamp, step, value, is_nan"
HISTORY_PAGE = Sql(
    postgres=f"{_POINTS} {_ORDER} LIMIT $3 OFFSET $4",
    sqlite=f"{_POINTS} AND {ANY_STEP} {_ORDER} LIMIT $3 OFFSET $4",
)
# The points after a position, among the next $7 entries of the primary key's index. The statement
# neither sorts the points nor looks them up in the table. The index holds the key's points of all
# runs sorted by time, so this is the cheapest way as long as other runs have few points in that
# time. On SQLite, a subquery would cost more than passing all rows to the driver; there the points
# of other runs have NULL as `is_nan`.
_ENTRIES: Final = (
    " FROM metrics WHERE key = $2 AND (timestamp, step, run_uuid, value, is_nan) > ($3, $4, $1, $5, $6)"
    " ORDER BY timestamp, step, run_uuid, value, is_nan LIMIT $7"
)
HISTORY_STEP = Sql(
    postgres="SELECT value, timestamp, step, is_nan FROM ("
    f"SELECT run_uuid, value, timestamp, step, is_nan{_ENTRIES}) AS entries"
    " WHERE run_uuid = $1 ORDER BY timestamp, step, run_uuid, value, is_nan",
    sqlite=f"SELECT value, timestamp, step, CASE WHEN run_uuid = $1 THEN is_nan END{_ENTRIES}",
)
HISTORY_LENGTH = Sql(
    postgres="SELECT count(*) FROM metrics WHERE run_uuid = $1 AND key = $2",
    sqlite=f"SELECT count(*) FROM metrics WHERE run_uuid = $1 AND key = $2 AND {ANY_STEP}",
)
# Splits at most $4 points from position $3 (from 0) on into parts of $5 points. One row for each
# part: its last timestamp, its range of steps and its number of points. The range of steps is
# needed to find a part's rows in the index; without it, each part would read all points.
_PARTS: Final = (
    "SELECT max(timestamp), min(step), max(step), count(*) FROM ("
    "SELECT timestamp, step, row_number() OVER ({order}) - 1 - $3 AS place"
    " FROM metrics WHERE run_uuid = $1 AND key = $2{any_step}) AS placed"
    " WHERE place >= 0 AND place < $4 GROUP BY place / $5 ORDER BY min(place)"
)
HISTORY_PARTS = Sql(
    postgres=_PARTS.format(order=_ORDER, any_step=""),
    sqlite=_PARTS.format(order=_ORDER, any_step=f" AND {ANY_STEP}"),
)
_PART: Final = (
    f"{_POINTS} AND step BETWEEN $3 AND $4 AND {{timestamp}} <= $5"
    f" AND ({{timestamp}}, step, value, is_nan) > ($6, $7, $8, $9) {_ORDER} LIMIT $10"
)
HISTORY_PART = Sql(
    postgres=_PART.format(timestamp="timestamp"),
    # The plus stops SQLite from using an index over timestamps, which would read the points of all
    # runs in that time.
    sqlite=_PART.format(timestamp="+timestamp"),
)
BULK = Sql(
    postgres="SELECT run_uuid, value, timestamp, step, is_nan FROM metrics"
    " WHERE key = $2 AND run_uuid = ANY($1::varchar[])"
    " ORDER BY run_uuid, timestamp, step, value, is_nan LIMIT $3",
    # CROSS JOIN fixes the order: SQLite looks up the points of each requested run. Otherwise it
    # might read all points of the key and check the run of each.
    sqlite="SELECT run_uuid, m.value, timestamp, step, is_nan FROM json_each($1) AS wanted"
    f" CROSS JOIN metrics AS m ON run_uuid = wanted.value AND m.key = $2 AND {ANY_STEP}"
    " ORDER BY run_uuid, timestamp, step, m.value, is_nan LIMIT $3",
)


class Part(NamedTuple):
    """Consecutive points of a history."""

    until_ms: int  # timestamp of the last point
    first_step: int
    last_step: int
    points: int  # at the time when the parts were computed


async def page(tx: Tx, run_id: str, key: str, limit: int, offset: int) -> list[Row]:
    """Return points (value, timestamp, step, is_nan) of one history, in order."""
    return await tx.fetch(HISTORY_PAGE, run_id, key, limit, offset)


async def step(tx: Tx, run_id: str, key: str, last: Sequence[object]) -> list[Row]:
    """Return the history's points among the STEP_ENTRIES points of all runs that follow `last`."""
    value, timestamp, at_step, is_nan = last
    place = (timestamp, at_step, value, is_nan)
    rows = await tx.fetch(HISTORY_STEP, run_id, key, *place, STEP_ENTRIES)
    return [row for row in rows if row[3] is not None] if tx.dialect == "sqlite" else rows


async def length(tx: Tx, run_id: str, key: str) -> int:
    """Return the number of points of a history."""
    ((points,),) = await tx.fetch(HISTORY_LENGTH, run_id, key)
    return int(points)


async def parts(tx: Tx, run_id: str, key: str, start: int, points: int) -> list[Part]:
    """Return the parts that cover at most `points` points from the position `start` on."""
    rows = await tx.fetch(HISTORY_PARTS, run_id, key, start, points, PART_ROWS)
    return [Part(*row) for row in rows]


async def after(
    tx: Tx, run_id: str, key: str, part: Part, last: Sequence[object], limit: int
) -> list[Row]:
    """Return at most `limit` points of a part that follow the point `last`."""
    value, timestamp, step, is_nan = last
    steps = (part.first_step, part.last_step)
    place = (timestamp, step, value, is_nan)
    return await tx.fetch(HISTORY_PART, run_id, key, *steps, part.until_ms, *place, limit)
