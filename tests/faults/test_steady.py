"""Memory, descriptors and connections of a server under long load stay constant."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.faults.crowd import crowd, get
from tests.faults.leavers import FILE_BYTES, Leavers
from tests.faults.load import API, Once
from tests.faults.stored import check_latest, rows
from tests.faults.test_overload import batches, searches
from tests.fix_server import headrace
from tests.processes import descriptors, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.fix_server import Server

CLIENTS = 24
RUNS = 50
GROWTH = 1.05  # at most, after warm-up
SHORT_GROWTH = 1.25  # of the short load, which still fills caches
SAMPLE_EVERY_S = 0.5
# SQLite keeps the descriptor of a connection that was closed while another one had a lock, and uses it for the next.
SPARE_DESCRIPTORS = 8
SPARE_CONNECTIONS = 4  # a pool opens one more when many requests coincide for the first time
LONG_S = float(os.environ.get("SOAK_SECONDS", "3600"))
WARM_UP_S = min(120.0, LONG_S / 2)  # before the long load
SOAK = [pytest.mark.soak, pytest.mark.timeout(LONG_S + 600)]
CASES = [
    pytest.param(2.0, 4.0, SHORT_GROWTH, id="short"),
    pytest.param(WARM_UP_S, LONG_S, GROWTH, id="long", marks=SOAK),
]


def work(run_ids: list[str]) -> Callable[[int, int], bytes]:
    """A typical mixture of requests: batches, histories, runs, searches."""
    log = batches(run_ids)

    def make(client: int, turn: int) -> bytes:
        run_id = run_ids[client % len(run_ids)]
        match turn % 8:
            case 5:
                return searches(client, turn % 100)
            case 6:
                return get(f"{API}runs/get?run_id={run_id}")
            case 7:
                return get(f"{API}metrics/get-history?run_id={run_id}&metric_key=m&max_results=100")
        return log(client, turn % 1000)  # the same points again, so that the database stays small

    return make


def database_connections(uri: str) -> int:
    """Connections of the server to its database; 0 for a file."""
    if uri.startswith("sqlite"):
        return 0
    statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headrace'"
    (name,) = rows(uri, f"{statement} AND datname = '{urlsplit(uri).path[1:]}'")
    return int(name[0])


class Memory:
    """Resident bytes of a server while a block runs, every half second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.samples: list[int] = []

    @contextmanager
    def sampled(self) -> Iterator[None]:
        """Take samples; the first one is there when the block begins."""
        ended = threading.Event()
        self.samples.append(resident_bytes(self._pid))

        def sample() -> None:
            while not ended.wait(SAMPLE_EVERY_S):
                self.samples.append(resident_bytes(self._pid))

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            yield
        finally:
            ended.set()
            sampler.join()

    def level(self, begin: float, end: float) -> float:
        """The median between two shares of the time, in bytes."""
        count = len(self.samples)
        return median(self.samples[int(begin * count) : int(end * count)])

    def note(self, database: str, left: int) -> None:
        """Write the samples into the directory that ENDURANCE names, for tests/faults/memory_curve.py."""
        if directory := os.environ.get("ENDURANCE"):
            found = {
                "database": database,
                "clients": CLIENTS,
                "left": left,
                "every_s": SAMPLE_EVERY_S,
                "kib": [sample >> 10 for sample in self.samples],
            }
            path = Path(directory) / f"memory-{database}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found) + "\n")


@pytest.mark.parametrize(("warm_up_s", "load_s", "growth"), CASES)
def test_a_server_at_work_does_not_grow(
    warm_up_s: float,
    load_s: float,
    growth: float,
    database: str,
    uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Mixed load from many clients; connections are opened and closed, and some clients disconnect early."""
    with headrace(uri, tmp_path) as server:
        with Once(server.url) as wire:
            run_ids = [wire.new_run(name=f"run-{n}") for n in range(RUNS)]
        make = work(run_ids)
        memory = Memory(server.process.pid)
        with Leavers(server.url, run_ids):
            at_work(server, make, warm_up_s)
        before = figures(server, uri)
        with Leavers(server.url, run_ids) as leavers, memory.sampled():
            at_work(server, make, load_s)
        memory.note(database, sum(leavers.left.values()))
        after = figures(server, uri)
        assert after[1] <= before[1] + SPARE_DESCRIPTORS, (
            f"{before[1]} descriptors, then {after[1]}"
        )
        assert after[2] <= before[2] + SPARE_CONNECTIONS, "database connections"
        # On a busy machine caches take many minutes to fill, so the first quarter does not count.
        first, last = memory.level(0.25, 0.5), memory.level(0.75, 1)
        assert last <= growth * first, f"{first / 2**20:.1f} MiB, then {last / 2**20:.1f} MiB"
        check_latest(uri)
        kept = [
            path.stat().st_size for path in tmp_path.rglob("mlartifacts/**/*") if path.is_file()
        ]
        assert kept == [FILE_BYTES], "a file of which not all came"
    with capsys.disabled():
        print(f"\n{database}: {first / 2**20:.1f} MiB, then {last / 2**20:.1f} MiB")  # noqa: T201 what the long run is for


def at_work(server: Server, make: Callable[[int, int], bytes], seconds: float) -> None:
    """Load in pieces, each with connections of its own."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        seen = crowd(server.url, CLIENTS, min(left, 2.0), make)
        assert not seen.broken
        assert set(seen.times) <= {200, 429}


def figures(server: Server, uri: str) -> tuple[int, int, int]:
    """Resident bytes, descriptors and database connections, once idle clients are gone."""
    before = -1
    while (now := descriptors(server.process.pid)) != before:
        before = now
        time.sleep(0.5)
    return resident_bytes(server.process.pid), now, database_connections(uri)
