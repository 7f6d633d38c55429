"""The SQLite file or its log disappears under a running server: no write is acknowledged and lost."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.faults.load import Once, eventually
from tests.faults.stored import rows
from tests.fix_server import headrace

from headrace.db.coroutines import run_to_end
from headrace.db.schema.facts import Facts
from headrace.db.sql import Sql
from headrace.db.sqlite.direct import DirectSqlite
from headrace.db.sqlite.file import FileGone
from headrace.db.upkeep.schema import init

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.db.base import Tx

LOGS = ("", "-wal", "-shm")


def deleted(path: Path) -> None:
    """With its log and shared memory."""
    for suffix in LOGS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def moved(path: Path) -> None:
    """Without its log."""
    path.rename(path.with_name("elsewhere.db"))


def replaced(path: Path) -> None:
    """By a copy, as an editor or `sed -i` does it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(path, path.with_name("copy.db"))
    path.with_name("copy.db").replace(path)


def log_deleted(path: Path) -> None:
    """Deleted by mistake."""
    path.with_name(path.name + "-wal").unlink()


@pytest.mark.parametrize("gone", [deleted, moved, replaced, log_deleted])
def test_no_write_is_acknowledged_into_a_file_that_is_gone(
    gone: Callable[[Path], None], tmp_path: Path
) -> None:
    """Writes, and soon reads, get 429; readiness and the log give the reason; no file is created at the path."""
    path = tmp_path / "mlflow.db"
    with headrace(f"sqlite:///{path}", tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        gone(path)
        there = path.exists()
        for _ in range(3):
            answer = wire.post("runs/create", {"experiment_id": "0", "start_time": 1})
            assert answer.status == 429, str(answer)
        assert wire.ask("GET", "/readyz").status == 503
        assert wire.ask("GET", "/livez").status == 200
        get = f"/api/2.0/mlflow/runs/get?run_id={run_id}"
        eventually(lambda: wire.ask("GET", get).status == 429, 5)
        assert path.exists() == there
        assert "not ready: the database is unavailable: the database" in server.log()


def test_service_goes_on_when_the_file_is_back(tmp_path: Path) -> None:
    """It is the same file: nothing is lost, and no restart is needed."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        wire.new_run(name="before")
        moved(path)
        assert wire.post("runs/create", {"experiment_id": "0", "start_time": 1}).status == 429
        path.with_name("elsewhere.db").rename(path)
        wire.new_run(name="after")
        assert wire.ask("GET", "/readyz").status == 200
        server.kill()
    assert rows(uri, "SELECT name FROM runs ORDER BY name") == [("after",), ("before",)]
    assert rows(uri, "PRAGMA integrity_check") == [("ok",)]


def test_the_content_of_a_deleted_log_is_saved_when_the_loss_is_noticed(tmp_path: Path) -> None:
    """Even if the server is killed then."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        for n in range(5):
            wire.new_run(name=f"acknowledged-{n}")
        log_deleted(path)
        assert wire.post("runs/create", {"experiment_id": "0", "start_time": 1}).status == 429
        server.kill()
    assert rows(uri, "SELECT count(*) FROM runs") == [(5,)]
    assert rows(uri, "PRAGMA integrity_check") == [("ok",)]


def test_a_server_that_ends_leaves_the_log_of_another_alone(tmp_path: Path) -> None:
    """A second server was started on a new file at the same path."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    with headrace(uri, tmp_path) as first, Once(first.url) as wire:
        wire.new_run(name="old")
        for suffix in LOGS:
            path.with_name(path.name + suffix).rename(tmp_path / f"old.db{suffix}")
        with headrace(uri, tmp_path) as second, Once(second.url) as other:
            other.new_run(name="new")
            first.stop()
            assert path.with_name("mlflow.db-wal").exists()
            other.new_run(name="newer")
            second.kill()
    assert rows(uri, "SELECT name FROM runs ORDER BY name") == [("new",), ("newer",)]
    assert rows(f"sqlite:///{tmp_path}/old.db", "SELECT name FROM runs") == [("old",)]


def test_the_python_api_writes_into_no_file_that_is_gone_and_goes_on_after_a_fork(
    tmp_path: Path,
) -> None:
    """The engine without a server checks as well. A fork closes all connections, which is no loss of the log."""
    path = tmp_path / "mlflow.db"
    assert init(f"sqlite:///{path}").created
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    db = DirectSqlite(str(path), Facts("", {}))
    insert = Sql("INSERT INTO experiments (name, lifecycle_stage) VALUES ($1, 'active')")

    async def made(tx: Tx, name: str) -> int:
        return await tx.execute(insert, name)

    assert run_to_end(db.write(made, "before")) == 1
    assert db.prepare_fork()
    db.resume_after_fork()
    assert run_to_end(db.write(made, "after the fork")) == 1
    moved(path)
    with pytest.raises(FileGone):
        run_to_end(db.write(made, "lost"))
    assert not path.exists()
    path.with_name("elsewhere.db").rename(path)
    assert run_to_end(db.write(made, "back")) == 1
    run_to_end(db.close())
    names = "SELECT name FROM experiments WHERE experiment_id > 0 ORDER BY experiment_id"
    assert rows(f"sqlite:///{path}", names) == [("before",), ("after the fork",), ("back",)]
