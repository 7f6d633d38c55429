"""More requests than the server can handle: some are answered, the others get 429 immediately."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.faults.crowd import Seen, crowd, get, post
from tests.faults.load import API, Once, eventually, point
from tests.faults.stored import check_latest, rows
from tests.fix_server import headrace
from tests.processes import resident_bytes

from headrace.contract.errors import overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fix_server import Server

CLIENTS = 300
SECONDS = 2.0
GROWTH_BYTES = 200 << 20  # of the process under any of these loads
AT_ONCE_S = 1.0  # also on a busy machine; requests that wait for the load to end take seconds
RUNS = 100
REFUSED = overloaded("").status


def impatient(headers: dict[str, str]) -> float:
    """A client that waits less than Retry-After, so that the load does not end."""
    assert 1 <= int(headers["retry-after"]) <= 10
    return 0.3


def batches(run_ids: list[str]) -> Callable[[int, int], bytes]:
    """Every client logs to one of the runs."""

    def make(client: int, turn: int) -> bytes:
        metrics = [point(f"client-{client}", turn, turn), point("shared", client, turn)]
        return post(
            "runs/log-batch", {"run_id": run_ids[client % len(run_ids)], "metrics": metrics}
        )

    return make


def searches(client: int, turn: int) -> bytes:
    """Every client sends different searches."""
    wanted = f"metrics.m > {client / 1000} and params.p != '{turn}'"
    body = {"experiment_ids": ["0"], "filter": wanted, "order_by": ["metrics.m DESC"]}
    return post("runs/search", body)


def mixture(run_ids: list[str]) -> Callable[[int, int], bytes]:
    """Half of the clients log, the others look at their runs or search."""
    log = batches(run_ids)

    def make(client: int, turn: int) -> bytes:
        if client % 2:
            return log(client, turn)
        if client % 4:
            return searches(client, turn)
        return get(f"{API}runs/get?run_id={run_ids[client % len(run_ids)]}")

    return make


def fill(server: Server, runs: int = RUNS) -> list[str]:
    """Runs to log to and to search."""
    with Once(server.url) as wire:
        run_ids = [wire.new_run(name=f"run-{n}") for n in range(runs)]
        for number, run_id in enumerate(run_ids):
            fields = {"metrics": [point("m", number, 1)], "params": [{"key": "p", "value": "v"}]}
            wire.made("runs/log-batch", {"run_id": run_id, **fields})
    return run_ids


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Stop the process during the block, so that it finds the requests of all clients at once.

    Without this a server that is faster than the clients would never have more than a few requests at a time.
    """
    pid = server.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def overload(server: Server, make: Callable[[int, int], bytes]) -> Seen:
    """Apply an overload for some seconds and check everything that does not depend on the kind of requests."""
    before = resident_bytes(server.process.pid)
    seen = crowd(server.url, CLIENTS, SECONDS, make, impatient, stopped(server))
    assert not seen.broken
    assert set(seen.times) == {200, 429}, {status: len(t) for status, t in seen.times.items()}
    assert seen.quantile(429, 0.5) < AT_ONCE_S
    assert resident_bytes(server.process.pid) - before < GROWTH_BYTES
    with Once(server.url) as wire:
        eventually(lambda: wire.post("runs/search", {"experiment_ids": ["0"]}).status == 200, 10)
        assert wire.ask("GET", "/readyz").status == 200
    assert "Traceback" not in server.log()
    return seen


def test_beyond_what_may_be_in_flight_the_answer_is_429(uri: str, tmp_path: Path) -> None:
    """Requests with answer 200 are stored, those with 429 are not."""
    with headrace(uri, tmp_path, "--max-requests-in-flight", "16") as server:
        run_ids = fill(server)
        seen = overload(server, batches(run_ids))
        stored = rows(uri, "SELECT count(*) FROM metrics WHERE key LIKE 'client-%'")
        assert stored == [(seen.count(200),)]
        check_latest(uri)
        overload(server, mixture(run_ids))


def test_reads_have_their_own_limit(uri: str, tmp_path: Path) -> None:
    """There are more searches than may wait for the database; concurrent writes are not refused."""
    with headrace(uri, tmp_path) as server:
        run_ids = fill(server)
        log = batches(run_ids)

        def make(client: int, turn: int) -> bytes:
            return searches(client, turn) if client else log(client, turn)

        seen = overload(server, make)
        assert seen.count(200) > 0
        with Once(server.url) as wire:
            refused = (wire.post("runs/log-batch", {"run_id": run_ids[0]}) for _ in range(20))
            assert {answer.status for answer in refused} == {200}
