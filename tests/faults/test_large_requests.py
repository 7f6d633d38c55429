"""No request blocks the event loop: every native route gets its largest valid and invalid bodies.

A probe asks /livez meanwhile. The test measures the CPU time of the loop's thread while a probe waits, so the
measure does not depend on the load of the machine. The budget is the CPU time that this Python takes to read some
megabytes of JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from time import sleep, thread_time_ns
from typing import TYPE_CHECKING

import pytest
from tests.faults import extremes
from tests.faults.fuzzed import ENVIRONMENT, OPTIONS, is_meant, populate
from tests.faults.load import GONE, JSON, Once
from tests.fix_server import Server, headrace

from headrace.api.routes import ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.api.route import Route

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads a thread's CPU time from /proc"),
    pytest.mark.timeout(300),
]
BUDGET_YARDSTICKS = 1.0
# The tests themselves use these routes.
SELF = ("/livez", "/metrics")


def yardstick_ns() -> int:
    """The CPU time of reading ten megabytes of JSON: about 100 ms on an idle machine."""
    text = "[" + ",".join(['{"key":"a","value":0.5,"step":1}'] * 300_000) + "]"
    found = []
    for _ in range(3):
        began = thread_time_ns()
        json.loads(text)
        found.append(thread_time_ns() - began)
    return min(found)


class Probe(threading.Thread):
    """Asks /livez until `stop`; `worst_ns` is the largest CPU time of the loop during one request."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._url = server.url
        pid = server.process.pid
        self._clock = Path(f"/proc/{pid}/task/{pid}/schedstat")
        self._stopped = threading.Event()
        self.worst_ns = 0
        self.answers = 0

    def _spent_ns(self) -> int:
        return int(self._clock.read_text().split()[0])

    def run(self) -> None:
        with Once(self._url) as wire:
            while not self._stopped.is_set():
                before = self._spent_ns()
                assert wire.ask("GET", "/livez").status == 200
                self.worst_ns = max(self.worst_ns, self._spent_ns() - before)
                self.answers += 1
                sleep(0.002)

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        assert self.answers, "it was never answered"


class Target:
    """A populated server, and the CPU time that no request may take without a pause."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.known = populate(server.url)
        self.budget_ns = int(BUDGET_YARDSTICKS * yardstick_ns())

    def send(self, method: str, path: str, body: bytes | None, what: str) -> str | None:
        """Send a request; a description of the fault, if there is one.

        Other programs make the same work take more CPU time. So a request that seems too expensive is sent
        once more, beside a new yardstick.
        """
        fault = self.send_once(method, path, body, what, self.budget_ns)
        if fault is None or " ms, " not in fault:
            return fault
        budget_ns = max(self.budget_ns, int(BUDGET_YARDSTICKS * yardstick_ns()))
        return self.send_once(method, path, body, what, budget_ns)

    def send_once(
        self, method: str, path: str, body: bytes | None, what: str, budget_ns: int
    ) -> str | None:
        """As `send`, without the second attempt."""
        probe = Probe(self.server)
        probe.start()
        status, text = 0, b""
        try:
            with Once(self.server.url) as wire:
                answer = wire.ask(method, path, body, headers=JSON if body is not None else {})
                status, text = answer.status, answer.body
        except GONE:
            pass  # the server refused it because of its size and closed
        finally:
            probe.stop()
        assert self.server.process.poll() is None, f"{what} ended the server"
        if status >= 500 and not is_meant(status, text):
            return f"{what}: {status} {text[:300]!r}"
        if probe.worst_ns > budget_ns:
            return f"{what}: {probe.worst_ns / 1e6:.0f} of {budget_ns / 1e6:.0f} ms, {status}"
        return None


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    directory = tmp_path_factory.mktemp("large")
    uri = f"sqlite:///{directory}/mlflow.db"
    with headrace(uri, directory, *OPTIONS, environment=ENVIRONMENT) as server:
        yield Target(server)


def route_name(route: Route) -> str:
    return f"{route.method} {route.path}"


WITH_BODIES = [r for r in ROUTES if r.method in ("POST", "PUT", "PATCH", "DELETE")]
WITH_QUERIES = [r for r in ROUTES if r.method == "GET" and r.path not in SELF]


@pytest.mark.parametrize("route", WITH_BODIES, ids=route_name)
def test_no_body_blocks_the_event_loop(target: Target, route: Route) -> None:
    path = extremes.path_of(route, target.known)
    wrong = []
    for what, body in extremes.bodies(route, target.known):
        wrong.append(target.send(route.method, path, body, what))
    for what, request in extremes.filters(route, target.known):
        wrong.append(target.send(route.method, path, extremes.encoded(request), what))
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.parametrize(
    "path", ["/api/2.0/mlflow/runs/log-batch", "/api/2.0/mlflow/runs/search", "/graphql"]
)
def test_no_malformed_body_blocks_the_event_loop(target: Target, path: str) -> None:
    wrong = [target.send("POST", path, body, what) for what, body in extremes.garbage()]
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.parametrize("route", WITH_QUERIES, ids=route_name)
def test_no_query_blocks_the_event_loop(target: Target, route: Route) -> None:
    wrong = []
    path = extremes.path_of(route, target.known)
    for what, query in extremes.queries(route, target.known):
        wrong.append(target.send("GET", f"{path}?{query}", None, what))
    for what, text in (("long", "x" * 40_000), ("nul", "%00"), ("deep", "a/" * 20_000)):
        long = extremes.path_of(route, {}, lambda _, text=text: text)  # type: ignore[misc]
        wrong.append(target.send("GET", long, None, f"a {what} path"))
    assert not any(wrong), "\n".join(filter(None, wrong))


def test_a_small_request_is_within_the_budget(target: Target) -> None:
    """And a blocked loop is noticed: the probe measures the CPU time of other requests."""
    assert target.send("GET", "/health", None, "a probe") is None
    body = extremes.encoded({"experiment_ids": ["0"] * 40_000})
    assert target.send_once("POST", "/api/2.0/mlflow/runs/search", body, "a search", budget_ns=1)
