"""Clients that disconnect early: the server cancels their reads, finishes their writes, and keeps nothing."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.faults.crowd import get, post
from tests.faults.load import API, Once, eventually, point
from tests.faults.stored import rows
from tests.fix_server import headrace
from tests.prometheus import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_server import Server

ROUNDS = 60


def leave(server: Server, sent: bytes) -> None:
    """Send a request and reset the connection at once."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.sendall(sent)


def test_disconnected_clients_hold_no_database_connection(uri: str, tmp_path: Path) -> None:
    """All database connections are free afterwards, and shared reads continue for the other clients."""
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        wire.made("runs/log-batch", {"run_id": run_id, "metrics": [point("m", 1, 1)] * 500})
        for number in range(ROUNDS):
            same = {"experiment_ids": ["0"], "filter": "metrics.m > 0"}
            leave(server, post("runs/search", same))
            leave(server, post("runs/search", same | {"filter": f"metrics.m > {number}"}))
            leave(server, get(f"{API}runs/get?run_id={run_id}"))
            leave(server, get(f"{API}metrics/get-history?run_id={run_id}&metric_key=m"))
            if number % 10 == 0:
                assert wire.made("runs/search", same)["runs"]

        def idle() -> bool:
            # The request for /metrics is in flight itself.
            busy = {
                name: value
                for (name, _), value in samples(wire).items()
                if "in_use" in name or "requests_in_flight" in name
            }
            return all(value <= 1 for value in busy.values())

        eventually(idle, 20)
        for number in range(30):
            wire.made("runs/search", {"experiment_ids": ["0"], "filter": f"metrics.m > -{number}"})
        assert "Traceback" not in server.log()


def test_a_write_is_finished_when_its_client_disconnects(uri: str, tmp_path: Path) -> None:
    """A request that arrived completely is committed completely."""
    with headrace(uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        parts = urlsplit(server.url)
        for number in range(ROUNDS):
            sent = post("runs/log-parameter", {"run_id": run_id, "key": f"{number}", "value": "v"})
            with socket.create_connection((parts.hostname or "", parts.port or 0)) as raw:
                raw.sendall(sent)  # and closed without a look at the answer
        stored = "SELECT count(*) FROM params"
        eventually(lambda: rows(uri, stored) == [(ROUNDS,)], 20)
        assert "Traceback" not in server.log()
