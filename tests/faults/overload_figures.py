"""Latencies at the maximum load of one process, and at twice that load: `python -m tests.faults.overload_figures`.

On a SQLite file in a temporary directory, or on the database that is given. Prints a table for the documents.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.faults.crowd import Seen, crowd
from tests.faults.test_overload import batches, fill, mixture
from tests.fix_server import Server, headrace
from tests.processes import resident_bytes

IN_FLIGHT = 512  # the default of --max-requests-in-flight
SECONDS = 15.0
RUNS = 300  # what each search returns


def again(headers: dict[str, str]) -> float:
    """Half of the requested wait, so that the load does not end."""
    return float(headers["retry-after"]) / 2


def line(what: str, clients: int, seen: Seen, server: Server) -> str:
    """A row of the table."""
    refused = f"{1000 * seen.quantile(429, 0.99):.0f} ms" if seen.count(429) else "none"
    return (
        f"| {what} | {clients} | {seen.count(200) / SECONDS:.0f} | {1000 * seen.quantile(200, 0.5):.0f} ms"
        f" | {1000 * seen.quantile(200, 0.99):.0f} ms | {seen.count(429) / SECONDS:.0f} | {refused}"
        f" | {resident_bytes(server.process.pid) >> 20} MB |"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        uri = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{directory}/mlflow.db"
        with headrace(uri, directory) as server:
            run_ids = fill(server, RUNS)
            crowd(server.url, 64, 3, mixture(run_ids), again)  # warm-up
            for what, make in (("log-batch", batches(run_ids)), ("mixture", mixture(run_ids))):
                for clients in (IN_FLIGHT // 2, IN_FLIGHT, 2 * IN_FLIGHT):
                    seen = crowd(server.url, clients, SECONDS, make, again)
                    assert not seen.broken, seen.broken
                    print(line(what, clients, seen, server), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
