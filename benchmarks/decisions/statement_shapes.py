"""Shapes of the statement that writes a group of points: PostgreSQL's CPU time per row.

    python -m benchmarks.decisions.statement_shapes postgresql://postgres@localhost/scratch

Groups of 20 requests with 10 metrics each, on one run and on a run per request: `ON CONFLICT` on the history or
a plain INSERT, and COPY with a second statement for the latest points. Medians of interleaved rounds. The
database must be one that headrace made; rows are added to it.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import uuid
from typing import Any

import asyncpg

from benchmarks.decisions.drivers import backend_cpu_us
from headrace.api.runs import batch_sql

ROUNDS, GROUPS, REQUESTS, METRICS = 5, 40, 20, 10
COLUMNS = ("run_uuid", "key", "timestamp", "step", "value", "is_nan")
LATEST = (
    "INSERT INTO latest_metrics (run_uuid, key, timestamp, step, value, is_nan) SELECT * FROM unnest("
    "$1::varchar[], $2::varchar[], $3::bigint[], $4::bigint[], $5::float8[], $6::bool[])"
    " ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value, timestamp = EXCLUDED.timestamp,"
    " step = EXCLUDED.step, is_nan = EXCLUDED.is_nan"
)


def group(runs: list[str], n: int) -> tuple[list[Any], list[bool]]:
    """Sorted rows of one group, and which are the newest of their key."""
    rows = sorted(
        (
            runs[r % len(runs)],
            f"metric{m}",
            1_700_000_000_000 + n,
            n * REQUESTS + r,
            random.random(),
            False,
        )
        for r in range(REQUESTS)
        for m in range(METRICS)
    )
    newest = {(row[0], row[1]): place for place, row in enumerate(rows)}
    winners = set(newest.values())
    return rows, [place in winners for place in range(len(rows))]


async def write(
    connection: Any, shape: str, runs: list[str], rows: list[Any], newest: list[bool]
) -> None:
    """One group in one of the shapes."""
    if shape == "copy":
        async with connection.transaction():
            await connection.copy_records_to_table("metrics", records=rows, columns=COLUMNS)
            latest = [row for row, wins in zip(rows, newest, strict=True) if wins]
            await connection.execute(LATEST, *zip(*latest, strict=True))
    else:
        sql = (
            batch_sql.POINTS_OF_ACTIVE if shape == "on conflict" else batch_sql.NEW_POINTS_OF_ACTIVE
        )
        await connection.fetch(sql.postgres, runs, *zip(*rows, strict=True), newest)


async def measure(uri: str, shape: str, own_runs: bool) -> float:
    """CPU microseconds of the backend per point."""
    connection = await asyncpg.connect(uri)
    runs = sorted(uuid.uuid4().hex for _ in range(REQUESTS if own_runs else 1))
    await connection.executemany(
        "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage) VALUES ($1, 0, 'active')",
        [(run,) for run in runs],
    )
    groups = [group(runs, n) for n in range(GROUPS)]
    pid = connection.get_server_pid()
    before = backend_cpu_us(pid)
    for rows, newest in groups:
        await write(connection, shape, runs, rows, newest)
    spent = backend_cpu_us(pid) - before
    await connection.close()
    return spent / (GROUPS * REQUESTS * METRICS)


async def compare(uri: str) -> None:
    """Interleave the shapes and print their medians."""
    cases = [(s, own) for own in (False, True) for s in ("on conflict", "plain", "copy")]
    found: dict[tuple[str, bool], list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for case, figures in found.items():
            figures.append(await measure(uri, *case))
    for (shape, own_runs), figures in found.items():
        where = "a run each" if own_runs else "one run"
        print(f"{where:10} {shape:12} {statistics.median(figures):6.1f} µs/point")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(compare(sys.argv[1]))
