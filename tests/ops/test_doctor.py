"""`headrace doctor` on damaged databases, and the remedies that it prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.faults.load import Once, start
from tests.fix_server import base_environment, headrace
from tests.ops.test_gc import rows, run_sql
from tests.sql.dumps import restore_sqlite
from tests.waiting import eventually
from tests.wire import Wire

from headrace.db.upkeep import health
from headrace.upkeep import doctor

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 60
JSON = {"Content-Type": "application/json"}


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """`headrace …`."""
    return subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", *words],
        env=base_environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture
def uri(uri: str, tmp_path: Path) -> str:
    """A database with a run that has two metrics of three points."""
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        path = "/api/2.0/mlflow/runs/"
        made = wire.ask("POST", path + "create", b'{"experiment_id": "0"}', JSON).json()
        run_id = made["run"]["info"]["run_id"]
        points = [
            {"key": key, "value": n, "timestamp": n, "step": n} for key in "ab" for n in range(3)
        ]
        body = json.dumps({"run_id": run_id, "metrics": points}).encode()
        assert wire.ask("POST", path + "log-batch", body, JSON).status == 200
    return uri


def test_a_new_database_is_healthy(uri: str) -> None:
    """Exit code 0; sizes and counts are printed."""
    done = command("doctor", uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No problems found." in done.stdout
    assert "2 compared with their history, 0 differ" in done.stdout


def test_rows_are_counted_without_statistics(uri: str) -> None:
    """PostgreSQL's planner knows nothing of such a table, and its statistics come a moment after the commit."""
    eventually(lambda: re.search(r"^  metrics +about 6 rows", command("doctor", uri).stdout, re.M))


def test_workspaces_are_counted(uri: str) -> None:
    """A server of such a database needs an option."""
    assert not re.search("^workspaces", command("doctor", uri).stdout, re.M)
    run_sql(uri, "INSERT INTO workspaces (name) VALUES ('team-a')")
    assert re.search(
        r"^workspaces +2, which need --enable-workspaces", command("doctor", uri).stdout, re.M
    )


def test_every_index_of_mlflow_is_expected(database: str) -> None:
    """The pattern finds all of them in the schema file."""
    from importlib import resources

    text = resources.files("headrace.db.schema").joinpath(f"{database}.sql").read_text()
    assert len(health.expected_indexes(database)) == text.count("CREATE INDEX") + text.count(
        "CREATE UNIQUE INDEX"
    )
    assert len(health.expected_indexes(database)) > 50


def test_a_missing_index_is_reported_with_its_statement(uri: str) -> None:
    """The printed statement creates it."""
    run_sql(uri, "DROP INDEX index_params_run_uuid")
    done = command("doctor", uri)
    assert done.returncode == 1
    assert "index index_params_run_uuid of params is missing" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "solve it with" in line]
    program, place, *rest = shlex.split(line.partition(": ")[2])
    assert program in ("sqlite3", "psql")
    assert place in uri
    run_sql(uri, rest[-1].rstrip(";"))
    assert command("doctor", uri).returncode == 0


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE latest_metrics SET value = 7 WHERE key = 'a'",
        "UPDATE latest_metrics SET step = 1, timestamp = 1, value = 1 WHERE key = 'a'",
        "DELETE FROM metrics WHERE key = 'a'",
    ],
)
def test_wrong_latest_metrics_are_found_and_recomputed(uri: str, damage: str) -> None:
    """From the history."""
    run_sql(uri, damage)
    done = command("doctor", uri)
    assert done.returncode == 1
    assert "the latest value of 1 metrics" in done.stdout
    assert "headrace db recompute-latest" in done.stdout
    mended = command("db", "recompute-latest", uri)
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.startswith("1 latest metric differed")
    assert command("doctor", uri).returncode == 0
    found = rows(uri, "SELECT key, step, value FROM latest_metrics ORDER BY key")
    kept = [] if damage.startswith("DELETE") else [("a", 2, 2.0)]
    assert found == [*kept, ("b", 2, 2.0)]


@pytest.mark.parametrize("more", [health.SAMPLED - 2, health.SAMPLED * 3 // 2])
def test_a_table_slightly_larger_than_the_sample_is_checked(uri: str, more: int) -> None:
    """The computed share of a sample would be more than 100 %."""
    run_id = rows(uri, "SELECT run_uuid FROM runs")[0][0]
    columns = "(key, value, timestamp, run_uuid, step, is_nan)"
    values = ", ".join(f"('n{n}', 1, 1, '{run_id}', 1, false)" for n in range(more))
    tables = ("metrics", "latest_metrics")
    run_sql(uri, *(f"INSERT INTO {table} {columns} VALUES {values}" for table in tables))
    done = command("doctor", uri)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_latest_metric_is_found_and_made(uri: str) -> None:
    """A recomputation covers every run, not a sample."""
    run_sql(uri, "DELETE FROM latest_metrics WHERE key = 'a'")
    done = command("doctor", uri)
    assert done.returncode == 1
    assert "the latest value of 1 metrics" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "solve it with" in line]
    program, *words = shlex.split(line.partition(": ")[2])
    assert program == "headrace"
    assert command(*words).stdout.startswith("1 latest metric differed")
    assert len(rows(uri, "SELECT 1 FROM latest_metrics")) == 2
    assert command("doctor", uri).returncode == 0


def test_a_busy_server_looks_well(uri: str, tmp_path: Path) -> None:
    """A commit between two queries of the doctor is no damage."""
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        writers = start(3, server.url, wire.new_run())
        try:
            found = [command("doctor", uri) for _ in range(3)]
        finally:
            for writer in writers:
                writer.stop()
    assert [done.stdout + done.stderr for done in found if done.returncode] == []


def test_the_journal_mode_is_reported(tmp_path: Path) -> None:
    """WAL while headrace uses the file, stock's mode after its release; and a log that is never emptied."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        path = "/api/2.0/mlflow/experiments/create"
        assert wire.ask("POST", path, b'{"name": "a"}', JSON).status == 200
        assert "wal, " in command("doctor", uri).stdout
        log = tmp_path / "mlflow.db-wal"
        os.truncate(log, size := doctor.LARGE_LOG_BYTES + 4096)
        done = command("doctor", uri)
        assert done.returncode == 1
        assert f"wal, {size:,} bytes in the log" in done.stdout
        assert f"headrace db release --keep-indexes {uri}" in done.stdout
    assert command("db", "release", uri).returncode == 0
    found = command("doctor", uri)
    assert (found.returncode, "delete, 0 bytes in the log" in found.stdout) == (0, True)


def test_the_clock_of_the_database_is_compared(postgres_uri: str) -> None:
    """It is an hour ahead: a function in another schema hides PostgreSQL's."""
    run_sql(
        postgres_uri,
        "CREATE SCHEMA skewed",
        "CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
        " $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$",
        f'ALTER DATABASE "{urlsplit(postgres_uri).path[1:]}"'
        " SET search_path = public, skewed, pg_catalog",
    )
    done = command("doctor", postgres_uri)
    assert done.returncode == 1
    assert "the clocks of database and server differ" in done.stdout
    assert "timedatectl set-ntp true" in done.stdout


def test_an_unknown_head_is_reported(uri: str) -> None:
    """It may be of a newer MLflow."""
    run_sql(uri, "UPDATE alembic_version SET version_num = 'deadbeef0000'")
    done = command("doctor", uri)
    assert done.returncode == 1
    assert "deadbeef0000" in done.stdout + done.stderr


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    """In a sentence, not with a traceback."""
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 9000)
    done = command("doctor", f"sqlite:///{tmp_path}/mlflow.db")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "mlflow.db" in done.stderr


def test_a_clock_that_was_ahead_is_noticed(uri: str) -> None:
    """By stored times in the future."""
    run_sql(uri, "UPDATE experiments SET last_update_time = 99999999999999")
    done = command("doctor", uri)
    assert done.returncode == 1
    assert "in the future" in done.stdout


def test_an_older_schema_is_reported(tmp_path: Path) -> None:
    """With the command that brings it up to date."""
    restore_sqlite("2.9.2", tmp_path / "old.db")
    done = command("doctor", f"sqlite:///{tmp_path}/old.db")
    assert done.returncode == 1
    assert "headrace db upgrade" in done.stdout


def test_a_missing_database_is_reported(postgres_empty_uri: str, tmp_path: Path) -> None:
    """The check creates no file."""
    missing = command("doctor", f"sqlite:///{tmp_path}/none.db")
    assert missing.returncode == 1
    assert "does not exist" in missing.stderr
    assert not (tmp_path / "none.db").exists()
    empty = command("doctor", postgres_empty_uri)
    assert empty.returncode == 1
    assert "has none of MLflow's tables" in empty.stderr
    with psycopg.connect(postgres_empty_uri) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() == (0,)
