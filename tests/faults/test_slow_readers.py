"""Clients that read a long answer slowly hold no connection, no transaction and no snapshot of the database."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.fill import fill
from tests.processes import peak_bytes, reset_peak
from tests.waiting import eventually
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_api import Api

KEY = "k" * 240
POINTS = 40_000  # of 300 bytes: more than the kernel buffers for a client that does not read
SLOW = 6
TIMEOUT_S = 60
IN_TRANSACTION = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
)


def slow_reader(api: Api, target: str) -> socket.socket:
    """A client that has sent a request and read the first bytes of the answer."""
    parts = urlsplit(api.server.url)
    sock = socket.socket()
    sock.settimeout(TIMEOUT_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((parts.hostname, parts.port))
    sock.sendall(f"GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    assert sock.recv(100).startswith(b"HTTP/1.1 200")
    return sock


def rest_of(sock: socket.socket) -> bytes:
    """The bytes that the client has not read yet."""
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def points_of(chunked: bytes) -> list[int]:
    """The steps in a chunked answer whose head was read in part."""
    _, _, body = chunked.partition(b"\r\n\r\n")
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return [point["step"] for point in json.loads(whole)["metrics"]]


@pytest.fixture
def history(api: Api) -> str:
    """The target of a long history with even steps, so that other points fit in between."""
    run = api.run().id
    rows = [(run, KEY, n, 2 * n, 2 * n, False) for n in range(POINTS)]
    fill(api.uri, "metrics", "run_uuid, key, value, timestamp, step, is_nan", rows)
    return f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key={KEY}"


@pytest.fixture
def slow(api: Api, history: str) -> Iterator[list[socket.socket]]:
    """More slow readers of the history than the server has database connections."""
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(slow_reader(api, history))) for _ in range(SLOW)]
        yield readers


def test_slow_readers_do_not_delay_other_histories(api: Api, slow: list[socket.socket]) -> None:
    run = api.run()
    for step in range(3):
        api.ok("runs/log-metric", run_id=run.id, key="m", value=step, timestamp=step, step=step)
        assert len(api.history(run.id, "m")) == step + 1


def transactions(api: Api) -> int:
    """The number of sessions in a transaction; on SQLite 1 if a snapshot prevents a checkpoint."""
    if api.uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(api.uri).path[1:], timeout=30)) as file:
            busy, logged, checkpointed = file.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        return int(busy or logged != checkpointed)
    with psycopg.connect(api.uri) as connection:
        row = connection.execute(IN_TRANSACTION).fetchone()
        assert row is not None
        return int(row[0])


def test_slow_readers_hold_no_transaction(api: Api, slow: list[socket.socket]) -> None:
    """As soon as the kernel's buffers are full. The write creates a log that a snapshot would keep."""
    api.experiment()
    eventually(lambda: not transactions(api), what="no transaction is open")


def test_a_slow_history_has_every_earlier_point_once_while_others_are_logged(
    api: Api, history: str, slow: list[socket.socket]
) -> None:
    run = history.partition("run_id=")[2].partition("&")[0]
    for start in range(0, 2 * POINTS, 12_000):
        more = [
            {"key": KEY, "value": 1.0, "timestamp": step, "step": step}
            for step in range(start + 1, start + 201, 2)
        ]
        api.ok("runs/log-batch", run_id=run, metrics=more)
    found = points_of(rest_of(slow[0]))
    assert [step for step in found if step % 2 == 0] == [2 * n for n in range(POINTS)]
    assert found == sorted(set(found))


def ask(api: Api, body: dict[str, Any]) -> int:
    """The bytes of an answer to a search, which must be 200."""
    with closing(Wire(api.server.url)._connection) as connection:
        target = "/api/2.0/mlflow/runs/search"
        connection.request("POST", target, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200
        size = 0
        while part := response.read(1 << 16):
            size += len(part)
        return size


def test_a_search_of_large_runs_takes_little_memory(api: Api) -> None:
    """For few and many runs, with short and long values."""
    experiment = api.experiment().id
    ids = [f"{int(experiment):08x}{n:024x}" for n in range(200)]
    columns = "run_uuid, experiment_id, status, start_time, artifact_uri, lifecycle_stage"
    row = (int(experiment), "RUNNING", 1, "a", "active")
    fill(api.uri, "runs", columns, [(run, *row) for run in ids])
    tags = [(run, f"t{n}", "x" * 5000) for run in ids for n in range(40)]
    fill(api.uri, "tags", "run_uuid, key, value", tags)
    pid = api.server.process.pid
    for runs in (100, 200):
        body = {"experiment_ids": [experiment], "max_results": runs}
        idle = reset_peak(pid)
        size = ask(api, body)
        assert size > runs * 40 * 5000
        assert peak_bytes(pid) - idle < size
