"""Memory, descriptors and connections of a server that is at work for long stay what they were."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.faults.crowd import crowd, get
from tests.faults.load import API, Once
from tests.faults.stored import check_latest, rows
from tests.faults.test_killed import database_uri
from tests.faults.test_overload import batches, searches
from tests.faults.test_slow_clients import resident_bytes
from tests.fix_server import headrace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fix_server import Server

CLIENTS = 24
RUNS = 50
GROWTH = 1.05  # at most, after warm-up, in a quarter of an hour
SHORT_GROWTH = 1.25  # in seconds, when caches are still being filled
SOAK = [pytest.mark.soak, pytest.mark.timeout(1800)]
CASES = [
    pytest.param(2.0, 4.0, SHORT_GROWTH, id="short"),
    pytest.param(120.0, 780.0, GROWTH, id="quarter of an hour", marks=SOAK),
]


def descriptors(pid: int) -> int:
    """Open files and sockets of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def work(run_ids: list[str]) -> Callable[[int, int], bytes]:
    """What a server is asked in a day: batches, histories, runs, searches, wrong requests."""
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
        return log(
            client, turn % 1000
        )  # the same points again: the database does not grow for ever

    return make


def database_connections(uri: str) -> int:
    """Connections of the server to its database; 0 for a file."""
    if uri.startswith("sqlite"):
        return 0
    statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headrace'"
    (name,) = rows(uri, f"{statement} AND datname = '{urlsplit(uri).path[1:]}'")
    return int(name[0])


@pytest.mark.parametrize(("warm_up_s", "load_s", "growth"), CASES)
def test_a_server_at_work_does_not_grow(
    warm_up_s: float,
    load_s: float,
    growth: float,
    database: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Mixed load from many clients; connections come and go."""
    uri = database_uri(database, request, tmp_path)
    with headrace(uri, tmp_path) as server:
        with Once(server.url) as wire:
            run_ids = [wire.new_run(name=f"run-{n}") for n in range(RUNS)]
        make = work(run_ids)
        at_work(server, make, warm_up_s)
        before = figures(server, uri)
        samples = [before[0]]
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(0.5):
                samples.append(resident_bytes(server.process.pid))

        sampler = threading.Thread(target=sample)
        sampler.start()
        at_work(server, make, load_s)
        ended.set()
        sampler.join()
        after = figures(server, uri)
        assert after[1:] == before[1:], "descriptors, database connections"
        last = median(samples[-max(5, len(samples) // 20) :])
        assert last <= growth * before[0], f"{before[0] >> 20} MB, then {last / 2**20:.0f} MB"
        check_latest(uri)
    with capsys.disabled():
        print(f"\n{database}: {before[0] / 2**20:.1f} MiB, then {last / 2**20:.1f} MiB")  # noqa: T201 what the long run is for


def at_work(server: Server, make: Callable[[int, int], bytes], seconds: float) -> None:
    """Load in pieces, each with connections of its own."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        seen = crowd(server.url, CLIENTS, min(left, 2.0), make)
        assert not seen.broken
        assert set(seen.times) <= {200, 503}


def figures(server: Server, uri: str) -> tuple[int, int, int]:
    """Resident bytes, descriptors and database connections, once idle clients are gone."""
    before = -1
    while (now := descriptors(server.process.pid)) != before:
        before = now
        time.sleep(0.5)
    return resident_bytes(server.process.pid), now, database_connections(uri)
