"""Expensive OTLP requests are stored or refused: no 5xx, bounded memory, and other requests are answered meanwhile.

A probe asks /livez. The test measures the CPU time of the whole process while a probe waits: a thread that keeps
others from running, as one long call in C does, counts like a blocked event loop. The measure does not depend on the
load of the machine.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.faults.load import GONE, Once
from tests.faults.otlp_bombs import bombs
from tests.faults.test_large_requests import Probe, yardstick_ns
from tests.fix_database import empty_database
from tests.fix_server import Server, headrace
from tests.processes import peak_bytes, reset_peak

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.otlp_bombs import Bomb

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads CPU time from /proc"),
    pytest.mark.timeout(300),
]
# A probe takes turns with the threads, each of which may first finish one call in C.
BUDGET_YARDSTICKS = 2.5
MAX_GROWTH_BYTES = 300 << 20  # of one process over what it has before, for two spans of 16 MiB
INFORMATION = "/api/3.0/mlflow/traces/tr-{}"
WITH_SPANS = (
    "/api/3.0/mlflow/traces/get?trace_id=tr-{}",
    "/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-{}",
)


class WholeProcess(Probe):
    """Measures all threads of the server."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._tasks = Path(f"/proc/{server.process.pid}/task")

    def _spent_ns(self) -> int:
        return sum(
            int((task / "schedstat").read_text().split()[0]) for task in self._tasks.iterdir()
        )


@dataclass(frozen=True)
class Limits:
    """Limits of a request: CPU time while another one waits, and memory of the process."""

    cpu_ns: int
    bytes: int


@pytest.fixture(scope="module")
def server(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """headrace on each database."""
    directory = tmp_path_factory.mktemp("bombs")
    with (
        empty_database(database, request, directory) as uri,
        headrace(uri, directory) as running,
    ):
        yield running


def test_expensive_requests_are_stored_or_refused(server: Server, database: str) -> None:
    """Also the traces that they make can be read."""
    idle = reset_peak(server.process.pid)
    limits = Limits(int(BUDGET_YARDSTICKS * yardstick_ns()), idle + MAX_GROWTH_BYTES)
    wrong: list[str] = []
    for number, bomb in enumerate(bombs()):
        headers = bomb.headers | {"x-mlflow-experiment-id": "0"}
        wrong += send(server, limits, "POST", "/v1/traces", bomb, bomb.body, headers)
        # Both databases give the same rows to the same code: PostgreSQL's are read by one route each.
        long = WITH_SPANS if database == "sqlite" else (WITH_SPANS[number % 2],)
        for path in (*long, INFORMATION) if bomb.trace else ():
            wrong += send(server, limits, "GET", path.format(bomb.trace), bomb)
    assert not wrong, "\n".join(wrong)


def send(
    server: Server,
    limits: Limits,
    method: str,
    path: str,
    bomb: Bomb,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> list[str]:
    """Send a request; descriptions of faults."""
    reset_peak(server.process.pid)
    probe = WholeProcess(server)
    probe.start()
    status = 0
    try:
        with Once(server.url) as wire:
            status = wire.ask(method, path, body, headers=headers).status
    except GONE:
        pass  # refused because of its size, before its end
    finally:
        probe.stop()
    assert server.process.poll() is None, f"{bomb.name} ended the server"
    what = f"{bomb.name}, {method} {path}: {status}"
    wrong: list[str] = []
    if status not in ((0, 200, 400, 413, 422) if body else (200, 404)):
        wrong.append(what)
    if probe.worst_ns > limits.cpu_ns:
        wrong.append(f"{what}, {probe.worst_ns / 1e6:.0f} of {limits.cpu_ns / 1e6:.0f} ms")
    if (peak := peak_bytes(server.process.pid)) > limits.bytes:
        wrong.append(f"{what}, {peak >> 20} of {limits.bytes >> 20} MiB")
    return wrong
