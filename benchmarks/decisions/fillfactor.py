"""HOT updates, CPU and WAL of latest_metrics with several fill factors, on PostgreSQL.

    python -m benchmarks.decisions.fillfactor postgresql://postgres@localhost/scratch

The database is an empty one. Runs log 10 metrics for the first time, and then again and again, 20 runs in
a transaction, in a random order, as a group commit writes them. Nobody else may write to the server, because that
would count as WAL.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Final

import psycopg

from headrace.db.upkeep import schema

FACTORS: Final = (100, 90, 80)
KEYS: Final = 10
TOGETHER: Final = 20
UPDATES: Final = 40_000  # rows
# Runs that log at the same time, and the rows of earlier runs in the table.
CASES: Final = ((20, 100_000), (1_000, 100_000), (10_000, 0))
UPSERT: Final = b"""
    INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
    SELECT 'metric-' || k, $2::float, $2, $2, false, r FROM unnest($1::text[]) AS r, generate_series(1, 10) AS k
    ORDER BY 1, r
    ON CONFLICT (key, run_uuid) DO UPDATE SET value = EXCLUDED.value, timestamp = EXCLUDED.timestamp,
        step = EXCLUDED.step, is_nan = EXCLUDED.is_nan
    WHERE (EXCLUDED.step, EXCLUDED.timestamp, EXCLUDED.value)
        >= (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)"""
STATISTICS: Final = b"""
    SELECT n_tup_upd, n_tup_hot_upd, pg_relation_size('latest_metrics'), pg_indexes_size('latest_metrics')
    FROM pg_stat_user_tables WHERE relname = 'latest_metrics'"""


def measure(connection: psycopg.Connection, factor: int, runs: int, old: int) -> str:
    """One row of the table."""
    chance = random.Random(7)
    execute = connection.execute
    execute(b"TRUNCATE runs CASCADE")
    execute(f"ALTER TABLE latest_metrics SET (fillfactor = {factor})".encode())
    execute(
        b"INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage)"
        b" SELECT md5(i::text), 0, 'active' FROM generate_series(1, %s) i",
        [runs + old // KEYS],
    )
    ids = [id_ for (id_,) in execute(b"SELECT run_uuid FROM runs ORDER BY md5(run_uuid)")]
    for first in range(0, len(ids), TOGETHER):
        execute(
            UPSERT.replace(b"$1", b"%(ids)s").replace(b"$2", b"%(step)s"),
            {"ids": ids[first : first + TOGETHER], "step": 1},
        )
    execute(b"VACUUM ANALYZE latest_metrics")
    execute(b"SELECT pg_stat_reset()")
    active = ids[-runs:]
    clock = Path(f"/proc/{connection.info.backend_pid}/schedstat")
    before, (wal,) = (
        int(clock.read_text().split()[0]),
        execute(b"SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone() or (0,),
    )
    for step in range(2, 2 + UPDATES // KEYS // TOGETHER):
        chosen = chance.sample(active, TOGETHER)
        execute(
            UPSERT.replace(b"$1", b"%(ids)s").replace(b"$2", b"%(step)s"),
            {"ids": chosen, "step": step},
        )
    used = int(clock.read_text().split()[0]) - before
    (wal_after,) = execute(b"SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone() or (0,)
    execute(b"SELECT pg_stat_force_next_flush()")  # of the statistics; from PostgreSQL 15 on
    updated, hot, heap, index = execute(STATISTICS).fetchone() or (1, 0, 0, 0)
    return (
        f"| {runs:,} of {runs + old // KEYS:,} | {factor} | {hot / max(1, updated):.1%} | {used / UPDATES / 1000:.1f}"
        f" | {float(wal_after - wal) / UPDATES:.0f} | {heap / 1e6:.1f} | {index / 1e6:.1f} |"
    )


def main(uri: str) -> None:
    """Print a table."""
    schema.init(uri)
    names = (
        "runs that log | fillfactor | HOT | CPU-us a row | WAL bytes a row | table MB | indexes MB"
    )
    print(f"| {names} |")  # noqa: T201
    with psycopg.connect(uri, autocommit=True) as connection:
        for runs, old in CASES:
            for factor in FACTORS:
                print(measure(connection, factor, runs, old), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
