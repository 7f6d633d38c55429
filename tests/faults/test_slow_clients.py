"""Clients that send slowly, stop, or never read: they are disconnected in time, and others are not affected."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import socket
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.faults.crowd import answer, get, post
from tests.faults.load import API, Once
from tests.fix_server import headrace
from tests.processes import resident_bytes

from headrace.http.app import create_app
from headrace.http.connection import Connection
from headrace.http.limits import Limits
from headrace.http.server import Server
from headrace.settings.load import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

STALL_S = 1.0
CUT_OFF_WITHIN_S = 60
IDLE = 2000
IDLE_BYTES = 50 << 10  # a connection, at most
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/"
FILE_BYTES = 16 << 20  # more than the kernel buffers for a client that does not read


@asynccontextmanager
async def impatient(directory: Path, stall_s: float = STALL_S) -> AsyncIterator[Server]:
    """A headrace server in this process with time limits of a second in place of half a minute."""
    (directory / "artifacts").mkdir()
    (directory / "artifacts" / "large").write_bytes(bytes(FILE_BYTES))
    settings = load(
        {
            "backend_store_uri": f"sqlite:///{directory}/mlflow.db",
            "artifacts_destination": str(directory / "artifacts"),
        },
        {},
    )
    app = create_app(settings)
    await app.start()
    limits = Limits(
        head_timeout_s=stall_s, stall_timeout_s=stall_s, close_timeout_s=stall_s, keep_alive_s=60
    )
    server = Server(app, limits)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await server.listen(sock)
        try:
            yield server
        finally:
            assert await server.drain(10)
            await app.stop()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: Server) -> Streams:
    """A connection with a small receive buffer."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    address = server._servers[0].sockets[0].getsockname()
    await asyncio.get_running_loop().sock_connect(raw, address)
    return await asyncio.open_connection(sock=raw, limit=1024)


async def leave(connections: list[Streams]) -> None:
    """Drop connections at once."""
    for _, writer in connections:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def trickle(streams: Streams, data: bytes) -> None:
    """Send a byte every tenth of a second until the server closes the connection."""
    with suppress(OSError):
        for n in range(len(data)):
            streams[1].write(data[n : n + 1])
            await streams[1].drain()
            await asyncio.sleep(STALL_S / 10)
            if streams[0].at_eof():
                return


async def never_end(streams: Streams, head: bytes) -> None:
    """Send a head whose body is long, then the body byte by byte."""
    streams[1].write(head)
    await trickle(streams, b" " * 10_000)


async def never_read(streams: Streams, data: bytes) -> None:
    """Ask for much, and read nothing of it."""
    streams[0]._transport.pause_reading()  # type: ignore[attr-defined]
    streams[1].write(data)
    await asyncio.sleep(CUT_OFF_WITHIN_S)


def long_body(method: str, target: str) -> bytes:
    """The head of a request with a megabyte to come."""
    return (
        f"{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {1 << 20}\r\n\r\n"
    ).encode()


CREATE = post("experiments/create", {"name": "slow"})
SLOW: dict[str, Callable[[Streams], Any]] = {
    "headers byte by byte": lambda s: trickle(s, CREATE[:80] + b"x-more: " + b"y" * 10_000),
    "a body byte by byte": lambda s: never_end(s, long_body("POST", "/api/2.0/mlflow/runs/create")),
    "an artifact byte by byte": lambda s: never_end(s, long_body("PUT", f"{ARTIFACT}slow")),
    "half a request": lambda s: trickle(s, CREATE[:40]),
    "an artifact not read": lambda s: never_read(s, get(f"{ARTIFACT}large")),
    "answers not read": lambda s: never_read(s, get("/api/2.0/mlflow/experiments/get?experiment_id=1") * 1000),
}  # fmt: skip


async def test_slow_clients_are_cut_off(tmp_path: Path) -> None:
    """They are disconnected after the timeout even if they still send; meanwhile others are served."""
    async with impatient(tmp_path) as server:
        swift, number = await connect(server), 0
        tags = [{"key": "long", "value": "x" * 5000}]
        swift[1].write(post("experiments/create", {"name": "long", "tags": tags}))
        assert (await answer(swift[0]))[0] == 200
        slow = [(how, await connect(server)) for how in SLOW for _ in range(5)]
        tasks = [asyncio.create_task(SLOW[how](streams)) for how, streams in slow]
        until = monotonic() + CUT_OFF_WITHIN_S
        while len(server.connections) > 1 or number < 10:
            assert monotonic() < until, left(server, slow)
            swift[1].write(post("experiments/create", {"name": f"swift-{number}"}))
            assert (await answer(swift[0]))[0] == 200
            number += 1
            await asyncio.sleep(0.05)
        assert server.app.budget.held == 0
        assert server.in_flight == 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await leave([swift, *(streams for _, streams in slow)])


def left(server: Server, slow: list[tuple[str, Streams]]) -> list[str]:
    """Which of the slow clients are still connected."""
    peers = {c._transport.get_extra_info("peername") for c in server.connections}
    return [how for how, (_, writer) in slow if writer.get_extra_info("sockname") in peers]


async def test_a_client_that_makes_progress_is_not_cut_off(tmp_path: Path) -> None:
    """A body and an answer that take several timeouts, but progress in large pieces, succeed."""
    async with impatient(tmp_path, stall_s=2) as server:
        reader, writer = await connect(server)
        body = json.dumps({"name": "patient", "tags": [{"key": "k", "value": "v"}]}).encode()
        body += b" " * ((512 << 10) - len(body))
        writer.write(long_body("POST", "/api/2.0/mlflow/experiments/create").replace(
            str(1 << 20).encode(), str(len(body)).encode()))  # fmt: skip
        for n in range(0, len(body), 32 << 10):
            writer.write(body[n : n + (32 << 10)])
            await asyncio.sleep(0.25)
        assert (await answer(reader))[0] == 200

        writer.write(get(f"{ARTIFACT}large"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        taken = 0
        while taken < FILE_BYTES:
            chunk = await reader.read(2 << 20)
            assert chunk, f"cut off after {taken} bytes"
            taken += len(chunk)
            if taken < 200 << 10:
                await asyncio.sleep(0.02)
        await leave([(reader, writer)])


async def test_a_reader_that_the_server_cannot_see_advance_is_not_cut_off(tmp_path: Path) -> None:
    """It reads several times the required rate, but from kernel buffers, which hide this for many timeouts."""
    async with impatient(tmp_path) as server:
        reader, writer = await connect(server)
        writer.write(get(f"{ARTIFACT}large"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        (connection,) = server.connections
        before = unsent = connection._transport.get_write_buffer_size()
        for _ in range(50):
            assert await reader.readexactly(8 << 10)
            await asyncio.sleep(STALL_S / 10)
            unsent = min(unsent, connection._transport.get_write_buffer_size())
        assert connection in server.connections
        assert before - unsent < 50 * (8 << 10), "the buffer showed it, so this test shows nothing"
        await leave([(reader, writer)])


@contextmanager
def descriptors(soft: int) -> Iterator[None]:
    """Set the soft limit of open files for this process and its children."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_two_thousand_idle_connections_do_no_harm(tmp_path: Path) -> None:
    """Started with 512 descriptors, the server raises its limit; other clients are served meanwhile."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 1000:
        pytest.skip(f"needs {IDLE + 1000} descriptors; the hard limit is {hard}")
    with descriptors(512):
        server = headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
        one = server.__enter__()
    try:
        with descriptors(IDLE + 500), Once(one.url) as wire:
            wire.made("experiments/create", {"name": "before"})
            before = resident_bytes(one.process.pid)
            parts = urlsplit(one.url)
            address = (parts.hostname or "", parts.port or 0)
            idle = [socket.create_connection(address, timeout=30) for _ in range(IDLE)]
            for raw in idle[::2]:
                raw.sendall(get("/health"))
            for raw in idle[::2]:
                assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")
            for number in range(50):
                wire.made("experiments/create", {"name": f"beside-{number}"})
            assert resident_bytes(one.process.pid) - before < IDLE * IDLE_BYTES
            assert wire.ask("GET", "/readyz").status == 200
            for raw in idle:
                with closing(raw):
                    pass
    finally:
        server.__exit__(None, None, None)


async def test_a_closed_connection_leaves_no_reference_cycle(tmp_path: Path) -> None:
    """The garbage collector runs once in thousands of connections; until then memory would grow with each."""
    async with impatient(tmp_path) as server:
        gc.collect()
        gc.disable()
        try:
            for path in ("/health", API + "experiments/get?experiment_id=0"):
                reader, writer = await connect(server)
                writer.write(get(path))
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                await leave([(reader, writer)])
            while server.connections:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert not [found for found in gc.get_objects() if isinstance(found, Connection)]
        finally:
            gc.enable()
