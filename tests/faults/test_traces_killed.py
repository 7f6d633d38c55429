"""SIGKILL at random moments while clients send traces: every acknowledged write is stored once and completely."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from tests.faults.load import Once
from tests.faults.trace_load import TraceWriter, check, start, summary
from tests.fix_server import free_port, headrace

if TYPE_CHECKING:
    from pathlib import Path

SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
KILLS = [pytest.param(8, marks=pytest.mark.timeout(600)), pytest.param(200, marks=SOAK)]
CLIENTS = 6
SHARED = 24  # traces to which all clients add spans, tags and assessments
LONGEST_LIFE_S = 0.4  # under load, from the first answer on


@pytest.mark.parametrize("kills", KILLS)
def test_acknowledged_traces_survive_sigkill(
    kills: int,
    database: str,
    uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The server is killed repeatedly; the database is checked at the end, also by stock MLflow."""
    dice = random.Random(20)
    port = free_port()
    run_id = ""
    shared: list[str] = []
    writers: list[TraceWriter] = []
    for _ in range(kills):
        with headrace(uri, tmp_path, port=port) as server:
            if not run_id:
                with Once(server.url) as wire:
                    run_id = wire.new_run()
                shared, writers = start(CLIENTS, server.url, SHARED, run_id)
            time.sleep(dice.uniform(0.1, LONGEST_LIFE_S))
            server.kill()
    for writer in writers:
        writer.stop()
    assert all(writer.answers["gone"] for writer in writers), "nobody was cut off"
    assert set().union(*(w.answers for w in writers)) == {"200", "gone"}
    with headrace(uri, tmp_path, port=port):
        check(uri, shared, run_id, writers)
    with capsys.disabled():
        print(f"\n{kills} kills of headrace on {database}: {summary(writers)}")  # noqa: T201 what the long run is for
