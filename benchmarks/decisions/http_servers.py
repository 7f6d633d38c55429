"""The HTTP server of `headrace server` against uvicorn and granian, each serving the same
application.

    python -m benchmarks.decisions.http_servers        # needs wrk, uvicorn and granian

Prints CPU microseconds of the server's process tree per request (medians of interleaved rounds): on
a busy machine this figure varies less than requests per second.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROUNDS, SECONDS, CONNECTIONS = 3, 3, 20
PATHS = ("/health", "/api/2.0/mlflow/experiments/get?experiment_id=0")
SERVERS = {
    "headrace": ["headrace.commands.cli", "server", "--port", "{port}"],
    "uvicorn": ["uvicorn", "headrace.server.asgi:app", "--port", "{port}", "--loop", "uvloop", "--http", "httptools",
                "--no-access-log", "--log-level", "warning"],
    "granian": ["granian", "headrace.server.asgi:app", "--interface", "asgi", "--port", "{port}", "--loop", "uvloop",
                "--no-ws", "--log-level", "warning"],
}  # fmt: skip


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def cpu_us(pid: int) -> float:
    """Return the CPU time of a process and its children, from /proc."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = stat.read_text().rpartition(")")[2].split()
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += int(fields[11]) + int(fields[12])
    return total * 10_000


def measure(name: str) -> list[float]:
    """Return CPU microseconds per request for each path."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{directory}/mlflow.db"}
        command = [part.format(port=port) for part in SERVERS[name]]
        with subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:  # fmt: skip
            try:
                return [per_request(server.pid, f"http://127.0.0.1:{port}", path) for path in PATHS]
            finally:
                server.terminate()


def per_request(pid: int, url: str, path: str) -> float:
    """Load one path with wrk, and return CPU microseconds of the server per answered request."""
    for _ in range(100):
        try:
            urllib.request.urlopen(url + path).close()
            break
        except OSError:
            time.sleep(0.1)
    before = cpu_us(pid)
    said = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", url + path],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    answered = int(next(line for line in said.splitlines() if "requests in" in line).split()[0])
    return (cpu_us(pid) - before) / answered


def main() -> None:
    """Alternate between the servers and print their medians."""
    found: dict[str, list[list[float]]] = {name: [] for name in SERVERS}
    for _ in range(ROUNDS):
        for name, figures in found.items():
            figures.append(measure(name))
    for name, figures in found.items():
        medians = [statistics.median(column) for column in zip(*figures, strict=True)]
        print(name, *(f"{path} {us:.0f} µs" for path, us in zip(PATHS, medians, strict=True)))  # noqa: T201


if __name__ == "__main__":
    main()
