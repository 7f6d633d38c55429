"""CPU time of searches with and without a replica, at the server, the primary and the replica.

    python -m benchmarks.decisions.replicas postgresql://postgres@HOST:1/NAME postgresql://postgres@HOST:2/NAME

The second server is a hot standby of the first; both run on this machine. The database has at least 1,000
runs after the first call. Two headrace servers, one with the replica, take turns: each round, four clients send
searches of which no two are alike. A third client logs 50 batches a second in the rounds with writes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg

PORTS: Final = (15871, 15872)
RUNS: Final = 1000
CLIENTS: Final = 4
SEARCHES: Final = 160  # of a round
ROUNDS: Final = 7
WRITE_EVERY_S: Final = 0.02
WHO: Final = ("server", "primary", "replica")


def post(port: int, path: str, body: dict[str, Any]) -> Any:
    """The decoded answer of a request."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def postmaster(uri: str) -> int:
    """The process id of the PostgreSQL server."""
    with psycopg.connect(uri) as connection:
        stat = Path(f"/proc/{connection.info.backend_pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process and of its children, in seconds."""
    total = 0
    for one in family(pid):
        for task in Path(f"/proc/{one}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def fill(port: int) -> str:
    """Make the runs, unless they exist; the id of the one that is written to."""
    body = {"experiment_ids": ["0"], "max_results": RUNS}
    found = post(port, "runs/search", body).get("runs", [])
    for number in range(len(found), RUNS):
        run = post(port, "runs/create", {"experiment_id": "0", "start_time": number})
        run_id = run["run"]["info"]["run_id"]
        metrics = [{"key": f"m{k}", "value": number * k % 97, "timestamp": 1} for k in range(10)]
        params = [{"key": f"p{k}", "value": str(number % 13)} for k in range(10)]
        post(port, "runs/log-batch", {"run_id": run_id, "metrics": metrics, "params": params})
    run_id: str = post(port, "runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"]
    return run_id


def write(port: int, run_id: str, stop: threading.Event) -> None:
    """Log 50 batches of 10 metrics a second."""
    for step in count(1):
        metrics = [{"key": f"w{k}", "value": 1, "timestamp": step, "step": step} for k in range(10)]
        post(port, "runs/log-batch", {"run_id": run_id, "metrics": metrics})
        if stop.wait(WRITE_EVERY_S):
            return


def rounds(pids: dict[str, int], servers: list[int], run_id: str, writes: bool) -> None:
    """Print the medians of CPU-ms and of the elapsed time per search, for each server."""
    numbers = count()
    seen: dict[int, list[list[float]]] = {port: [] for port in PORTS}

    def search(port: int) -> float:
        number = next(numbers)
        wanted = f"metrics.m3 < {90 + number * 1e-6} and params.p1 != '{number}'"
        body = {"experiment_ids": ["0"], "filter": wanted, "max_results": 100}
        body["order_by"] = ["metrics.m7 DESC"]
        began = time.perf_counter()
        assert len(post(port, "runs/search", body)["runs"]) == 100
        return time.perf_counter() - began

    for _ in range(ROUNDS):
        for port, server in zip(PORTS, servers, strict=True):
            stop = threading.Event()
            writer = threading.Thread(target=write, args=(port, run_id, stop))
            if writes:
                writer.start()
            every = {"server": server, **pids}
            before = {name: cpu_s(every[name]) for name in WHO}
            with ThreadPoolExecutor(CLIENTS) as pool:
                took = list(pool.map(search, [port] * SEARCHES))
            used = [(cpu_s(every[name]) - before[name]) * 1000 / SEARCHES for name in WHO]
            stop.set()
            if writes:
                writer.join()
            seen[port].append([*used, statistics.median(took) * 1000])
    for port, name in zip(PORTS, ("primary only", "with replica"), strict=True):
        figures = [statistics.median(column) for column in zip(*seen[port], strict=True)]
        texts = [f"{who} {ms:.2f}" for who, ms in zip((*WHO, "p50 ms"), figures, strict=True)]
        print(f"{name}, {'writes' if writes else 'no writes'}: CPU-ms {', '.join(texts)}")  # noqa: T201


def main() -> None:
    """Start the two servers and measure."""
    primary, replica = sys.argv[1:]
    options: tuple[tuple[str, ...], ...] = ((), ("--read-replica-backend-store-uri", replica))
    command = [sys.executable, "-m", "headrace.commands.cli", "server", "--no-bridge"]
    started = [
        subprocess.Popen(
            [*command, "--backend-store-uri", primary, "--port", str(port), *more],
            stdout=subprocess.DEVNULL,
        )
        for port, more in zip(PORTS, options, strict=True)
    ]
    try:
        time.sleep(5)
        pids = {"primary": postmaster(primary), "replica": postmaster(replica)}
        run_id = fill(PORTS[0])
        for writes in (False, True):
            rounds(pids, [one.pid for one in started], run_id, writes)
        with urllib.request.urlopen(f"http://127.0.0.1:{PORTS[1]}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("headrace_replica"):
                    print(line)  # noqa: T201
    finally:
        for one in started:
            one.terminate()
            one.wait()


if __name__ == "__main__":
    main()
