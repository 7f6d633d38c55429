"""Artifacts on local disk: our code against obstore, and whole servers against stock MLflow.

    python -m benchmarks.decisions.artifacts stores     # in process: files/s and CPU per file
    python -m benchmarks.decisions.artifacts servers    # headrace beside `mlflow server`

There are 1,000 small files of 10 kB, sent over one keep-alive connection and over eight, and one
large file of 2 GB. Medians of interleaved rounds; one disk, client and server on the same machine.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.store import LocalStore as ObstoreLocal
from tests.fix_server import headrace, stock

from headrace.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.fix_server import Server

ROUNDS = 5
FILES, SMALL, LARGE = 1_000, os.urandom(10_000), 2_000_000_000
CHUNK = os.urandom(1 << 20)
OBJECTS = "/api/2.0/mlflow-artifacts/artifacts"


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Yield a body in one piece."""
    yield data


def cpu_s() -> float:
    """Return the CPU time of this process in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def timed(put: Callable[[str], Awaitable[object]], clients: int) -> tuple[float, float]:
    """Return files per second, and CPU microseconds per file."""
    names = iter([f"run/artifacts/{n}" for n in range(FILES)])

    async def client() -> None:
        for name in names:
            await put(name)

    began, used = time.perf_counter(), cpu_s()
    await asyncio.gather(*(client() for _ in range(clients)))
    return FILES / (time.perf_counter() - began), 1e6 * (cpu_s() - used) / FILES


async def stores() -> None:
    """Write small files through each store."""
    found: dict[str, list[tuple[float, float]]] = {}
    threads = ThreadPoolExecutor(16)
    for _ in range(ROUNDS):
        for clients in (1, 8):
            for kind in ("own", "own, synchronous full", "obstore"):
                root = tempfile.mkdtemp(prefix="artifacts-")
                if kind == "obstore":
                    theirs = ObstoreLocal(root, mkdir=True)
                    figures = await timed(
                        lambda name, to=theirs: obstore.put_async(to, name, SMALL), clients
                    )
                else:
                    ours = LocalStore(root, threads, sync=kind != "own")
                    figures = await timed(
                        lambda name, to=ours: to.put(name, once(SMALL), len(SMALL)), clients
                    )
                found.setdefault(f"{kind}, {clients} at once", []).append(figures)
                shutil.rmtree(root)
    for kind, rows in found.items():
        rate, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{kind}: {rate:.0f} files/s, {cpu:.0f} CPU µs per file")  # noqa: T201


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    below = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
            below += tree(int(stat.parent.name))
    return below


def memory_mb(server: Server) -> float:
    """Return the sum of the peak memory of a server's processes."""
    total = 0
    for pid in tree(server.process.pid):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return total / 1000


def small_files(url: str, method: str, directory: str, clients: int) -> float:
    """Return files per second over `clients` keep-alive connections."""

    def client(own: range) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        for n in own:
            body = SMALL if method == "PUT" else None
            connection.request(method, f"{OBJECTS}/{directory}/{n}", body)
            answer = connection.getresponse()
            assert answer.read() == (b"" if method == "PUT" else SMALL)
        connection.close()

    threads = [
        threading.Thread(target=client, args=(range(n, FILES, clients),)) for n in range(clients)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return FILES / (time.perf_counter() - began)


def large_file(url: str) -> tuple[float, float]:
    """Return MB per second up and down."""

    def body() -> Iterator[bytes]:
        for _ in range(LARGE // len(CHUNK)):
            yield CHUNK

    size = LARGE // len(CHUNK) * len(CHUNK)
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    began = time.perf_counter()
    connection.request("PUT", f"{OBJECTS}/large", body(), {"Content-Length": str(size)})
    assert connection.getresponse().read() == b""
    up = size / (time.perf_counter() - began)
    began = time.perf_counter()
    connection.request("GET", f"{OBJECTS}/large")
    answer = connection.getresponse()
    while answer.read(1 << 20):
        pass
    down = size / (time.perf_counter() - began)
    connection.close()
    return up / 1e6, down / 1e6


def servers() -> None:
    """Send the same requests to both servers, alternately."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        for name in ("headrace", "stock"):
            (here / name).mkdir()
        with (
            headrace(f"sqlite:///{here}/headrace/m.db", here / "headrace") as ours,
            stock(f"sqlite:///{here}/stock/m.db", here / "stock") as theirs,
        ):
            both = {"headrace": ours, "stock": theirs}
            for turn in range(ROUNDS):
                for clients in (1, 8):
                    for method in ("PUT", "GET"):
                        for name, server in both.items():
                            rate = small_files(server.url, method, f"{turn}-{clients}", clients)
                            key = f"{name}: {method} small, {clients} at once, files/s"
                            found.setdefault(key, []).append(rate)
            for name, server in both.items():
                found[f"{name}: peak memory before, MB"] = [memory_mb(server)]
                up, down = large_file(server.url)
                found[f"{name}: 2 GB up, MB/s"] = [up]
                found[f"{name}: 2 GB down, MB/s"] = [down]
                found[f"{name}: peak memory after, MB"] = [memory_mb(server)]
    for key, figures in found.items():
        print(f"{key}: {statistics.median(figures):.0f}")  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:] == ["stores"]:
        asyncio.run(stores())
    else:
        servers()
