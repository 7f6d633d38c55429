"""`headrace backup` and `restore` of a SQLite file that a server writes to meanwhile."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import headrace
from tests.ops.test_doctor import command
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

JSON = {"Content-Type": "application/json"}


def query(path: Path, sql: str) -> Any:
    """The first value of a query."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchone()[0]


class Writer(threading.Thread):
    """Logs batches of 100 points until told to stop; `answered` counts those that were acknowledged."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self.answered = 0
        self.stops = threading.Event()

    def run(self) -> None:
        """Work."""
        with Wire(self._url) as wire:
            path = "/api/2.0/mlflow/runs/"
            made = wire.ask("POST", path + "create", b'{"experiment_id": "0"}', JSON).json()
            run_id = made["run"]["info"]["run_id"]
            while not self.stops.is_set():
                start = self.answered * 100
                points = [
                    {"key": "k", "value": n, "timestamp": n, "step": n}
                    for n in range(start, start + 100)
                ]
                body = json.dumps({"run_id": run_id, "metrics": points}).encode()
                if wire.ask("POST", path + "log-batch", body, JSON).status == 200:
                    self.answered += 1


def test_a_backup_of_a_busy_server_is_of_one_moment(tmp_path: Path) -> None:
    """It holds everything that was answered before it began, and whole transactions only."""
    source = tmp_path / "mlflow.db"
    copies = []
    with headrace(f"sqlite:///{source}", tmp_path) as server:
        writer = Writer(server.url)
        writer.start()
        try:
            for n in range(3):
                while writer.answered < 20 * (n + 1):
                    assert writer.is_alive()
                    writer.join(0.01)
                before, copy = writer.answered, tmp_path / f"copy-{n}.db"
                done = command("backup", f"sqlite:///{source}", str(copy))
                assert done.returncode == 0, done.stderr
                copies.append((before, copy))
        finally:
            writer.stops.set()
            writer.join()
    for before, copy in copies:
        points = query(copy, "SELECT count(*) FROM metrics")
        assert points >= before * 100
        assert points % 100 == 0
        assert query(copy, "SELECT step FROM latest_metrics") == points - 1
        assert query(copy, "PRAGMA integrity_check") == "ok"
        assert query(copy, "PRAGMA journal_mode") == "delete"
    assert not list(tmp_path.glob("*.partial*"))


def test_a_backup_does_not_overwrite(tmp_path: Path) -> None:
    """The one of yesterday may be the good one."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert command("db", "init", uri).returncode == 0
    (tmp_path / "copy.db").write_text("precious")
    done = command("backup", uri, str(tmp_path / "copy.db"))
    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_a_restore_brings_back_what_was_there(tmp_path: Path) -> None:
    """And moves what is there aside; not while a server has it open."""
    source, copy = tmp_path / "mlflow.db", tmp_path / "copy.db"
    uri = f"sqlite:///{source}"
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        path = "/api/2.0/mlflow/experiments/create"
        assert wire.ask("POST", path, b'{"name": "first"}', JSON).status == 200
        assert command("backup", uri, str(copy)).returncode == 0
        assert wire.ask("POST", path, b'{"name": "second"}', JSON).status == 200
        busy = command("restore", str(copy), uri, "--force")
        assert busy.returncode == 1
        assert "another process holds the file" in busy.stderr
        assert wire.ask("POST", path, b'{"name": "third"}', JSON).status == 200
    refused = command("restore", str(copy), uri)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    done = command("restore", str(copy), uri, "--force")
    assert done.returncode == 0, done.stderr
    names = "SELECT group_concat(name) FROM (SELECT name FROM experiments ORDER BY experiment_id)"
    assert query(source, names) == "Default,first"
    assert query(tmp_path / "mlflow.db.replaced-1", names) == "Default,first,second,third"
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        assert wire.ask("GET", "/readyz").status == 200


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_what_is_no_backup_is_not_restored(tmp_path: Path, content: bytes) -> None:
    """The file that is there stays."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert command("db", "init", uri).returncode == 0
    (tmp_path / "copy.db").write_bytes(content)
    assert command("restore", str(tmp_path / "copy.db"), uri, "--force").returncode == 1
    assert query(tmp_path / "mlflow.db", "SELECT name FROM experiments") == "Default"


def test_a_damaged_database_can_be_replaced(tmp_path: Path) -> None:
    """That is what a backup is for."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    assert command("db", "init", uri).returncode == 0
    assert command("backup", uri, str(tmp_path / "copy.db")).returncode == 0
    path.write_bytes(b"\0" * 8192)
    done = command("restore", str(tmp_path / "copy.db"), uri, "--force")
    assert done.returncode == 0, done.stderr
    assert query(path, "SELECT name FROM experiments") == "Default"


def test_postgresql_has_tools_of_its_own(tmp_path: Path) -> None:
    """They are named."""
    done = command("backup", "postgresql://u:secret@h/d", str(tmp_path / "copy.db"))
    assert done.returncode == 2
    assert "pg_dump" in done.stderr
    assert "secret" not in done.stderr
