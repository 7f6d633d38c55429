"""SQLite on a full or read-only disk: clear errors, no partial write, recovery."""

from __future__ import annotations

import resource
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tests.faults.load import API, Once, point
from tests.faults.stored import check_latest, rows
from tests.fix_server import Server, headrace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wire import Answer

VALUE = "x" * 5000
MAX_BATCHES = 400


def full_batch(run_id: str, number: int) -> dict[str, Any]:
    """About 100 kB that belong together."""
    params = [{"key": f"{number}-{n}", "value": VALUE} for n in range(20)]
    return {"run_id": run_id, "params": params, "metrics": [point("full", number, number)]}


def limit_files(server: Server, limit_bytes: int) -> None:
    """No file of the server may grow beyond that: a write fails, as on a full disk."""
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit_bytes, hard))


def check_refusal(answer: Answer) -> None:
    """A server error in MLflow's JSON form that names the database's reason."""
    assert answer.status in (429, 500, 503), str(answer)
    assert answer.json()["error_code"]
    assert "SQLITE_" in answer.json()["message"]


def check_whole(uri: str, accepted: int) -> None:
    """All accepted batches are complete, and there are no others."""
    assert rows(uri, "SELECT count(*) FROM metrics WHERE key = 'full'") == [(accepted,)]
    assert rows(uri, "SELECT count(*) FROM params") == [(accepted * 20,)]
    assert rows(uri, "PRAGMA integrity_check") == [("ok",)]
    check_latest(uri)


def test_a_full_disk_is_an_error_and_no_loss(tmp_path: Path) -> None:
    """Batches until there is no space; reads continue; with space, writes continue."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        size = max(path.stat().st_size for path in tmp_path.glob("mlflow.db*"))
        limit_files(server, size + (1 << 20))
        accepted = 0
        while (answer := wire.post("runs/log-batch", full_batch(run_id, accepted))).status == 200:
            accepted += 1
            assert accepted < MAX_BATCHES, "the disk never filled up"
        assert accepted
        check_refusal(answer)
        check_refusal(wire.post("runs/log-batch", full_batch(run_id, accepted)))
        assert wire.ask("GET", f"{API}runs/get?run_id={run_id}").status == 200
        limit_files(server, resource.RLIM_INFINITY)
        wire.made("runs/log-batch", full_batch(run_id, accepted))
        check_whole(uri, accepted + 1)


def test_a_batch_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """The sixteenth of its params is refused by the database: the fifteen before it are undone."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        wire.made("runs/log-batch", full_batch(run_id, 0))
        with closing(sqlite3.connect(tmp_path / "mlflow.db", timeout=30)) as other:
            other.execute("CREATE TRIGGER full AFTER INSERT ON params WHEN NEW.key = '1-15'"
                          " BEGIN SELECT RAISE(ABORT, 'no more'); END")  # fmt: skip
            answer = wire.post("runs/log-batch", full_batch(run_id, 1))
            assert answer.status >= 400, str(answer)
            check_whole(uri, 1)
            other.execute("DROP TRIGGER full")
        wire.made("runs/log-batch", full_batch(run_id, 1))
        check_whole(uri, 2)


def test_a_database_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    """While no file can be written, reads succeed and writes are refused; afterwards writes succeed."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        limit_files(server, 0)
        check_refusal(wire.post("runs/log-batch", full_batch(run_id, 0)))
        check_refusal(wire.post("runs/create", {"experiment_id": "0"}))
        assert wire.ask("GET", f"{API}runs/get?run_id={run_id}").status == 200
        limit_files(server, resource.RLIM_INFINITY)
        wire.made("runs/log-batch", full_batch(run_id, 0))
        check_whole(uri, 1)
        assert rows(uri, "SELECT count(*) FROM runs") == [(1,)]
