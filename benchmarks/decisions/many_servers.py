"""CPU time per log-batch of one server and of three servers on one PostgreSQL.

    python -m benchmarks.decisions.many_servers postgresql://postgres@HOST/NAME

PostgreSQL runs on this machine. Clients log batches of 10 metrics, each to a run of its own. The cases take
turns: with the same clients for each server, and with the same clients in all.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from typing import Final

from benchmarks.decisions.replicas import cpu_s, post, postmaster

PORTS: Final = (15871, 15872, 15873)
CASES: Final = ((1, 2), (1, 6), (3, 6), (3, 18))  # servers, clients of all
BATCHES: Final = 200  # of a client in a round
ROUNDS: Final = 7


def log(port: int, run_id: str, first: int) -> None:
    """Log the batches of a round."""
    for step in range(first, first + BATCHES):
        metrics = [{"key": f"m{k}", "value": k, "timestamp": step, "step": step} for k in range(10)]
        post(port, "runs/log-batch", {"run_id": run_id, "metrics": metrics})


def main() -> None:
    """Start the servers and measure."""
    (uri,) = sys.argv[1:]
    command = [sys.executable, "-m", "headrace.commands.cli", "server", "--no-bridge"]
    started = [
        subprocess.Popen(
            [*command, "--backend-store-uri", uri, "--port", str(port)], stdout=subprocess.DEVNULL
        )
        for port in PORTS
    ]
    try:
        time.sleep(5)
        database = postmaster(uri)
        seen: dict[tuple[int, int], list[tuple[float, float]]] = {case: [] for case in CASES}
        for number in range(ROUNDS):
            for (servers, count), figures in seen.items():
                created = [
                    post(PORTS[0], "runs/create", {"experiment_id": "0"}) for _ in range(count)
                ]
                clients = [
                    threading.Thread(
                        target=log,
                        args=(PORTS[n % servers], run["run"]["info"]["run_id"], number * BATCHES),
                    )
                    for n, run in enumerate(created)
                ]
                before = sum(cpu_s(one.pid) for one in started), cpu_s(database)
                for client in clients:
                    client.start()
                for client in clients:
                    client.join()
                after = sum(cpu_s(one.pid) for one in started), cpu_s(database)
                used = [
                    (b - a) * 1000 / count / BATCHES for a, b in zip(before, after, strict=True)
                ]
                figures.append((used[0], used[1]))
        for (servers, count), found in seen.items():
            ours, theirs = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{servers} servers, {count} clients: CPU-ms {ours:.3f} + {theirs:.3f}")  # noqa: T201
    finally:
        for one in started:
            one.terminate()
            one.wait()


if __name__ == "__main__":
    main()
