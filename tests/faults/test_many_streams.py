"""Files that hundreds of clients send or fetch at once, slowly or without an end, stay within one budget of bytes."""

from __future__ import annotations

import select
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.faults.load import Once, eventually
from tests.faults.test_memory import GROWTH_BYTES, REFUSED, connect
from tests.fix_s3 import BUCKET
from tests.fix_server import headrace
from tests.processes import peak_bytes, reset_peak

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fix_s3 import S3
    from tests.fix_server import Server

pytestmark = pytest.mark.timeout(300)
OBJECTS = "/api/2.0/mlflow-artifacts/artifacts/"
READERS = 400
LEAVERS = 10  # clients that never end their files
PATIENCE_S = 120
QUIET_S = 3  # without any progress: the server takes, or sends, no more for now


@pytest.fixture(params=["disk", "s3"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, s3: S3
) -> Iterator[tuple[Server, Callable[[], int]]]:
    """A server whose artifacts are on this disk, or in a bucket; and how many files there are."""
    options: tuple[str, ...] = ()
    if request.param == "s3":
        options = ("--artifacts-destination", f"s3://{BUCKET}/{tmp_path.name}")

    def stored() -> int:
        if request.param == "s3":
            return len(s3.keys(tmp_path.name)) + len(s3.unfinished_uploads())
        return sum(1 for path in (tmp_path / "mlartifacts").rglob("*") if path.is_file())

    environment = s3.environment
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path, *options, environment=environment) as running:
        with Once(running.url) as wire:  # what is loaded on first use is no growth
            assert wire.ask("PUT", f"{OBJECTS}first", bytes(6 << 20)).status == 200
        yield running, stored


class Clients:
    """Connections that are moved on together, whichever is ready, until none makes progress for a while."""

    def __init__(self, raws: list[socket.socket]) -> None:
        self.raws = raws
        self.statuses: Counter[int] = Counter()
        self._open = {raw.fileno(): raw for raw in raws}
        for raw in raws:
            raw.setblocking(False)

    def _move(
        self,
        events: int,
        step: Callable[[socket.socket, int], int | None],
        quiet_s: float = QUIET_S,
    ) -> None:
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, events)
        last = began = time.monotonic()
        while self._open and time.monotonic() - last < quiet_s:
            assert time.monotonic() - began < PATIENCE_S, "it never gets quiet"
            for descriptor, event in poll.poll(200):
                try:
                    moved = step(self._open[descriptor], event)
                except OSError:
                    moved = None
                if moved is None:
                    poll.unregister(descriptor)
                    del self._open[descriptor]
                if moved != 0:
                    last = time.monotonic()

    def send(self, size: int, piece: bytes, quiet_s: float = QUIET_S) -> None:
        """Each sends that many bytes, or as many as are taken; the statuses of answers are counted."""
        rest = dict.fromkeys(self._open, size)

        def step(raw: socket.socket, event: int) -> int | None:
            if event & select.POLLIN:
                self.statuses[int(raw.recv(12).split(b" ")[1])] += 1
                return None
            number = raw.fileno()
            if not rest[number]:
                return 0
            sent = raw.send(piece[: rest[number]])
            rest[number] -= sent
            return sent

        self._move(select.POLLIN | select.POLLOUT, step, quiet_s)

    def leave(self, count: int) -> None:
        """So many break off."""
        for number in list(self._open)[:count]:
            self._open.pop(number).close()

    def read_heads(self) -> None:
        """Each reads the first bytes of its answer, and no more."""

        def step(raw: socket.socket, _: int) -> int | None:
            self.statuses[int(raw.recv(12).split(b" ")[1])] += 1
            return None

        self._move(select.POLLIN, step)


@contextmanager
def clients(server: Server, count: int, head: Callable[[int], str]) -> Iterator[Clients]:
    """So many clients, each with the head of a request sent."""
    with ExitStack() as stack:
        raws = [stack.enter_context(connect(server)) for _ in range(count)]
        for number, raw in enumerate(raws):
            raw.sendall(f"{head(number)}\r\nhost: localhost\r\n".encode())
        yield Clients(raws)


@pytest.mark.parametrize(
    ("count", "size", "framing"),
    [(120, 16 << 20, "length"), (900, 2 << 20, "length"), (200, 8 << 20, "chunked")],
)
def test_files_that_do_not_end_stay_within_the_budget(
    server: tuple[Server, Callable[[], int]], count: int, size: int, framing: str
) -> None:
    """Those that are acknowledged when they end are stored, the others refused; then there is room again."""
    running, stored = server
    idle = reset_peak(running.process.pid)
    length, start, end = f"content-length: {size}", b"\r\n", b"x"
    if framing == "chunked":
        length, start = "transfer-encoding: chunked", f"\r\n{size:x}\r\n".encode()
        end = b"x\r\n0\r\n\r\n"

    def head(number: int) -> str:
        return f"PUT {OBJECTS}{number} HTTP/1.1\r\n{length}"

    with clients(running, count, head) as crowd, Once(running.url) as wire:
        for raw in crowd.raws:
            raw.send(start)
        crowd.send(size - 1, b"x" * (1 << 16))
        grown = peak_bytes(running.process.pid) - idle
        assert grown < GROWTH_BYTES
        assert wire.ask("GET", "/livez").status == 200
        crowd.leave(LEAVERS)
        crowd.send(len(end), end, PATIENCE_S)
        assert set(crowd.statuses) <= {200, REFUSED}
        assert crowd.statuses[200] > 0
        assert crowd.statuses.total() >= count - LEAVERS
    eventually(lambda: stored() == 1 + crowd.statuses[200], 30)
    with Once(running.url) as wire:
        eventually(lambda: wire.ask("PUT", f"{OBJECTS}after", bytes(20 << 20)).status == 200, 30)


def test_files_that_are_not_taken_stay_within_the_budget(
    server: tuple[Server, Callable[[], int]],
) -> None:
    """Some begin to come, the others are refused; then there is room again."""
    running, _ = server
    with Once(running.url) as wire:
        assert wire.ask("PUT", f"{OBJECTS}large", bytes(32 << 20)).status == 200
    idle = reset_peak(running.process.pid)
    with (
        clients(running, READERS, lambda _: f"GET {OBJECTS}large HTTP/1.1") as crowd,
        Once(running.url) as wire,
    ):
        for raw in crowd.raws:
            raw.send(b"\r\n")
        crowd.read_heads()
        grown = peak_bytes(running.process.pid) - idle
        assert grown < GROWTH_BYTES
        assert wire.ask("GET", "/livez").status == 200
        assert set(crowd.statuses) <= {200, REFUSED}
        assert crowd.statuses[200] > 0
    with Once(running.url) as wire:
        eventually(lambda: wire.ask("GET", f"{OBJECTS}large").status == 200, 30)


def test_small_files_of_the_page_stay_within_the_budget(
    server: tuple[Server, Callable[[], int]],
) -> None:
    """Each is gathered before it is stored."""
    running, stored = server
    size = 9_900_000
    with Once(running.url) as wire:
        run_id = wire.new_run()
    idle = reset_peak(running.process.pid)

    def head(number: int) -> str:
        target = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path=f{number}"
        return f"POST {target} HTTP/1.1\r\ncontent-length: {size}"

    with clients(running, 45, head) as crowd:
        for raw in crowd.raws:
            raw.send(b"\r\n")
        crowd.send(size - 1, b"x" * (1 << 16))
        crowd.send(1, b"x", PATIENCE_S)
        grown = peak_bytes(running.process.pid) - idle
        assert grown < GROWTH_BYTES
        assert set(crowd.statuses) == {200, REFUSED}
    eventually(lambda: stored() == 1 + crowd.statuses[200], 30)
