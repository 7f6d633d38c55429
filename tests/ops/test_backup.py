"""`headrace backup` and `restore` of a SQLite file that a server writes to meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import base_environment, headrace
from tests.ops.test_doctor import command
from tests.wire import Wire

from headrace.db.schema import sqlite
from headrace.db.schema.facts import UnusableDatabase
from headrace.db.upkeep import backup

if TYPE_CHECKING:
    from pathlib import Path

JSON = {"Content-Type": "application/json"}


def query(path: Path, sql: str) -> Any:
    """The first value of a query."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchone()[0]


class Writer(threading.Thread):
    """Logs batches of 100 points until `stops` is set; `answered` counts the acknowledged ones."""

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


def test_a_backup_of_a_busy_server_is_consistent(tmp_path: Path) -> None:
    """It has all writes acknowledged before it began, and only complete transactions."""
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
    """The older backup may be the only good one."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert command("db", "init", uri).returncode == 0
    (tmp_path / "copy.db").write_text("precious")
    done = command("backup", uri, str(tmp_path / "copy.db"))
    assert done.returncode == 1
    assert "already exists" in done.stderr
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_a_restore_brings_the_data_back(tmp_path: Path) -> None:
    """And moves the current file aside; it refuses while a server has the file open."""
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
def test_a_file_that_is_no_backup_is_not_restored(tmp_path: Path, content: bytes) -> None:
    """The current file stays."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert command("db", "init", uri).returncode == 0
    (tmp_path / "copy.db").write_bytes(content)
    assert command("restore", str(tmp_path / "copy.db"), uri, "--force").returncode == 1
    assert query(tmp_path / "mlflow.db", "SELECT name FROM experiments") == "Default"


def test_a_damaged_database_can_be_replaced(tmp_path: Path) -> None:
    """A restore must work in this case."""
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    assert command("db", "init", uri).returncode == 0
    assert command("backup", uri, str(tmp_path / "copy.db")).returncode == 0
    path.write_bytes(b"\0" * 8192)
    done = command("restore", str(tmp_path / "copy.db"), uri, "--force")
    assert done.returncode == 0, done.stderr
    assert query(path, "SELECT name FROM experiments") == "Default"


def test_postgresql_has_tools_of_its_own(tmp_path: Path) -> None:
    """The message names them."""
    done = command("backup", "postgresql://u:secret@h/d", str(tmp_path / "copy.db"))
    assert done.returncode == 2
    assert "pg_dump" in done.stderr
    assert "secret" not in done.stderr


def killed_server(directory: Path) -> Path:
    """A database with a log that a killed server left, of an experiment `late`; and `copy.db` from before it."""
    source = directory / "mlflow.db"
    uri = f"sqlite:///{source}"
    create = "/api/2.0/mlflow/experiments/create"
    with headrace(uri, directory) as server, Wire(server.url) as wire:
        assert wire.ask("POST", create, b'{"name": "early"}', JSON).status == 200
        assert command("backup", uri, str(directory / "copy.db")).returncode == 0
        assert wire.ask("POST", create, b'{"name": "late"}', JSON).status == 200
        server.kill()
    assert (directory / "mlflow.db-wal").stat().st_size
    return source


NAMES = "SELECT group_concat(name) FROM (SELECT name FROM experiments ORDER BY experiment_id)"


def test_a_restore_moves_a_log_aside_that_a_killed_server_left(tmp_path: Path) -> None:
    """SQLite would apply it to the restored file."""
    source = killed_server(tmp_path)
    source.rename(tmp_path / "broken.db")  # as an administrator may do, without the log
    done = command("restore", str(tmp_path / "copy.db"), f"sqlite:///{source}")
    assert done.returncode == 0, done.stderr
    assert "mlflow.db.replaced-1-wal" in done.stdout
    assert query(source, "PRAGMA integrity_check") == "ok"
    assert query(source, NAMES) == "Default,early"
    for suffix in ("-wal", "-shm"):  # the old database is complete
        (tmp_path / f"mlflow.db.replaced-1{suffix}").rename(tmp_path / f"broken.db{suffix}")
    assert query(tmp_path / "broken.db", NAMES) == "Default,early,late"


def test_a_database_that_was_moved_away_under_its_server_is_not_restored(tmp_path: Path) -> None:
    """The server still writes to the log at that path."""
    source = tmp_path / "mlflow.db"
    uri = f"sqlite:///{source}"
    with headrace(uri, tmp_path):
        assert command("backup", uri, str(tmp_path / "copy.db")).returncode == 0
        source.rename(tmp_path / "moved.db")
        before = sorted(tmp_path.iterdir())
        done = command("restore", str(tmp_path / "copy.db"), uri)
        assert done.returncode == 1
        assert "another process holds the file's log" in done.stderr
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_backup_is_not_written_or_read_beside_another_files_log(
    tmp_path: Path, suffix: str
) -> None:
    """SQLite would apply the log to it, or the log may be a part of it."""
    uri, copy = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "copy.db"
    assert command("db", "init", uri).returncode == 0
    log = tmp_path / f"copy.db{suffix}"
    log.write_bytes(b"of an older copy")
    done = command("backup", uri, str(copy))
    assert (done.returncode, f"{log} already exists" in done.stderr) == (1, True)
    assert not copy.exists()
    log.unlink()
    assert command("backup", uri, str(copy)).returncode == 0
    log.write_bytes(b"of an older copy")
    done = command("restore", str(copy), uri, "--force")
    assert (done.returncode, f"{log} exists" in done.stderr) == (1, True)
    assert query(tmp_path / "mlflow.db", NAMES) == "Default"


def damage(path: Path) -> None:
    """Break an index."""
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = 'index_latest_metrics_run_uuid'"
        (page,) = connection.execute(sql).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\x0a" + b"\xff" * 40)


def test_a_damaged_backup_leaves_the_current_file(tmp_path: Path) -> None:
    """The damage is in an index, deep in the file: only a check of all of it finds that."""
    source = killed_server(tmp_path)
    copy = tmp_path / "copy.db"
    damage(copy)
    done = command("restore", str(copy), f"sqlite:///{source}", "--force")
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert query(source, NAMES) == "Default,early,late"
    assert {path.name for path in tmp_path.glob("mlflow.db*")} <= {
        "mlflow.db",
        "mlflow.db-wal",
        "mlflow.db-shm",
    }


def test_a_restored_file_that_is_damaged_is_removed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is checked in its final place: a disk or another process may damage it after the copy."""
    source = killed_server(tmp_path)
    replace = backup._replace

    def then_damaged(target: Path, partial: Path) -> Path:
        aside = replace(target, partial)
        damage(target)
        return aside

    monkeypatch.setattr(backup, "_replace", then_damaged)
    with pytest.raises(UnusableDatabase, match="damaged"):
        backup.restore(tmp_path / "copy.db", f"sqlite:///{source}", force=True)
    assert query(source, NAMES) == "Default,early,late"
    assert not list(tmp_path.glob("mlflow.db.*"))


# Ends itself with SIGKILL at the n-th file that it opens, renames, links or removes below a directory.
MORTAL = """
import os, signal, sys
left, below = int(sys.argv[1]), sys.argv[2]
def watch(event, args):
    global left
    if event in ("open", "os.rename", "os.link", "os.remove", "sqlite3.connect") and below in str(args[0]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
from headrace.commands.cli import main
sys.argv = ["headrace", *sys.argv[3:]]
sys.addaudithook(watch)
main()
"""


def test_a_restore_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """At every step, with a log to apply; and the next restore completes the work."""
    first = tmp_path / "first"
    first.mkdir()
    killed_server(first)
    found, done = [], False
    while not done:
        directory = tmp_path / f"killed-{len(found)}"
        shutil.copytree(first, directory)
        uri = f"sqlite:///{directory}/mlflow.db"
        restore = ("restore", str(directory / "copy.db"), uri, "--force")
        argv = [sys.executable, "-c", MORTAL, str(len(found)), str(directory), *restore]
        ended = subprocess.run(argv, env=base_environment(), capture_output=True, check=False)
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        done = ended.returncode == 0
        assert query(directory / "mlflow.db", "PRAGMA integrity_check") == "ok"
        found.append(query(directory / "mlflow.db", NAMES))
    assert set(found) == {"Default,early,late", "Default,early"}
    assert found == sorted(found, key=len, reverse=True), "old, then new"
    assert len(found) > 10
    again = command(*restore)
    assert again.returncode == 0, again.stderr
    assert query(directory / "mlflow.db.replaced-2", NAMES) == "Default,early"


def test_a_database_of_users_alone_is_copied_and_restored(tmp_path: Path) -> None:
    """It is as precious as the runs."""
    source, copy = tmp_path / "users.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        sqlite.prepare_users(connection, "users.db")
        connection.execute("INSERT INTO users (username) VALUES ('ann')")
    assert backup.backup(f"sqlite:///{source}", copy)
    source.unlink()
    assert backup.restore(copy, f"sqlite:///{source}")
    assert query(source, "SELECT username FROM users") == "ann"
    empty = tmp_path / "empty.db"
    sqlite3.connect(empty).close()
    with pytest.raises(UnusableDatabase, match="none of MLflow's tables"):
        backup.backup(f"sqlite:///{empty}", tmp_path / "no.db")
