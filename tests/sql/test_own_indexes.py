"""`headrace db tune` and `headrace db release`: headrace's own indexes are made, repaired and dropped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.fix_server import base_environment, headrace
from tests.sql.catalog import Catalog, differences, postgres_catalog, sqlite_catalog
from tests.sql.dumps import restore_postgres, restore_sqlite
from tests.waiting import eventually

from headrace.db import uri as uris
from headrace.db.postgres.connection import first_connection
from headrace.db.schema import indexes
from headrace.db.schema import postgres as schema
from headrace.db.schema.facts import UnusableDatabase
from headrace.db.upkeep import tune_postgres
from headrace.db.upkeep.schema import init
from headrace.db.upkeep.tune import tune

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 60
RELEASE = "3.17.2"
COMMAND = [sys.executable, "-m", "headrace.commands.cli"]


@pytest.fixture
def found(empty_uri: str) -> str:
    """A database of stock MLflow."""
    if empty_uri.startswith("sqlite"):
        restore_sqlite(RELEASE, path_of(empty_uri))
    else:
        restore_postgres(RELEASE, empty_uri)
    return empty_uri


def path_of(uri: str) -> Path:
    return Path(urlsplit(uri).path[1:])


def names(uri: str) -> list[str]:
    """The names of headrace's tuned indexes for this kind of database."""
    dialect = uris.parse(uri).dialect
    return [index.name for index in indexes.TUNED if index.text(dialect)]


def valid(uri: str) -> list[str]:
    """headrace's indexes that exist, and on PostgreSQL are valid."""
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(uri))) as file:
            rows = file.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    else:
        with psycopg.connect(uri) as connection:
            rows = connection.execute(
                "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indisvalid"
            ).fetchall()
    return sorted(name for (name,) in rows if name.startswith("headrace_"))


def catalog(uri: str) -> Catalog:
    return sqlite_catalog(path_of(uri)) if uri.startswith("sqlite") else postgres_catalog(uri)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """`headrace …`, run to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        env=base_environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_a_new_database_has_them(empty_uri: str) -> None:
    init(empty_uri)
    assert valid(empty_uri) == sorted(names(empty_uri))
    assert all(line.startswith("exists: ") for line in tune(empty_uri))


def test_tune_makes_them_and_release_leaves_the_schema_of_stock(found: str) -> None:
    before = catalog(found)
    done = command("db", "tune", found)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("made: ") == len(names(found)) == len(valid(found))
    done = command("db", "release", found)
    assert (done.returncode, done.stderr) == (0, "")
    assert "as stock MLflow leaves it" in done.stdout
    assert differences(catalog(found), before) == []


def test_tuned_and_new_databases_are_equal(
    found: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tune(found)
    new = f"sqlite:///{tmp_path / 'new.db'}"
    if found.startswith("postgres"):
        new = request.getfixturevalue("postgres_uri")
    init(new)
    assert [line for line in differences(catalog(found), catalog(new)) if "headrace_" in line] == []


def test_release_can_keep_them(found: str) -> None:
    tune(found)
    done = command("db", "release", "--keep-indexes", found)
    assert done.returncode == 0 and "as stock MLflow leaves it" in done.stdout
    assert valid(found) == sorted(names(found))


def test_a_refused_release_changes_nothing(tmp_path: Path) -> None:
    """Another connection has the file open, such as a server's; its searches keep their indexes."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    restore_sqlite(RELEASE, path_of(uri))
    tune(uri)
    with closing(sqlite3.connect(path_of(uri))) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("SELECT count(*) FROM runs").fetchone()
        done = command("db", "release", uri)
    assert done.returncode == 1 and "another process holds the file" in done.stderr
    assert valid(uri) == sorted(names(uri))


def test_a_database_without_tables_is_refused(empty_uri: str) -> None:
    if empty_uri.startswith("sqlite"):
        path_of(empty_uri).touch()
    with pytest.raises(UnusableDatabase, match="none of MLflow's tables"):
        tune(empty_uri)


def test_the_start_says_what_is_missing_and_tune_makes_it(found: str, tmp_path: Path) -> None:
    """A server makes them only with --tune; then it has nothing to say. `db check` has the gains."""
    gain = "With them, of 100,000 rows: an experiment's newest runs 0.1 instead of"
    assert gain in command("db", "check", found).stdout
    offer = f"{len(names(found))} missing. To make them: headrace db tune "
    with headrace(found, tmp_path) as server:
        log = server.log()
        assert log.count("headrace db tune") == 1 and offer in log
    assert valid(found) == []
    with headrace(found, tmp_path, environment={"HEADRACE_TUNE": "true"}) as server:
        assert "headrace db tune" not in server.log() and "--tune made: " in server.log()
        assert valid(found) == sorted(names(found))
    with headrace(found, tmp_path, "--tune") as server:
        assert "tune" not in server.log()


def test_a_changed_index_of_sqlite_is_replaced(tmp_path: Path) -> None:
    """MLflow's migrations copy tables, and their indexes without the direction of a column."""
    uri = f"sqlite:///{tmp_path / 'x.db'}"
    init(uri)
    right = sqlite_catalog(path_of(uri))
    with closing(sqlite3.connect(path_of(uri))) as file:
        file.executescript(
            "DROP INDEX headrace_runs_page;"
            "CREATE INDEX headrace_runs_page ON runs (experiment_id, start_time, run_uuid)"
        )
    assert "headrace db tune" in command("doctor", uri).stdout
    assert tune(uri)[0].startswith("made: headrace_runs_page")
    assert differences(sqlite_catalog(path_of(uri)), right) == []


def state(uri: str) -> tuple[bool, ...] | None:
    """Whether the index of runs is valid; None if it does not exist."""
    with psycopg.connect(uri) as connection:
        return connection.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('headrace_runs_page')"
        ).fetchone()


@pytest.fixture
def stock_on_postgres(postgres_empty_uri: str) -> str:
    restore_postgres(RELEASE, postgres_empty_uri)
    return postgres_empty_uri


@pytest.fixture
def writer(stock_on_postgres: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that has written to runs. No index can be completed before it ends."""
    with psycopg.connect(stock_on_postgres) as connection:
        connection.execute("UPDATE runs SET name = name WHERE false")
        yield connection


@contextmanager
def tuning(uri: str) -> Iterator[subprocess.Popen[str]]:
    """`headrace db tune` in a process that obeys Ctrl+C, and that has ended after the block.

    A shell starts its background processes with SIGINT ignored. Their children, such as these tests and
    this command, would ignore it too.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [*COMMAND, "db", "tune", uri], env=base_environment(), stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_an_aborted_tune_is_continued(
    stock_on_postgres: str, writer: psycopg.Connection[Any]
) -> None:
    """Its index is not valid; the next run drops it, and creates it again. Writers never wait."""
    uri = stock_on_postgres
    with tuning(uri) as process:
        eventually(lambda: state(uri) == (False,))
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("SET statement_timeout = '5s'")
            connection.execute(
                "INSERT INTO runs (run_uuid, lifecycle_stage, experiment_id) VALUES ('r', 'active', 0)"
            )
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index"
            )
        assert process.wait(LIMIT_S) == 1
        assert process.stderr is not None and "Traceback" not in process.stderr.read()
    assert state(uri) == (False,)
    writer.rollback()
    assert tune(uri)[0].startswith("made: headrace_runs_page")
    assert state(uri) == (True,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_tune_is_continued(
    stock_on_postgres: str, writer: psycopg.Connection[Any], number: signal.Signals
) -> None:
    """With Ctrl+C and SIGTERM, PostgreSQL stops at once."""
    uri = stock_on_postgres
    with tuning(uri) as process:
        eventually(lambda: state(uri) == (False,))
        os.kill(process.pid, number)
        assert process.wait(LIMIT_S) == 1
        assert process.stderr is not None and "Traceback" not in process.stderr.read()
    with psycopg.connect(uri) as connection:
        left = connection.execute("SELECT count(*) FROM pg_stat_progress_create_index").fetchone()
        assert left == (0,)
    writer.rollback()
    tune(uri)
    assert state(uri) == (True,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_tune_drops_its_index(
    stock_on_postgres: str, number: signal.Signals
) -> None:
    """If no transaction uses it. An old snapshot of another one keeps it from being completed."""
    uri = stock_on_postgres
    with psycopg.connect(uri) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT 1")
        with tuning(uri) as process:
            eventually(lambda: state(uri) == (False,))
            os.kill(process.pid, number)
            assert process.wait(LIMIT_S) == 1
        assert state(uri) is None


def test_two_tunes_at_once_make_one_index(
    stock_on_postgres: str, writer: psycopg.Connection[Any]
) -> None:
    """The second one waits for the first, and does not take its index for a leftover."""
    uri = stock_on_postgres

    async def both() -> list[list[str]]:
        running = [asyncio.create_task(asyncio.to_thread(tune, uri))]
        await asyncio.to_thread(eventually, lambda: state(uri) == (False,))
        waiting = asyncio.Event()
        loop = asyncio.get_running_loop()

        def show(done: int, total: int, text: str) -> None:
            if "another process" in text:
                loop.call_soon_threadsafe(waiting.set)

        running.append(asyncio.create_task(asyncio.to_thread(tune, uri, progress=show)))
        await asyncio.wait_for(waiting.wait(), LIMIT_S)
        writer.rollback()
        return await asyncio.gather(*running)

    first, second = asyncio.run(both())
    assert first[0].startswith("made: ") and second[0].startswith("exists: ")
    assert state(uri) == (True,)


async def test_a_start_does_not_wait_for_long_transactions(
    stock_on_postgres: str,
    writer: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It logs a warning, and the server serves without the index."""
    monkeypatch.setattr(tune_postgres, "START_LOCK_S", 1)
    target = uris.parse(stock_on_postgres)
    async with first_connection(target) as (connector, connection):
        facts = await schema.inspect(connection, target.shown)
        assert facts is not None
        with caplog.at_level(logging.WARNING):
            await tune_postgres.at_start(connector, connection, facts)
    assert "--tune could not make the indexes" in caplog.text
    assert state(stock_on_postgres) != (True,)


async def test_progress_is_reported(
    stock_on_postgres: str, writer: psycopg.Connection[Any]
) -> None:
    """Also while it waits for another transaction, whose process is named."""
    seen: list[str] = []
    pid = writer.info.backend_pid

    def show(done: int, total: int, text: str) -> None:
        assert 0 <= done <= total
        seen.append(text)

    running = asyncio.create_task(asyncio.to_thread(tune, stock_on_postgres, progress=show))
    wait = f"headrace_runs_page: waiting for writers before build (process {pid})"
    await asyncio.to_thread(eventually, lambda: wait in seen)
    writer.rollback()
    await running


def test_the_bar_only_grows() -> None:
    """The phases in the order of PostgreSQL, at their beginning and at their end."""
    shares = [tune_postgres.describe("initializing", 0, 0, 0, 0, 0, 0, 0)[0]]
    for phase in tune_postgres.PHASES:
        shares += [tune_postgres.describe(phase, n, 10, 0, 0, 0, 0, 0)[0] for n in (0, 5, 10)]
    assert shares == sorted(shares) and shares[-1] == 1.0
