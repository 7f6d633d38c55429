"""The content of a database, read directly or through stock MLflow's store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
from tests.fix_server import STOCK_ENVIRONMENT, base_environment, stock_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.load import Writer

_LATEST = "SELECT run_uuid, key, value, timestamp, step, is_nan FROM latest_metrics"
# MLflow's order: step, then time, then value.
_RECOMPUTED = (
    "SELECT run_uuid, key, value, timestamp, step, is_nan FROM (SELECT *, row_number() OVER ("
    "PARTITION BY run_uuid, key ORDER BY step DESC, timestamp DESC, value DESC) AS n FROM metrics) AS m"
    " WHERE n = 1"
)

# Reads every run with its metrics through MLflow's own store.
_READ_WITH_STOCK = """
import sys
from mlflow.entities import ViewType
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore(sys.argv[1], "mlflow-artifacts:/")
runs = store.search_runs(["0"], "", ViewType.ALL, max_results=50000)
history = store.get_metric_history(sys.argv[2], "shared")
store.log_batch(sys.argv[2], [], [], [])
print(len(runs), len(history))
"""


def rows(uri: str, statement: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(uri).path[1:], timeout=30)) as connection:
            return list(connection.execute(statement).fetchall())
    with psycopg.connect(uri) as connection:
        return list(connection.execute(statement.encode()).fetchall())


def execute(uri: str, statement: str) -> None:
    """Change rows directly."""
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(uri).path[1:], timeout=30)) as connection, connection:
            connection.execute(statement)
        return
    with psycopg.connect(uri) as connection:
        connection.execute(statement.encode())


def check_latest(uri: str) -> None:
    """latest_metrics agrees with metrics."""
    wanted = {row[:2]: (*row[2:5], bool(row[5])) for row in rows(uri, _RECOMPUTED)}
    found = {row[:2]: (*row[2:5], bool(row[5])) for row in rows(uri, _LATEST)}
    assert wanted, "there are no metrics"
    assert found == wanted


def check_acknowledged(uri: str, run_id: str, writers: Sequence[Writer]) -> None:
    """Acknowledged writes are complete, writes refused with 429 are absent, and no run exists twice."""
    points = {
        (key, step)
        for key, step in rows(uri, f"SELECT key, step FROM metrics WHERE run_uuid = '{run_id}'")
    }
    params = {key for (key,) in rows(uri, f"SELECT key FROM params WHERE run_uuid = '{run_id}'")}
    tags = dict(rows(uri, f"SELECT key, value FROM tags WHERE run_uuid = '{run_id}'"))
    runs = Counter(name for (name,) in rows(uri, "SELECT name FROM runs"))
    for writer in writers:
        mine = f"writer-{writer.number}"
        for number in writer.batches:
            assert (mine, number) in points and f"{mine}-{number}" in params, (mine, number)
        stored = {step for key, step in points if key == mine}
        assert stored == {n for n in range(writer.next + 1) if f"{mine}-{n}" in params}, "torn"
        assert int(tags[mine]) == max(stored), "the tag of one batch, the metric of another"
        for name in writer.runs:
            assert runs[name] == 1, name
        written = [one for one in writer.unwritten if one in stored or one in runs]
        assert not written, f"refused with 429, which says that nothing is written: {written}"
    doubled = {n: c for n, c in runs.items() if c > 1}
    assert not doubled
    check_latest(uri)


def check_stock_sees_all(uri: str, run_id: str) -> None:
    """Stock MLflow opens the database, reads every run and the shared metric, and writes to the run."""
    done = subprocess.run(
        [sys.executable, "-c", _READ_WITH_STOCK, stock_uri(uri), run_id],
        env=base_environment() | STOCK_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs, points = (int(word) for word in done.stdout.split())
    shared = f"SELECT count(*) FROM metrics WHERE key = 'shared' AND run_uuid = '{run_id}'"
    assert [(runs,)] == rows(uri, "SELECT count(*) FROM runs WHERE experiment_id = 0")
    assert [(points,)] == rows(uri, shared)
