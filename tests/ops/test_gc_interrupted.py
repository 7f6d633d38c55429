"""`headrace gc` killed repeatedly while a server writes: nothing is left half deleted, and the last one deletes all."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.faults.load import Once, start
from tests.faults.stored import check_acknowledged
from tests.fix_server import base_environment, headrace
from tests.ops.test_doctor import command
from tests.ops.test_gc import rows, run_sql
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

POINTS = 150_000  # fifteen transactions
KILLS = 2
LIMIT_S = 60
SERIES = {
    "sqlite": "(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {}) SELECT n FROM g)",
    "postgres": "(SELECT generate_series(1, {}) AS n)",
}


def points_of(uri: str, run_id: str) -> int:
    """The number of points of a run."""
    (count,) = rows(uri, f"SELECT count(*) FROM metrics WHERE run_uuid = '{run_id}'")[0]
    return int(count)


def killed_half_way(uri: str, run_id: str) -> bool:
    """Start a collection and kill it when the run has lost points; whether it was still running."""
    before = points_of(uri, run_id)
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.commands.cli", "gc", uri, "--keep-artifacts"],
        env=base_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(
        lambda: points_of(uri, run_id) < before or process.poll() is not None,
        what="points are deleted",
        pause_s=0.005,
    )
    process.kill()
    return process.wait() != 0


def collected_on_a_terminal(uri: str) -> tuple[int, str]:
    """The exit code of a collection, and its output on a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.commands.cli", "gc", uri, "--keep-artifacts"],
        env=base_environment(),
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    with suppress(OSError):  # the end of a terminal is an error
        while data := os.read(leader, 4096):
            shown += data
    os.close(leader)
    return process.wait(LIMIT_S), shown.decode()


def test_a_killed_collection_is_continued_by_the_next(
    uri: str, database: str, tmp_path: Path
) -> None:
    """Clients that log meanwhile get no error and lose nothing."""
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        kept, gone = wire.new_run(), wire.new_run()
        wire.made("runs/log-batch", {"run_id": gone, "params": [{"key": "p", "value": "1"}]})
        series = SERIES[database].format(POINTS)
        run_sql(
            uri,
            "INSERT INTO metrics (key, value, timestamp, step, run_uuid, is_nan)"
            f" SELECT 'm', n, n, n, '{gone}', false FROM {series} AS s",
            "INSERT INTO latest_metrics (key, value, timestamp, step, run_uuid, is_nan)"
            f" VALUES ('m', {POINTS}, {POINTS}, {POINTS}, '{gone}', false)",
        )
        wire.made("runs/delete", {"run_id": gone})
        writers = start(2, server.url, kept)
        try:
            killed = sum(killed_half_way(uri, gone) for _ in range(KILLS))
            left = points_of(uri, gone)
            doctor = command("doctor", uri)
            code, shown = collected_on_a_terminal(uri)
        finally:
            for writer in writers:
                writer.stop()
        assert killed, "it was over before it could be killed"
        assert 0 < left < POINTS
        assert doctor.returncode == 0, doctor.stdout
        assert (code, "Removed 1 run," in shown) == (0, True), shown
        assert "[------" in shown, "no bar"
        for table in ("runs", "metrics", "latest_metrics", "params", "tags"):
            assert rows(uri, f"SELECT 1 FROM {table} WHERE run_uuid = '{gone}'") == []
        for writer in writers:
            assert set(writer.answers) == {"200"}
    check_acknowledged(uri, kept, writers)
    if database == "sqlite":
        assert rows(uri, "PRAGMA foreign_key_check") == []
        assert rows(uri, "PRAGMA integrity_check") == [("ok",)]
