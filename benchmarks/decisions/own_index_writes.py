"""CPU time and WAL of writes on two databases, such as one with indexes of ours and one without.

    python -m benchmarks.decisions.own_index_writes URI_WITHOUT URI_WITH

Each database has its own server; rounds of requests alternate between them. A figure is the median over the
rounds, of the server process and, on PostgreSQL, of its backends and of the bytes of WAL (other
writes to that server falsify them). The last columns are the medians of the ratios of neighbouring
rounds, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg

from benchmarks.peers import ROOT
from benchmarks.servers import RunningServer, headrace

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS: Final = 8
REQUESTS: Final = 400
ROUNDS: Final = 15
Body = tuple[str, dict[str, Any]]


class Subject:
    """A server and its database."""

    def __init__(self, server: RunningServer, uri: str) -> None:
        self.pid = server.pid
        self.host = server.uri.removeprefix("http://")
        self.database = psycopg.connect(uri, autocommit=True) if uri.startswith("post") else None
        self.numbers = itertools.count()

    def ask(self, body: Body) -> dict[str, Any]:
        """Send one request that must succeed."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request(
            "POST",
            f"/api/2.0/mlflow/{body[0]}",
            json.dumps(body[1]),
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        assert answer.status == 200, found
        return dict(json.loads(found))

    def send(self, bodies: list[Body]) -> None:
        """Send requests on THREADS connections."""

        def some(part: list[Body]) -> None:
            connection = http.client.HTTPConnection(self.host, timeout=60)
            for path, body in part:
                connection.request(
                    "POST",
                    f"/api/2.0/mlflow/{path}",
                    json.dumps(body),
                    {"Content-Type": "application/json"},
                )
                answer = connection.getresponse()
                found = answer.read()
                assert answer.status == 200, found
            connection.close()

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(some, [bodies[n::THREADS] for n in range(THREADS)]))

    def used(self) -> tuple[float, float]:
        """CPU-ms of server and backends so far, and the position in the WAL."""
        pids, wal = [self.pid], 0.0
        if self.database is not None:
            rows = self.database.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            pids += [pid for (pid,) in rows]
            row = self.database.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
            wal = float(row[0]) if row else 0.0
        cpu = 0
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                cpu += int((task / "schedstat").read_text().split()[0])
        return cpu / 1e6, wal


def cases(subject: Subject) -> dict[str, Callable[[int], Body]]:
    """The requests of each case, from a number that never repeats."""
    experiment = subject.ask(
        ("experiments/create", {"name": f"writes-{next(subject.numbers)}-{subject.pid}"})
    )
    run = {"experiment_id": experiment["experiment_id"], "start_time": 1, "run_name": "r"}
    ids = [subject.ask(("runs/create", run))["run"]["info"]["run_id"] for _ in range(64)]
    subject.ask(("registered-models/create", {"name": f"registered-{subject.pid}"}))

    def points(n: int, keys: int) -> list[dict[str, Any]]:
        return [{"key": f"k{k}", "value": n, "timestamp": n, "step": n} for k in range(keys)]

    return {
        "create-run": lambda n: ("runs/create", {**run, "start_time": 1_700_000_000_000 + n}),
        "update-run": lambda n: ("runs/update", {"run_id": ids[n % 64], "end_time": n}),
        "log-batch, 10 metrics again": lambda n: (
            "runs/log-batch",
            {"run_id": ids[n % 64], "metrics": points(n, 10)},
        ),
        "log-metric": lambda n: ("runs/log-metric", {"run_id": ids[n % 64], **points(n, 1)[0]}),
        "create-experiment": lambda n: (
            "experiments/create",
            {"name": f"written-{subject.pid}-{n}"},
        ),
        "create-model": lambda n: (
            "registered-models/create",
            {"name": f"written-{subject.pid}-{n}"},
        ),
        "create-version": lambda n: (
            "model-versions/create",
            {
                "name": f"registered-{subject.pid}",
                "source": f"runs:/{ids[n % 64]}/m",
                "run_id": ids[n % 64],
            },
        ),
        "create-logged-model": lambda n: (
            "logged-models",
            {
                "experiment_id": run["experiment_id"],
                "name": f"net-{n}",
                "source_run_id": ids[n % 64],
            },
        ),
    }


def one_round(subject: Subject, case: Callable[[int], Body], requests: int) -> tuple[float, float]:
    """CPU-ms and bytes of WAL per request."""
    bodies = [case(next(subject.numbers)) for _ in range(requests)]
    cpu, wal = subject.used()
    subject.send(bodies)
    cpu_after, wal_after = subject.used()
    return (cpu_after - cpu) / requests, (wal_after - wal) / requests


def main() -> None:
    """Print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("uris", nargs=2)
    arguments.add_argument("--case", default="")
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = arguments.parse_args()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        subjects = [
            Subject(stack.enter_context(RunningServer(headrace(ROOT, str(n)), uri, work)), uri)
            for n, uri in enumerate(chosen.uris)
        ]
        made = [cases(subject) for subject in subjects]
        print("| write | CPU-ms without, with | bytes of WAL | CPU | WAL |")  # noqa: T201
        for name in made[0]:
            if chosen.case not in name:
                continue
            figures: list[list[tuple[float, float]]] = [[], []]
            for number in range(chosen.rounds + 1):
                for side in (0, 1) if number % 2 else (1, 0):
                    found = one_round(subjects[side], made[side][name], REQUESTS)
                    if number:  # the first round warms up
                        figures[side].append(found)
            columns = [[statistics.median(f[n] for f in side) for side in figures] for n in (0, 1)]
            ratios = [
                statistics.median(b[n] / a[n] for a, b in zip(*figures, strict=True) if a[n])
                if columns[n][0]
                else 1.0
                for n in (0, 1)
            ]
            cpu, wal = columns
            print(  # noqa: T201
                f"| {name} | {cpu[0]:.3f}, {cpu[1]:.3f} | {wal[0]:.0f}, {wal[1]:.0f}"
                f" | {ratios[0] - 1:+.1%} | {ratios[1] - 1:+.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
