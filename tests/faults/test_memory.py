"""Unfinished requests and unread answers stay within one budget of bytes."""

from __future__ import annotations

import json
import socket
from collections import Counter
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.faults.crowd import get, post
from tests.faults.load import API, Once, eventually
from tests.fix_server import headrace
from tests.processes import resident_bytes

from headrace.contract.errors import overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_server import Server

GROWTH_BYTES = 300 << 20
REFUSED = overloaded("").status
PIECE = b"x" * (1 << 16)
UPLOAD = "/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=x"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server on a new SQLite file."""
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as running:
        yield running


def connect(server: Server) -> socket.socket:
    """A connection with a small receive buffer."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(20)
    parts = urlsplit(server.url)
    raw.connect((parts.hostname or "", parts.port or 0))
    return raw


def send(raw: socket.socket, data: bytes, size: int) -> None:
    """Send that many more bytes, as long as the server reads them."""
    with suppress(OSError):
        raw.sendall(data)
        while size > 0:
            size -= raw.send(PIECE[:size])


def first_status(raw: socket.socket) -> int | None:
    """The status of the answer, or None if none has arrived."""
    raw.settimeout(0.01)
    try:
        return int(raw.recv(12).split(b" ")[1])
    except (TimeoutError, ConnectionResetError):
        return None


@pytest.mark.parametrize(
    ("path", "clients", "size"),
    [
        ("/graphql", 20, 30 << 20),
        (UPLOAD, 45, 9_900_000),
        ("/api/2.0/mlflow/runs/log-batch", 20, 30 << 20),
        ("/ajax-api/2.0/mlflow/no-such-route", 20, 30 << 20),
    ],
    ids=["graphql", "upload", "log-batch", "no-route"],
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_unfinished_bodies_stay_within_the_budget(
    server: Server, path: str, clients: int, size: int, framing: str
) -> None:
    """Some are held, the others refused; small requests succeed meanwhile, and all memory is released."""
    with Once(server.url) as wire, ExitStack() as stack:
        target = path.format(run=wire.new_run())
        head = f"POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head += (
            f"content-length: {size + 1}" if framing == "length" else "transfer-encoding: chunked"
        )
        start = f"\r\n\r\n{size + 1:x}\r\n" if framing == "chunked" else "\r\n\r\n"
        before = resident_bytes(server.process.pid)
        raws = [stack.enter_context(connect(server)) for _ in range(clients)]
        for raw in raws:
            send(raw, (head + start).encode(), size)
            assert resident_bytes(server.process.pid) - before < GROWTH_BYTES
            assert wire.ask("GET", "/livez").status == 200
        statuses = [first_status(raw) for raw in raws]
        if path == "/graphql":  # whose own limit is smaller
            assert set(statuses) == {400}
        elif "no-such" not in path:
            assert set(statuses) == {None, REFUSED}
        wire.made("experiments/create", {"name": "beside"})
    with Once(server.url) as wire:
        long = {"name": "after", "tags": [{"key": "k", "value": "v"}], "unknown": "x" * (1 << 20)}
        eventually(lambda: wire.post("experiments/create", long).status == 200, 10)


def test_unread_answers_stay_within_the_budget(server: Server) -> None:
    """Some answers begin, the others are refused; other clients are served after the connections are closed."""
    with Once(server.url) as wire, ExitStack() as stack:
        run_ids = [wire.new_run() for _ in range(12)]
        for run_id in run_ids:
            tags = [{"key": f"{n:0200}", "value": "v" * 5000} for n in range(100)]
            wire.made("runs/log-batch", {"run_id": run_id, "tags": tags})
        search = post("runs/search", {"experiment_ids": ["0"], "max_results": 1000})
        before = resident_bytes(server.process.pid)
        raws = [stack.enter_context(connect(server)) for _ in range(240)]
        statuses: Counter[int] = Counter()
        for raw in raws:
            raw.sendall(search)
            statuses[int(raw.recv(12).split(b" ")[1])] += 1
        assert set(statuses) == {200, REFUSED}
        assert resident_bytes(server.process.pid) - before < GROWTH_BYTES
        wire.made("experiments/create", {"name": "beside"})
    with Once(server.url) as wire:
        eventually(lambda: wire.post("runs/search", {"experiment_ids": ["0"]}).status == 200, 10)


def test_pipelined_requests_are_not_buffered_by_the_thousand(server: Server) -> None:
    """The server reads only the request that it answers; the rest stays in the kernel."""
    with Once(server.url) as wire, ExitStack() as stack:
        run_id = wire.new_run()
        tags = [{"key": f"{n:0200}", "value": "v" * 5000} for n in range(100)]
        wire.made("runs/log-batch", {"run_id": run_id, "tags": tags})
        before = resident_bytes(server.process.pid)
        many = get(f"{API}runs/get?run_id={run_id}") * 2000
        raws = [stack.enter_context(connect(server)) for _ in range(60)]
        for raw in raws:
            raw.setblocking(False)
            with suppress(BlockingIOError):
                raw.send(many)
        for _ in range(20):
            assert wire.ask("GET", "/livez").status == 200
        assert resident_bytes(server.process.pid) - before < 150 << 20
        assert json.loads(wire.ask("GET", f"{API}runs/get?run_id={run_id}").body)["run"]
