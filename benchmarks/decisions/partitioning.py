"""CPU and buffers of writes and reads of metrics, with and without hash partitions, on PostgreSQL.

    python -m benchmarks.decisions.partitioning postgresql://postgres@localhost/scratch 20000000

The second argument is the number of rows; each run has 10 metrics of 300 points. Runs arrive 20 at a
time, so their points are mixed in the table. The database is an empty one; both tables are filled if they do not exist.
"""

from __future__ import annotations

import json
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import psycopg

KEYS: Final = 10
STEPS: Final = 300
TOGETHER: Final = 20
PARTITIONS: Final = 32
ROUNDS: Final = 40
TABLES: Final = {"plain": "", "hashed": f" PARTITION BY HASH (run_uuid), {PARTITIONS} parts"}
COLUMNS: Final = "key, value, timestamp, run_uuid, step, is_nan"
# Points of steps $1 .. of some runs, in the order of the primary key, as headrace writes them.
INSERT: Final = f"""
    INSERT INTO {{table}} ({COLUMNS})
    SELECT 'metric-' || k, s * 0.5, s, md5(r::text), s, false
    FROM unnest(%(runs)s::int[]) AS r, generate_series(1, {KEYS}) AS k,
        generate_series(%(first)s::int, %(last)s::int) AS s
    ORDER BY 1, 3, 5, 4 ON CONFLICT DO NOTHING"""
HISTORY: Final = """
    SELECT value, timestamp, step, is_nan FROM {table} WHERE run_uuid = md5(%(run)s::text) AND key = 'metric-3'
    ORDER BY timestamp, step, value"""
LATEST: Final = """
    SELECT key, max(step) FROM {table} WHERE run_uuid = md5(%(run)s::text) GROUP BY key"""


def create(connection: psycopg.Connection, table: str) -> None:
    """The table and indexes of MLflow."""
    parted = " PARTITION BY HASH (run_uuid)" if table == "hashed" else ""
    connection.execute(
        f"""CREATE TABLE {table} (key varchar(250) NOT NULL, value float NOT NULL, timestamp bigint NOT NULL,
        run_uuid varchar(32) NOT NULL, step bigint NOT NULL DEFAULT 0, is_nan boolean NOT NULL DEFAULT false,
        PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan)){parted}""".encode()
    )
    for n in range(PARTITIONS if parted else 0):
        connection.execute(
            f"CREATE TABLE {table}_{n} PARTITION OF {table} FOR VALUES WITH"
            f" (MODULUS {PARTITIONS}, REMAINDER {n})".encode()
        )
    connection.execute(f"CREATE INDEX ON {table} (run_uuid)".encode())
    connection.execute(f"CREATE INDEX ON {table} (run_uuid, key, step)".encode())


def fill(uri: str, table: str, rows: int) -> None:
    """Write the rows, unless the table exists."""
    with psycopg.connect(uri, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
            return
        create(connection, table)
        for first in range(0, rows // (KEYS * STEPS), TOGETHER):
            for step in range(1, STEPS, 50):
                runs = list(range(first, first + TOGETHER))
                values = {"runs": runs, "first": step, "last": step + 49}
                connection.execute(INSERT.format(table=table).encode(), values)
        connection.execute(f"VACUUM ANALYZE {table}".encode())


def measure(
    connection: psycopg.Connection, text: str, values: list[dict[str, Any]]
) -> tuple[float, float]:
    """The median CPU-ms of a statement, and the buffers that it touched."""
    clock = Path(f"/proc/{connection.info.backend_pid}/schedstat")
    used, touched = [], []
    for number, each in enumerate(values):
        before = int(clock.read_text().split()[0])
        if number % 4 == 3:
            row = connection.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}".encode(), each
            ).fetchone()
            plan = row[0] if row else []
            plan = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
            touched.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
            continue
        found = connection.execute(text.encode(), each, prepare=True)
        if found.description:
            found.fetchall()
        used.append((int(clock.read_text().split()[0]) - before) / 1e6)
    return statistics.median(used), statistics.median(touched)


def main(uri: str, rows: int) -> None:
    """Fill both tables, and print the figures."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda table: fill(uri, table, rows), TABLES))
    runs = rows // (KEYS * STEPS)
    new = [
        {"runs": [10**6 + n * TOGETHER + r for r in range(TOGETHER)], "first": 1, "last": 50}
        for n in range(ROUNDS)
    ]
    more = [
        {
            "runs": [runs - TOGETHER + r for r in range(TOGETHER)],
            "first": 1000 + n,
            "last": 1000 + n,
        }
        for n in range(ROUNDS)
    ]
    reads = [{"run": (n * 7919) % runs} for n in range(ROUNDS)]
    cases = {
        "10,000 points of 20 new runs": (INSERT, new),
        "200 points of 20 runs (one step)": (INSERT, more),
        "history of 300 points": (HISTORY, reads),
        "last steps of a run": (LATEST, reads),
    }
    print("| statement | table | CPU-ms | buffers |")  # noqa: T201
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(b"SET plan_cache_mode = force_generic_plan")
        for name, (text, values) in cases.items():
            for table in TABLES:
                cpu, touched = measure(connection, text.format(table=table), values)
                print(f"| {name} | {table} | {cpu:.2f} | {touched:.0f} |", flush=True)  # noqa: T201
        for table in TABLES:
            sizes = connection.execute(
                "SELECT sum(pg_table_size(oid)), sum(pg_indexes_size(oid)) FROM pg_class"
                " WHERE relkind = 'r' AND (relname = %s OR relname ~ %s)",
                [table, f"^{table}_\\d+$"],
            ).fetchone()
            print(table, sizes)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
