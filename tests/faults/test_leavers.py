"""Clients that disconnect at any moment cause no leak of memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from tests.faults.leavers import KINDS, Leavers
from tests.faults.load import Once
from tests.fix_server import headrace
from tests.processes import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

FIRST = 60  # of each kind: buffers and caches reach their size
TIMES = 160
ROUNDS = 3  # a leak grows in each of them, the allocator's reserve does not
GROWTH_BYTES = 10 << 20  # each client involves over 100 kB


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Leavers]]:
    """A server, and clients that will disconnect."""
    directory = tmp_path_factory.mktemp("leavers")
    with headrace(f"sqlite:///{directory}/mlflow.db", directory) as server:
        with Once(server.url) as wire:
            run_ids = [wire.new_run(name=f"run {n}") for n in range(50)]
        yield server, Leavers(server.url, run_ids)


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_disconnect_cause_no_leak(served: tuple[Server, Leavers], kind: str) -> None:
    """Reference cycles would keep memory until the garbage collector runs, once in thousands of connections."""
    server, leavers = served
    asyncio.run(leavers.leave(kind, FIRST))
    grown = GROWTH_BYTES
    for _ in range(ROUNDS):
        before = resident_bytes(server.process.pid)
        asyncio.run(leavers.leave(kind, TIMES))
        time.sleep(0.3)  # so that the server notices the last disconnects
        grown = min(grown, resident_bytes(server.process.pid) - before)
    assert grown < GROWTH_BYTES, f"{grown / 2**20:.1f} MiB by {TIMES} clients"
