"""SIGKILL at random moments under load: every acknowledged write is stored once and completely."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from tests.faults.load import Once, Writer, start, summary
from tests.faults.stored import check_acknowledged, check_stock_sees_all
from tests.fix_server import free_port, headrace

if TYPE_CHECKING:
    from pathlib import Path

SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]  # some two hundred starts of real servers
KILLS = [pytest.param(20, marks=pytest.mark.timeout(600)), pytest.param(200, marks=SOAK)]
CLIENTS = 6
LONGEST_LIFE_S = 0.4  # under load, from the first answer on


@pytest.mark.parametrize("kills", KILLS)
def test_acknowledged_writes_survive_sigkill(
    kills: int,
    database: str,
    uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The server is killed repeatedly while clients write; the database is checked at the end, also by stock MLflow."""
    dice = random.Random(20)
    port = free_port()
    run_id = ""
    writers: list[Writer] = []
    for _ in range(kills):
        with headrace(uri, tmp_path, port=port) as server:
            if not run_id:
                with Once(server.url) as wire:
                    run_id = wire.new_run()
                writers = start(CLIENTS, server.url, run_id)
            time.sleep(dice.uniform(0, LONGEST_LIFE_S))
            server.kill()
    for writer in writers:
        writer.stop()
    assert all(writer.answers.get("gone") for writer in writers), "nobody was cut off"
    assert set().union(*(w.answers for w in writers)) == {"200", "gone"}
    with headrace(uri, tmp_path, port=port) as server, Once(server.url) as wire:
        check_acknowledged(uri, run_id, writers)
        wire.made("runs/log-batch", {"run_id": run_id, "tags": [{"key": "last", "value": "1"}]})
    check_stock_sees_all(uri, run_id)
    with capsys.disabled():
        print(f"\n{kills} kills of headrace on {database}: {summary(writers)}")  # noqa: T201 what the long run is for
