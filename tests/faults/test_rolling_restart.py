"""Two servers behind one address, restarted in turn under load: a training gets no error."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.faults.balancer import Balancer
from tests.faults.load import Once, Writer, eventually, start
from tests.faults.stored import check_acknowledged
from tests.faults.training import training
from tests.fix_server import free_port, headrace

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 6
DRAINED_WITHIN_S = 30
SOAK = [pytest.mark.soak, pytest.mark.timeout(1200)]


def wait_for_more(writers: list[Writer]) -> None:
    """Wait until each writer gets one more acknowledgement."""
    before = [len(writer.batches) for writer in writers]
    eventually(lambda: all(len(w.batches) > n for w, n in zip(writers, before, strict=True)), 30)


@pytest.mark.parametrize("turns", [1, pytest.param(40, marks=SOAK)])
def test_servers_are_restarted_in_turn(turns: int, postgres_uri: str, tmp_path: Path) -> None:
    """Each ends with exit code 0 after SIGTERM and is replaced on the same port; the stock client raises nothing."""
    ports = [free_port(), free_port()]
    with ExitStack() as servers, Balancer(ports) as front:
        both = [
            servers.enter_context(headrace(postgres_uri, tmp_path, port=port)) for port in ports
        ]
        with training(front.url, postgres_uri, tmp_path) as trained:
            with Once(front.url) as wire:
                run_id = wire.new_run()
            writers = start(CLIENTS, front.url, run_id)
            trained.wait_until_it_logs()
            for turn in range(2 * turns):
                old, port = both[turn % 2], ports[turn % 2]
                old.process.send_signal(signal.SIGTERM)
                assert old.process.wait(DRAINED_WITHIN_S) == 0, old.log()
                both[turn % 2] = servers.enter_context(headrace(postgres_uri, tmp_path, port=port))
                wait_for_more(writers)
            for writer in writers:
                writer.stop()
            trained.finish()
        # A client without retries may connect while the port is closed.
        assert set().union(*(w.answers for w in writers)) <= {"200", "gone"}
        check_acknowledged(postgres_uri, run_id, writers)
