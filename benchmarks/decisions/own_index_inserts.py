"""CPU time that each index of ours adds to an INSERT, on PostgreSQL and SQLite.

    python -m benchmarks.decisions.own_index_inserts URI

The database is one that `benchmarks.decisions.own_indexes` has filled, with the indexes. Rows are inserted one by
one, alternately without and with the index, and rolled back; the figures are the medians of the rounds,
of the process that runs the statements.
"""

from __future__ import annotations

import hashlib
import sqlite3
import statistics
import sys
import time
from pathlib import Path
from typing import Final

import psycopg

from headrace.db.schema import indexes
from headrace.db.uri import parse

ROWS: Final = 10_000
ROUNDS: Final = 7
# The values of a row from its number `i`, in the words of each database.
START: Final = 1_800_000_000_000
INSERTS: Final = {
    "runs": "INSERT INTO runs (run_uuid, name, user_id, status, start_time, lifecycle_stage, artifact_uri,"
    f" experiment_id) VALUES ({{hash}}, 'r', 'u', 'RUNNING', {START} + {{i}}, 'active', 's3://x',"
    " 1 + {i} % 200)",
    "experiments": "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage,"
    f" creation_time) VALUES (20000000 + {{i}}, 'inserted-' || {{i}}, 's3://x', 'active', {START} + {{i}})",
    "model_versions": "INSERT INTO model_versions (name, version, creation_time, last_updated_time,"
    " current_stage, source, run_id, status) VALUES ('model-' || (1 + {i} % 100), 1000 + {i},"
    f" {START}, {START} + {{i}}, 'None', 's3://x', {{hash}}, 'READY')",
    "registered_models": "INSERT INTO registered_models (name, creation_time, last_updated_time)"
    f" VALUES ('inserted-' || {{i}}, {START}, {START} + {{i}})",
    "logged_models": "INSERT INTO logged_models (model_id, experiment_id, name, artifact_location,"
    " creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage, model_type)"
    f" VALUES ({{hash}}, 1 + {{i}} % 200, 'net', 's3://x', {START} + {{i}}, {START}, 2, 'active', '')",
}


class Server:
    """PostgreSQL."""

    def __init__(self, uri: str) -> None:
        self.connection = psycopg.connect(uri)
        self._clock = Path(f"/proc/{self.connection.info.backend_pid}/schedstat")

    def cpu_us(self, text: str, drop: str) -> float:
        """CPU-us of a row, without the index if `drop` is a statement."""
        loop = text.format(i="i", hash="md5(i::text)")
        if drop:
            self.connection.execute(drop.encode())
        before = int(self._clock.read_text().split()[0])
        self.connection.execute(
            f"DO $$BEGIN FOR i IN 1..{ROWS} LOOP {loop}; END LOOP; END$$".encode()
        )
        used = int(self._clock.read_text().split()[0]) - before
        self.connection.rollback()
        return used / ROWS / 1000


class File:
    """SQLite."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)

    def cpu_us(self, text: str, drop: str) -> float:
        """As `Server`'s."""
        plain = text.format(i="?1", hash="?2")
        rows = [(n, hashlib.md5(b"%d" % n, usedforsecurity=False).hexdigest()) for n in range(ROWS)]
        self.connection.execute("BEGIN")
        if drop:
            self.connection.execute(drop)
        start = time.process_time()
        self.connection.executemany(plain, rows if "?2" in plain else [row[:1] for row in rows])
        used = time.process_time() - start
        self.connection.execute("ROLLBACK")
        return used / ROWS * 1e6


def main(uri: str) -> None:
    """Print a table."""
    target = parse(uri)
    database = File(target.path) if target.dialect == "sqlite" else Server(uri)
    print("| index | CPU-us of an INSERT without | with | more |")  # noqa: T201
    for index in indexes.TUNED:
        if not index.text(target.dialect):
            continue
        text = INSERTS[index.table]
        drop = f"DROP INDEX {index.name}"
        database.cpu_us(text, "")
        pairs = [(database.cpu_us(text, drop), database.cpu_us(text, "")) for _ in range(ROUNDS)]
        without, with_ = (statistics.median(pair[n] for pair in pairs) for n in (0, 1))
        more = statistics.median(b - a for a, b in pairs)
        print(f"| `{index.name}` | {without:.1f} | {with_:.1f} | {more:.1f} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
