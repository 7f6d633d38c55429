"""What a database holds, read past every server."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg

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


def rows(uri: str, statement: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(uri).path[1:], timeout=30)) as connection:
            return list(connection.execute(statement).fetchall())
    with psycopg.connect(uri) as connection:
        return list(connection.execute(statement.encode()).fetchall())


def check_latest(uri: str) -> None:
    """latest_metrics is what its metrics say it must be."""
    wanted = {row[:2]: (*row[2:5], bool(row[5])) for row in rows(uri, _RECOMPUTED)}
    found = {row[:2]: (*row[2:5], bool(row[5])) for row in rows(uri, _LATEST)}
    assert wanted, "there are no metrics"
    assert found == wanted


def check_acknowledged(uri: str, run_id: str, writers: Sequence[Writer]) -> None:
    """Whatever the writers were told is written is there, whole, and no run is there twice."""
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
    doubled = {n: c for n, c in runs.items() if c > 1}
    assert not doubled
    check_latest(uri)
