"""The check in the database notices missing acknowledged writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from benchmarks import seeds, verify
from benchmarks.cases import BY_NAME
from benchmarks.databases import SqliteDatabases
from benchmarks.load import Load

if TYPE_CHECKING:
    from pathlib import Path

TABLES = (
    "CREATE TABLE runs (run_uuid PRIMARY KEY, experiment_id)",
    "CREATE TABLE params (key, value, run_uuid, PRIMARY KEY (key, run_uuid))",
    "CREATE TABLE metrics (key, value, timestamp, run_uuid, step)",
    "CREATE TABLE latest_metrics (key, value, timestamp, step, run_uuid)",
)
SHARED = BY_NAME["log-batch-10"]
PARAMS = BY_NAME["log-params-10"]


@pytest.fixture
def databases(tmp_path: Path) -> SqliteDatabases:
    made = SqliteDatabases(tmp_path)
    made.write(made.create("one"), list(TABLES))
    return made


@pytest.fixture
def uri(databases: SqliteDatabases, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'one.db'}"


def _load(requests: int, failures: int = 0) -> Load:
    setup = {"run_ids": ["r1"], "experiment_id": "7"}
    return Load(requests, failures, 1.0, requests, 1.0, 2.0, 3.0, 0.1, setup=setup)


def _batches(count: int, latest_step: int) -> list[str]:
    """`count` batches of ten metrics at steps 0, 1, … of run r1."""
    texts = [
        f"INSERT INTO metrics VALUES ('metric_{i}', {step}.5, 1000, 'r1', {step})"
        for step in range(count)
        for i in range(10)
    ]
    latest = [
        f"INSERT INTO latest_metrics VALUES ('metric_{i}', {latest_step}.5, 1000, {latest_step}, 'r1')"
        for i in range(10)
    ]
    return texts + latest


def test_all_that_was_acknowledged_is_there(databases: SqliteDatabases, uri: str) -> None:
    databases.write(uri, _batches(30, latest_step=29))
    assert verify.missing(SHARED, _load(30), {}, databases, uri) == ""


def test_a_lost_batch_is_noticed(databases: SqliteDatabases, uri: str) -> None:
    databases.write(uri, _batches(29, latest_step=28))
    found = verify.missing(SHARED, _load(30), {}, databases, uri)
    assert found == "metrics: 290 rows stored, 300 acknowledged"


def test_rows_of_requests_in_flight_and_of_failed_ones_may_be_there(
    databases: SqliteDatabases, uri: str
) -> None:
    databases.write(uri, _batches(30, latest_step=29))
    assert verify.missing(SHARED, _load(30, failures=5), {}, databases, uri) == ""
    assert verify.missing(SHARED, _load(25), {}, databases, uri) == ""


def test_rows_written_twice_are_noticed(databases: SqliteDatabases, uri: str) -> None:
    databases.write(uri, _batches(30, latest_step=29) + _batches(30, latest_step=29))
    found = verify.missing(SHARED, _load(30), {}, databases, uri)
    assert found == "metrics: 600 rows stored, 300 acknowledged"


def test_a_latest_metric_that_is_not_the_newest_is_noticed(
    databases: SqliteDatabases, uri: str
) -> None:
    databases.write(uri, _batches(30, latest_step=28))
    found = verify.missing(SHARED, _load(30), {}, databases, uri)
    assert found == "latest_metrics: 1 runs whose metric_0 is not its newest point"


def test_runs_that_were_not_made_are_noticed(databases: SqliteDatabases, uri: str) -> None:
    databases.write(uri, [f"INSERT INTO runs VALUES ('r{i}', 7)" for i in range(9)])
    case = BY_NAME["create-run"]
    assert verify.missing(case, _load(9), {}, databases, uri) == ""
    found = verify.missing(case, _load(10), {}, databases, uri)
    assert found == "runs: 9 rows stored, 10 acknowledged"


def test_rows_that_were_in_the_pool_before_do_not_count(
    databases: SqliteDatabases, uri: str
) -> None:
    assert PARAMS.pool_segment is not None
    run = seeds.run_id(seeds.POOL_SET, seeds.pool_segment(PARAMS.pool_segment)[0])
    rows = [f"INSERT INTO params VALUES ('p{i}', 'v', '{run}')" for i in range(1000)]
    databases.write(uri, rows[:500])
    before = verify.rows_before(PARAMS, databases, uri)
    assert before == {"params": 500}
    assert verify.missing(PARAMS, _load(50), before, databases, uri) != ""
    databases.write(uri, rows[500:])
    assert verify.missing(PARAMS, _load(50), before, databases, uri) == ""
