"""The request log and request ids, on real servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_server import Server

JSON = {"Content-Type": "application/json"}
SECRET = "hunter2-value-of-a-param"
LOG_BATCH = "/api/2.0/mlflow/runs/log-batch"
TIMES = {"duration_ms", "queue_ms", "database_ms", "encoding_ms"}


def lines(server: Server, message: str) -> list[dict[str, Any]]:
    """The JSON lines of the log with that message."""
    found = [json.loads(line) for line in server.log_path.read_text().splitlines()]
    return [line for line in found if line["message"] == message]


def work(wire: Wire) -> str:
    """A run with a param, a tag and a metric; its id."""
    made = wire.ask("POST", "/api/2.0/mlflow/runs/create", b'{"experiment_id": "0"}', JSON).json()
    run_id: str = made["run"]["info"]["run_id"]
    body = {
        "run_id": run_id,
        "params": [{"key": "password", "value": SECRET}],
        "tags": [{"key": "t", "value": SECRET}],
        "metrics": [{"key": "m", "value": 1, "timestamp": 1, "step": 1}],
    }
    headers = JSON | {"Authorization": f"Bearer {SECRET}", "X-Request-Id": "job-7/step:1"}
    answer = wire.ask("POST", LOG_BATCH, json.dumps(body).encode(), headers)
    assert answer.status == 200
    assert answer.headers["x-request-id"] == "job-7/step:1"
    assert wire.ask("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}").status == 200
    return run_id


def test_a_line_per_request_shows_the_parts_of_its_time(uri: str, tmp_path: Path) -> None:
    """With route and id, without any content of the request."""
    with (
        headrace(uri, tmp_path, "--log-requests", "--log-format", "json") as server,
        Wire(server.url) as wire,
    ):
        run_id = work(wire)
        wire.ask("GET", f"/no/such/{SECRET}?token={SECRET}")
        (line,) = [line for line in lines(server, "request") if line["route"] == LOG_BATCH]
        assert line["request_id"] == "job-7/step:1"
        assert (line["method"], line["status"], line["client"]) == ("POST", 200, "127.0.0.1")
        assert set(line) >= TIMES
        assert 0 < line["database_ms"] <= line["duration_ms"]
        assert line["queue_ms"] + line["database_ms"] <= line["duration_ms"]
        (read,) = [line for line in lines(server, "request") if line["route"].endswith("runs/get")]
        assert 0 < read["database_ms"] <= read["duration_ms"]
        assert len({line["request_id"] for line in lines(server, "request")}) >= 4
        text = server.log_path.read_text()
        assert SECRET not in text
        assert run_id not in text


def test_slow_requests_alone_are_logged(uri: str, tmp_path: Path) -> None:
    """Those that take at least the given time; here none."""
    options = ("--slow-request-ms", "600000", "--log-format", "json")
    with headrace(uri, tmp_path, *options) as server, Wire(server.url) as wire:
        work(wire)
        assert lines(server, "request") == lines(server, "slow request") == []


def test_a_slow_request_is_logged_and_the_others_are_not(tmp_path: Path) -> None:
    """A write that waits for another process's lock on the file."""
    import sqlite3
    import threading
    from contextlib import closing

    path = tmp_path / "mlflow.db"
    options = ("--slow-request-ms", "300", "--log-format", "text")
    with headrace(f"sqlite:///{path}", tmp_path, *options) as server, Wire(server.url) as wire:
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            threading.Timer(0.6, other.execute, ["COMMIT"]).start()
            body = b'{"name": "slow"}'
            path_of = "/api/2.0/mlflow/experiments/create"
            assert wire.ask("POST", path_of, body, JSON).status == 200
        slow = [line for line in server.log().splitlines() if "slow request" in line]
    assert len(slow) == 1
    assert "WARNING headrace.http.request_log: slow request request_id=" in slow[0]
    assert "route=/api/2.0/mlflow/experiments/create status=200" in slow[0]
    fields = dict(word.split("=", 1) for word in slow[0].split() if "=" in word)
    assert float(fields["database_ms"]) > 300


def test_ids_go_through_without_a_log(tmp_path: Path) -> None:
    """Only well-formed ids, because an id is passed on to other logs and headers."""
    with headrace(f"sqlite:///{tmp_path}/m.db", tmp_path) as server, Wire(server.url) as wire:
        for sane in ("a", "0af7651916cd43dd8448eb211c80319c", "x" * 128):
            answer = wire.ask("GET", "/health", headers={"X-Request-Id": sane})
            assert answer.headers["x-request-id"] == sane
        for wild in ("x" * 129, "two words", "caf\xe9", "<script>", ""):
            answer = wire.ask("GET", "/health", headers={"X-Request-Id": wild})
            assert "x-request-id" not in answer.headers
        assert "x-request-id" not in wire.ask("GET", "/health").headers


def test_a_malformed_id_is_replaced_where_requests_are_logged(tmp_path: Path) -> None:
    """The answer has the id of the log."""
    options = ("--log-requests", "--log-format", "json")
    with (
        headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, *options) as server,
        Wire(server.url) as wire,
    ):
        answer = wire.ask("GET", "/version", headers={"X-Request-Id": "two words"})
        (line,) = [line for line in lines(server, "request") if line["route"] == "/version"]
        assert answer.headers["x-request-id"] == line["request_id"] != "two words"


def test_the_client_behind_a_trusted_proxy_is_named(tmp_path: Path) -> None:
    """Only a proxy of --forwarded-allow-ips, which is --auth-proxy-networks, may name it."""
    for networks, expected in (("127.0.0.1", "192.0.2.7"), ("10.0.0.0/8", "127.0.0.1")):
        with (
            headrace(
                f"sqlite:///{tmp_path}/m.db",
                tmp_path,
                *("--log-requests", "--log-format", "json", "--forwarded-allow-ips", networks),
            ) as server,
            Wire(server.url) as wire,
        ):
            wire.ask(
                "GET",
                "/api/2.0/mlflow/experiments/get?experiment_id=0",
                None,
                {"X-Forwarded-For": "192.0.2.7"},
            )
            named = {
                line["client"]
                for line in lines(server, "request")
                if line["route"].endswith("experiments/get")
            }
            assert named == {expected}
