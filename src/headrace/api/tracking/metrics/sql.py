"""SQL for metric histories: by page, in parts, of several runs.

A history is in the order of timestamp, step and value, as stock's; a NaN is stored as 0 and comes after a 0 of the
same moment. With `is_nan` the order is total: it is the rest of the table's primary key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.contract.scalars import INT64_MIN
from headrace.db.base import Row, Tx
from headrace.db.sql import Sql

PAGE_ROWS: Final = (
    25_000  # a page of MLflow's client: so many points, if that is all, are read at once
)
PART_ROWS: Final = 10_000  # points of one part of a longer history
# Entries of the primary key's index that one step goes over. A step in which fewer are of the history than one in
# so many is the last.
STEP_ENTRIES: Final = 10_000
LEAST_SHARE: Final = 2
# SQLite, to which MLflow gives no statistics, prefers an index that holds every column to the one that finds the
# rows, and reads the points of that key of all runs: 95 ms instead of 6 for 10,000 points, when 100 runs have as many
# (2026-11-28). A range of steps, of all steps, makes it take the index over run, key and step.
ANY_STEP: Final = f"step >= {INT64_MIN}"
_POINTS: Final = (
    "SELECT value, timestamp, step, is_nan FROM metrics WHERE run_uuid = $1 AND key = $2"
)
_ORDER: Final = "ORDER BY timestamp, step, value, is_nan"
HISTORY_PAGE = Sql(
    postgres=f"{_POINTS} {_ORDER} LIMIT $3 OFFSET $4",
    sqlite=f"{_POINTS} AND {ANY_STEP} {_ORDER} LIMIT $3 OFFSET $4",
)
# The points after a place, among the next $7 entries of the primary key's index: no point of the history is sorted, nor
# looked up in the table. It holds the points of all runs with that key in the order of time, so that this is the
# cheapest way while the others have few points in that time. SQLite passes rows to the driver faster than through a
# subquery; there those of others have no `is_nan`.
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
# One row for each part of the points from place $3 (from 0) on, of at most $4: until when it goes, its steps and its
# points. The range of steps is what finds a part's rows in the index; without it each part would read all points.
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
    # With a plus it is no column of an index: SQLite would go through the points of all runs in that time.
    sqlite=_PART.format(timestamp="+timestamp"),
)
BULK = Sql(
    postgres="SELECT run_uuid, value, timestamp, step, is_nan FROM metrics"
    " WHERE key = $2 AND run_uuid = ANY($1::varchar[])"
    " ORDER BY run_uuid, timestamp, step, value, is_nan LIMIT $3",
    # CROSS JOIN: for each run its points, not for each point of the key a look whether its run is wanted.
    sqlite="SELECT run_uuid, m.value, timestamp, step, is_nan FROM json_each($1) AS wanted"
    f" CROSS JOIN metrics AS m ON run_uuid = wanted.value AND m.key = $2 AND {ANY_STEP}"
    " ORDER BY run_uuid, timestamp, step, m.value, is_nan LIMIT $3",
)


class Part(NamedTuple):
    """Some points of a history that follow each other in its order."""

    until_ms: int  # timestamp of the last
    first_step: int
    last_step: int
    points: int  # when the parts were made


async def page(tx: Tx, run_id: str, key: str, limit: int, offset: int) -> list[Row]:
    """Points (value, timestamp, step, is_nan) of one history in order."""
    return await tx.fetch(HISTORY_PAGE, run_id, key, limit, offset)


async def step(tx: Tx, run_id: str, key: str, last: Sequence[object]) -> list[Row]:
    """The points after the point `last`, as many as are among the next STEP_ENTRIES points of all runs."""
    value, timestamp, at_step, is_nan = last
    place = (timestamp, at_step, value, is_nan)
    rows = await tx.fetch(HISTORY_STEP, run_id, key, *place, STEP_ENTRIES)
    return [row for row in rows if row[3] is not None] if tx.dialect == "sqlite" else rows


async def length(tx: Tx, run_id: str, key: str) -> int:
    """How many points a history has."""
    ((points,),) = await tx.fetch(HISTORY_LENGTH, run_id, key)
    return int(points)


async def parts(tx: Tx, run_id: str, key: str, start: int, points: int) -> list[Part]:
    """The parts in which the points from the place `start` on are, of at most so many points."""
    rows = await tx.fetch(HISTORY_PARTS, run_id, key, start, points, PART_ROWS)
    return [Part(*row) for row in rows]


async def after(
    tx: Tx, run_id: str, key: str, part: Part, last: Sequence[object], limit: int
) -> list[Row]:
    """The points of a part that come after the point `last`, at most `limit`."""
    value, timestamp, step, is_nan = last
    steps = (part.first_step, part.last_step)
    place = (timestamp, step, value, is_nan)
    return await tx.fetch(HISTORY_PART, run_id, key, *steps, part.until_ms, *place, limit)
