"""Ways to write a group of points: CPU time of PostgreSQL and of this process per point.

    python -m benchmarks.decisions.statement_shapes postgresql://postgres@localhost/scratch

Groups of 20 requests with 10 or 500 metrics each, on one run and on a run per request: one
statement, a transaction with INSERTs, the same with COPY for the history, and that with rows sorted
by run before key. Medians of interleaved rounds. The database must be one that headrace made; rows
are added to it.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from benchmarks.decisions.drivers import backend_cpu_us
from headrace.api.tracking.runs import batch_sql, sql
from headrace.api.tracking.runs.batch import Batch
from headrace.api.tracking.runs.types import MetricIn
from headrace.db.base import RowCount
from headrace.db.postgres.transaction import PostgresTx

if TYPE_CHECKING:
    from headrace.db.base import Schema

ROUNDS, REQUESTS = 5, 20
# Metrics per request: groups per measurement.
SIZES = {10: 40, 500: 4}
SHAPES = ("one statement", "insert", "copy", "copy, by run")


def group(runs: list[str], n: int, metrics: int) -> list[Batch]:
    """Return one request of each user."""
    made = []
    for r in range(REQUESTS):
        batch = Batch(runs[r % len(runs)])
        step = n * REQUESTS + r
        points = [
            MetricIn(f"metric{m}", random.random(), 1_700_000_000_000 + n, step)
            for m in range(metrics)
        ]
        batch.add_points(points, "metrics[{}].")
        made.append(batch)
    return made


async def write(connection: Any, shape: str, batches: list[Batch]) -> None:
    """Write a group in one of the shapes."""
    schema = cast("Schema", None)  # these statements do not use it
    if shape == "one statement":
        tx = PostgresTx(connection, schema, RowCount(), alone=True)
        await batch_sql.insert_points_of_active(tx, batches)
        return
    tx = PostgresTx(connection, schema, RowCount(), copies=shape == "copy")
    async with connection.transaction():
        await sql.stages(tx, {batch.run_id for batch in batches})
        if shape != "copy, by run":
            await batch_sql.insert_points(tx, batches)
            return
        into = batch_sql.POINTS
        rows = sorted((p for b in batches for p in b.points), key=lambda p: (p[3], p[0]))
        await connection.copy_records_to_table(into.table, records=rows, columns=into.columns)
        newest = {(row[3], row[0]): row for row in rows}
        await batch_sql._write_points(
            tx, batch_sql.LATEST, batch_sql.PACKED_LATEST, list(newest.values())
        )


async def measure(uri: str, shape: str, metrics: int, own_runs: bool) -> tuple[float, float]:
    """Return CPU microseconds of the backend and of this process per point."""
    connection = await asyncpg.connect(uri)
    runs = sorted(uuid.uuid4().hex for _ in range(REQUESTS if own_runs else 1))
    await connection.executemany(
        "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage) VALUES ($1, 0, 'active')",
        [(run,) for run in runs],
    )
    count = SIZES[metrics]
    groups = [group(runs, n, metrics) for n in range(count + 1)]
    await write(connection, shape, groups.pop())  # prepare the statements, insert the keys
    pid = connection.get_server_pid()
    backend, own = backend_cpu_us(pid), time.process_time_ns()
    for batches in groups:
        await write(connection, shape, batches)
    spent = backend_cpu_us(pid) - backend, (time.process_time_ns() - own) / 1000
    await connection.close()
    points = count * REQUESTS * metrics
    return spent[0] / points, spent[1] / points


async def compare(uri: str) -> None:
    """Alternate between the shapes and print their medians."""
    cases = [(s, metrics, own) for metrics in SIZES for own in (False, True) for s in SHAPES]
    found: dict[tuple[str, int, bool], list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for case, figures in found.items():
            figures.append(await measure(uri, *case))
    for (shape, metrics, own_runs), figures in found.items():
        where = "a run each" if own_runs else "one run"
        backend, own = (statistics.median(part) for part in zip(*figures, strict=True))
        print(f"{metrics:4} {where:10} {shape:14} {backend:6.1f} + {own:4.1f} µs/point")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(compare(sys.argv[1]))
