"""A SQLite file that another program holds, or that may not be written: reads continue, writes get 429."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.faults.load import API, Once, eventually, point, start
from tests.faults.stored import check_acknowledged, rows
from tests.fix_server import Server, base_environment, free_port, headrace, running

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 5
REFUSED_WITHIN_S = 40
AS_ROOT = sys.platform == "linux" and os.geteuid() == 0


def test_another_program_holds_the_file_for_long(tmp_path: Path) -> None:
    """Every write that waits for it is refused in time, reads are answered, and what was acknowledged is there."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            writers = start(CLIENTS, server.url, run_id)

            def are_refused() -> bool:
                assert wire.ask("GET", f"{API}runs/get?run_id={run_id}").status == 200
                return all(writer.refusals for writer in writers)

            eventually(are_refused, REFUSED_WITHIN_S)
            other.execute("ROLLBACK")
        eventually(lambda: all(writer.batches for writer in writers), REFUSED_WITHIN_S)
        for writer in writers:
            writer.stop()
        refusals = [answer for writer in writers for answer in writer.refusals]
        assert {answer.status for answer in refusals} == {429}
        assert all(answer.headers["retry-after"].isdigit() for answer in refusals)
        check_acknowledged(uri, run_id, writers)


@pytest.mark.skipif(AS_ROOT and not shutil.which("setpriv"), reason="root may write everywhere")
def test_the_log_of_a_crash_is_kept_where_nothing_may_be_written(tmp_path: Path) -> None:
    """A server on a directory that is read-only acknowledges nothing; the contents of the log are read later."""
    directory = tmp_path / "data"
    directory.mkdir()
    path = directory / "mlflow.db"
    uri = f"sqlite:///{path}"
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        wire.made("runs/log-batch", {"run_id": run_id, "metrics": [point("a", 1, 1)]})
        server.kill()
    assert path.with_name("mlflow.db-wal").stat().st_size
    path.chmod(0o444)
    directory.chmod(0o555)
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--securebits=+noroot"]
    port = free_port()
    argv = [sys.executable, "-m", "headrace.commands.cli", "server", "--backend-store-uri", uri]
    argv = [*(drop if AS_ROOT else []), *argv, "--port", str(port)]
    try:
        with (
            running(Server("headrace", argv, tmp_path, base_environment(), port)) as server,
            Once(server.url) as wire,
        ):
            assert wire.post("runs/create", {"experiment_id": "0"}).status == 429
            assert wire.ask("GET", f"{API}runs/get?run_id={run_id}").status == 200
    finally:
        directory.chmod(0o755)
        path.chmod(0o644)
    assert rows(uri, "SELECT count(*) FROM runs") == [(1,)]
    assert rows(uri, "SELECT count(*) FROM metrics") == [(1,)]
    assert rows(uri, "PRAGMA integrity_check") == [("ok",)]
