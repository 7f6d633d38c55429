"""asyncpg against psycopg 3: the same groups of points through the same statement, one connection
each.

    python -m benchmarks.decisions.drivers postgresql://postgres@localhost/scratch

Prints, per driver, CPU microseconds of this process and of the PostgreSQL backend per row (medians
of the interleaved rounds). The database must be one that headrace made; rows are added to it.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import psycopg

ROUNDS, GROUPS, ROWS = 5, 50, 200
COLUMNS = "run_uuid, key, timestamp, step, value, is_nan"
TYPES = ("varchar[]", "varchar[]", "bigint[]", "bigint[]", "float8[]", "bool[]")


def statement(mark: str) -> str:
    """Return the INSERT with the driver's placeholders, `$1` or `%s`."""
    marks = [f"${n}" if mark == "$" else "%s" for n in range(1, 7)]
    arrays = ", ".join(f"{m}::{t}" for m, t in zip(marks, TYPES, strict=True))
    return f"INSERT INTO metrics ({COLUMNS}) SELECT * FROM unnest({arrays})"


def group(run_id: str, n: int) -> list[list[Any]]:
    """Return a group of ROWS points, as columns."""
    rows = [
        (run_id, f"metric{i % 10}", 1_700_000_000_000 + n, n * ROWS + i, random.random(), False)
        for i in range(ROWS)
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def backend_cpu_us(pid: int) -> float:
    """Return the CPU time of a local process, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 10_000


async def measure(uri: str, driver: str) -> tuple[float, float]:
    """Return CPU microseconds per row of this process and of the backend."""
    run_id = uuid.uuid4().hex
    add_run = f"INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage) VALUES ('{run_id}', 0, 'active')"
    groups = [group(run_id, n) for n in range(GROUPS)]
    if driver == "asyncpg":
        connection = await asyncpg.connect(uri)
        await connection.execute(add_run)
        pid = connection.get_server_pid()
        before, started = backend_cpu_us(pid), time.process_time()
        for columns in groups:
            await connection.execute(statement("$"), *columns)
    else:
        connection = await psycopg.AsyncConnection.connect(uri, autocommit=True)
        await connection.execute(add_run)
        pid = connection.info.backend_pid
        before, started = backend_cpu_us(pid), time.process_time()
        async with connection.cursor(binary=True) as cursor:
            for columns in groups:
                await cursor.execute(statement("%"), columns, prepare=True)
    client = (time.process_time() - started) * 1e6
    backend = backend_cpu_us(pid) - before
    await connection.close()
    return client / (GROUPS * ROWS), backend / (GROUPS * ROWS)


def main() -> None:
    """Alternate between the drivers and print their medians."""
    found: dict[str, list[tuple[float, float]]] = {"asyncpg": [], "psycopg": []}
    for _ in range(ROUNDS):
        for driver, figures in found.items():
            figures.append(asyncio.run(measure(sys.argv[1], driver)))
    print("driver    client µs/row  backend µs/row")  # noqa: T201
    for driver, figures in found.items():
        client, backend = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{driver:9} {client:13.2f} {backend:15.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
