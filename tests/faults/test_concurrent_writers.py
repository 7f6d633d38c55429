"""Many writers on one run: every request succeeds, no point is lost, and latest_metrics is correct."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

from tests import rows
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_server import Server

JSON = {"Content-Type": "application/json"}
KEYS = [f"metric {n}" for n in range(40)]
ROUNDS = 12  # requests of each writer


class Writer(threading.Thread):
    """Logs batches, metrics, params and tags to one run, with keys in random order."""

    def __init__(self, number: int, url: str, run_id: str, start: threading.Barrier) -> None:
        super().__init__(name=f"writer {number}")
        self.number = number
        self.run_id = run_id
        self.random = random.Random(number)
        self.wire = Wire(url)
        self.start_line = start
        self.points: list[tuple[str, int, int, float, bool]] = []
        self.refusals: list[str] = []

    def run(self) -> None:
        """Send all requests and record the refusals."""
        self.start_line.wait(30)
        with self.wire:
            for turn in range(ROUNDS):
                self.send("runs/log-batch", self.batch(turn))
                self.send("runs/log-metric", self.point(self.random.choice(KEYS), turn))
                self.send("runs/log-parameter", {"key": f"p{turn}", "value": str(turn)})
                self.send("runs/set-tag", {"key": f"t{turn % 5}", "value": str(self.number)})

    def batch(self, turn: int) -> dict[str, Any]:
        keys = self.random.sample(KEYS, 20)
        return {
            "metrics": [self.point(key, turn) for key in keys],
            "params": [{"key": f"p{n}", "value": str(n)} for n in self.random.sample(range(30), 5)],
            "tags": [{"key": f"t{n}", "value": "b"} for n in self.random.sample(range(9), 4)],
        }

    def point(self, key: str, turn: int) -> dict[str, Any]:
        """A point; there are few steps and times, so that writers compete for the latest point."""
        step, timestamp = self.random.randrange(6), self.random.randrange(4)
        is_nan = self.random.random() < 0.1
        value = 0.0 if is_nan else float(self.random.randrange(1, 50))
        self.points.append((key, timestamp, step, value, is_nan))
        return {
            "key": key,
            "value": "NaN" if is_nan else value,
            "timestamp": timestamp,
            "step": step,
        }

    def send(self, path: str, fields: dict[str, Any]) -> None:
        body = json.dumps({"run_id": self.run_id} | fields).encode()
        answer = self.wire.ask("POST", f"/api/2.0/mlflow/{path}", body, JSON)
        if answer.status != 200:
            self.refusals.append(f"{path}: {answer}")


def create_run(server: Server) -> str:
    with Wire(server.url) as wire:
        body = json.dumps({"experiment_id": "0", "run_name": "busy"}).encode()
        answer = wire.ask("POST", "/api/2.0/mlflow/runs/create", body, JSON)
        run_id: str = answer.json()["run"]["info"]["run_id"]
        return run_id


def write_at_once(servers: list[Server], run_id: str, count: int) -> list[Writer]:
    """Run `count` writers, spread over the servers, to their end."""
    start = threading.Barrier(count)
    writers = [Writer(n, servers[n % len(servers)].url, run_id, start) for n in range(count)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(90)
        assert not writer.is_alive(), f"{writer.name} hangs"
    return writers


def check_rows(uri: str, writers: list[Writer]) -> None:
    """Every point is stored once, and latest_metrics is correct by stock's rule."""
    found = rows.tables(uri)
    stored = Counter(
        (r["key"], r["timestamp"], r["step"], r["value"], bool(r["is_nan"]))
        for r in found["metrics"]
    )
    assert stored == Counter({point for writer in writers for point in writer.points})
    latest: dict[str, tuple[int, int, float]] = {}
    for key, timestamp, step, value, _ in stored:
        latest[key] = max(latest.get(key, (-1, -1, -1.0)), (step, timestamp, value))
    shown = {r["key"]: (r["step"], r["timestamp"], r["value"]) for r in found["latest_metrics"]}
    assert shown == latest
    assert {r["key"]: r["value"] for r in found["params"]} == {
        f"p{n}": str(n) for n in range(30)
    }  # fmt: skip


def test_64_writers_through_two_servers_on_postgres(
    postgres_empty_uri: str, tmp_path: Path
) -> None:
    uri = postgres_empty_uri
    with headrace(uri, tmp_path) as one, headrace(uri, tmp_path) as two:
        check_two_servers(uri, [one, two])


def check_two_servers(uri: str, servers: list[Server]) -> None:
    """Writers through both of them are all served, without a deadlock."""
    writers = write_at_once(servers, create_run(servers[0]), 64)
    assert [refusal for writer in writers for refusal in writer.refusals] == []
    check_rows(uri, writers)
    with closing(rows.connect(uri)) as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert connection.execute(query).fetchone() == (0,)


def test_32_writers_on_one_sqlite_file(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path) as server:
        writers = write_at_once([server], create_run(server), 32)
        assert [refusal for writer in writers for refusal in writer.refusals] == []
        assert "locked" not in server.log()
        check_rows(uri, writers)
