"""Bridged routes, which stock MLflow answers for headrace, with real clients and processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.fix_packages import environment_without
from tests.fix_postgres import fresh_database
from tests.fix_server import Server, base_environment, headrace
from tests.waiting import eventually
from tests.wire import Wire

from headrace.extras import install_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_postgres import PostgresServer

JSON = {"content-type": "application/json"}
BRIDGED = "/api/3.0/mlflow/mcp-servers"  # needs only a running MLflow
END_S = 60.0


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Any:
    sent = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
    with Wire(server.url) as wire:
        return wire.ask(method, path, json.dumps(body).encode() if body is not None else None, sent)


def descendants(pid: int) -> list[tuple[int, str]]:
    """Process ids and command lines of everything below a process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if stat[0] != "Z":
                children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        todo += below
        found += [(child, command_line(child)) for child in below]
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def mlflow_processes(server: Server) -> list[int]:
    """Ids of the MLflow servers that headrace runs."""
    below = descendants(server.process.pid)
    return [pid for pid, line in below if " -m uvicorn " in line and "watchdog.py" not in line]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and command_line(pid)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with its MLflow, shared by tests that only send requests."""
    directory = tmp_path_factory.mktemp("server")
    with headrace(f"sqlite:///{directory}/mlflow.db", directory) as running:
        yield running


# A process of its own: tracing is configured once for a whole process.
TRACE_AND_LOG = """
import json, sys, threading
import mlflow
from mlflow import MlflowClient

mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
experiment = client.create_experiment("traced")
run = client.create_run(experiment).info.run_id
stop = threading.Event()
logged = []

def log_metrics():
    step = 0
    while not stop.is_set():
        client.log_metric(run, "loss", 1.0 / (step + 1), step=step)
        logged.append(step)
        step += 1

logger = threading.Thread(target=log_metrics)
logger.start()
mlflow.set_experiment(experiment_id=experiment)
for number in range(10):
    with mlflow.start_span(f"step {number}") as span:
        span.set_inputs({"question": "\u00e9" * 1000})
        span.set_outputs({"answer": number})
stop.set()
logger.join()
mlflow.flush_trace_async_logging()
traces = client.search_traces(locations=[experiment], include_spans=True)
print(json.dumps({
    "experiment": experiment,
    "names": sorted(trace.data.spans[0].name for trace in traces),
    "inputs": traces[0].data.spans[0].inputs if traces else None,
    "logged": logged,
    "history": sorted(m.step for m in client.get_metric_history(run, "loss")),
}))
"""


def test_a_trace_of_the_client_is_there_while_metrics_are_logged(
    empty_uri: str, tmp_path: Path
) -> None:
    """The client sends spans, and another thread metrics, at the same time."""
    with headrace(empty_uri, tmp_path) as server:
        trace_and_log(server)


def trace_and_log(server: Server) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRACE_AND_LOG, server.url],
        env=base_environment() | {"MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert seen["names"] == [f"step {number}" for number in range(10)]
    assert seen["inputs"] == {"question": "é" * 1000}
    assert seen["history"] == seen["logged"]
    assert len(seen["logged"]) > 10, "metrics went on while traces were written"
    found = ask(
        server,
        "POST",
        "/ajax-api/3.0/mlflow/traces/search",
        {"locations": [experiment_location(seen["experiment"])], "max_results": 20},
    )
    assert len(found.json()["traces"]) == 10, "what the web page asks for shows them"


def experiment_location(experiment_id: str) -> dict[str, Any]:
    location = {"experiment_id": experiment_id}
    return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": location}


def test_native_routes_answer_while_mlflow_starts(tmp_path: Path) -> None:
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server:
        order: list[str] = []

        def bridged() -> None:
            assert ask(server, "GET", BRIDGED).status == 200
            order.append("bridged")

        starter = threading.Thread(target=bridged)
        starter.start()
        eventually(lambda: "starting MLflow" in server.log(), END_S, what="MLflow is being started")
        for _ in range(20):
            answer = ask(server, "GET", "/api/2.0/mlflow/experiments/search?max_results=5")
            assert answer.status == 200
            order.append("native")
        starter.join()
        assert order == ["native"] * 20 + ["bridged"]
        assert "starting MLflow 3" in server.log()
        assert f"for GET {BRIDGED}" in server.log(), "the log says why"


def test_errors_and_headers_come_through(server: Server) -> None:
    missing = ask(server, "GET", "/api/3.0/mlflow/traces/tr-none")
    assert missing.status == 404
    assert missing.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert missing.headers["content-type"] == "application/json"
    names = [name for name, _ in missing.lines]
    for once in ("x-content-type-options", "x-frame-options", "vary", "date", "content-length"):
        assert names.count(once) == 1, missing.lines
    assert "server" not in names, "nothing tells that it came from elsewhere"
    with Wire(server.url) as wire:
        head = wire.ask("HEAD", BRIDGED)  # MLflow's routes of FastAPI have no HEAD
        full = wire.ask("GET", BRIDGED)
    assert (head.status, head.body) == (404, b"")
    assert int(head.headers["content-length"]) > 0
    assert full.status == 200, "on the same connection"


def test_metrics_and_the_request_log_name_the_bridged_route(tmp_path: Path) -> None:
    options = ("--log-requests", "--log-format", "json")
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, *options) as server:
        assert ask(server, "GET", BRIDGED + "/com.example/none").status == 404
        figures = ask(server, "GET", "/metrics").body.decode().splitlines()
        logged = [json.loads(line) for line in server.log().splitlines() if line[:1] == "{"]
    assert 'headrace_bridge_up{kind="plain"} 1.0' in figures
    route = f"(bridged){BRIDGED}/{{name:path}}"
    counted = f'headrace_requests_total{{method="GET",route="{route}",status="404"}} 1.0'
    assert counted in figures
    assert [line["status"] for line in logged if line.get("route") == route] == [404]


def test_a_path_that_mlflow_lacks_starts_nothing(tmp_path: Path) -> None:
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server:
        assert b'headrace_bridge_up{kind="plain"} 0.0' in ask(server, "GET", "/metrics").body
        assert ask(server, "GET", "/ajax-api/2.0/mlflow/users/current").status == 404
        wrong = ask(server, "DELETE", "/api/3.0/mlflow/label-schemas/create")
        assert (wrong.status, wrong.headers["allow"]) == (405, "OPTIONS, POST")
        options = ask(server, "OPTIONS", "/api/3.0/mlflow/label-schemas/create")
        assert (options.status, options.headers["allow"]) == (204, "OPTIONS, POST")
        assert mlflow_processes(server) == []
        assert "starting MLflow" not in server.log()


def test_a_body_without_a_length_arrives(server: Server) -> None:
    body = json.dumps({"name": "com.example/from-a-chunked-body"}).encode()

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    with closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)) as connection:
        connection.request(
            "POST",
            "/api/3.0/mlflow/mcp-servers",
            body=chunks(),
            headers=JSON,
            encode_chunked=True,
        )
        answer = json.loads(connection.getresponse().read())
    assert answer["name"] == "com.example/from-a-chunked-body"


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, "--max-body-bytes", "1MiB") as server:
        answer = ask(server, "POST", BRIDGED, {"name": "x" * (1 << 20)})
        assert answer.status == 400
        assert answer.json()["message"] == f"Request body exceeds {1 << 20} bytes"
        assert "starting MLflow" not in server.log()


def test_mlflow_sees_the_client_and_not_headrace(server: Server) -> None:
    """Its assistant is only for clients on the same machine; without forwarding, every client would be one."""
    path = "/ajax-api/3.0/mlflow/assistant/providers/none/health"
    assert ask(server, "GET", path).status == 404, "there is no such provider"
    assert ask(server, "GET", path, x_forwarded_for="203.0.113.9").status == 403
    assert ask(server, "GET", path, x_forwarded_for="127.0.0.1, 203.0.113.9").status == 403
    assert ask(server, "GET", path, x_forwarded_for="203.0.113.9, 127.0.0.1").status == 403


def test_other_hosts_and_origins_do_not_get_across(server: Server) -> None:
    assert ask(server, "GET", BRIDGED, host="evil.example.com").status == 403
    assert ask(server, "GET", BRIDGED, origin="https://evil.example.com").status == 403


def test_processes_of_one_server_share_one_mlflow(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with (
        fresh_database(postgres_server) as address,
        headrace(address, tmp_path, "--workers", "3") as server,
    ):
        answers: list[int] = []

        def use() -> None:
            for _ in range(4):
                answers.append(ask(server, "GET", BRIDGED).status)

        users = [threading.Thread(target=use) for _ in range(8)]
        for user in users:
            user.start()
        for user in users:
            user.join()
        assert answers == [200] * 32
        assert server.log().count("starting MLflow") == 1
        workers = [pid for pid, line in descendants(server.process.pid) if "-m headrace" in line]
        started = [pid for pid in workers if mlflow_below(pid)]
        assert len(workers) == 3
        assert len(started) == 1
        # The process that started it ends; the others continue to use it.
        os.kill(started[0], signal.SIGKILL)
        for _ in range(6):
            assert ask(server, "GET", BRIDGED).status == 200
        assert server.log().count("starting MLflow") == 1


def mlflow_below(pid: int) -> bool:
    return any("watchdog.py" in line for _, line in descendants(pid))


@pytest.fixture
def sqlite_server(tmp_path: Path) -> Iterator[Server]:
    address = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(address, tmp_path, "--bridge-idle-timeout-s", "2") as running:
        assert ask(running, "GET", BRIDGED).status == 200
        assert len(mlflow_processes(running)) == 1
        yield running


def test_it_is_stopped_when_idle_and_started_again_when_asked_for(sqlite_server: Server) -> None:
    eventually(lambda: not mlflow_processes(sqlite_server), END_S, what="an idle MLflow is stopped")
    eventually(lambda: "MLflow was stopped" in sqlite_server.log(), END_S, what="the log says so")
    assert ask(sqlite_server, "GET", BRIDGED).status == 200
    assert len(mlflow_processes(sqlite_server)) == 1


def test_it_is_started_again_when_it_died(sqlite_server: Server) -> None:
    (pid,) = mlflow_processes(sqlite_server)
    os.kill(pid, signal.SIGKILL)
    # Until its end is noticed the answer may be 503, which clients retry.
    eventually(
        lambda: ask(sqlite_server, "GET", BRIDGED).status == 200,
        END_S,
        what="it answers again",
    )
    assert mlflow_processes(sqlite_server) != [pid]
    assert "MLflow ended unexpectedly (exit code 137)" in sqlite_server.log()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_headrace(sqlite_server: Server, ending: signal.Signals) -> None:
    below = [pid for pid, _ in descendants(sqlite_server.process.pid)]
    assert len(below) == 2, "MLflow and its watchdog"
    os.kill(sqlite_server.process.pid, ending)
    sqlite_server.process.wait(END_S)
    eventually(lambda: not alive(below), END_S, what="nothing is left of the bridge")


def test_it_ends_when_its_watchdog_is_killed(sqlite_server: Server) -> None:
    below = descendants(sqlite_server.process.pid)
    (watchdog,) = [pid for pid, line in below if "watchdog.py" in line]
    os.kill(watchdog, signal.SIGKILL)
    eventually(
        lambda: not alive([pid for pid, _ in below]),
        END_S,
        what="MLflow does not outlive its watchdog",
    )
    assert ask(sqlite_server, "GET", BRIDGED).status == 200


def test_without_mlflow_the_answer_says_what_to_install(tmp_path: Path) -> None:
    env = environment_without(tmp_path / "env", "mlflow")
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, environment=env) as server:
        answer = ask(server, "GET", BRIDGED)
        assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert install_command("mlflow") in answer.json()["message"]
        assert ask(server, "GET", "/api/2.0/mlflow/experiments/get?experiment_id=0").status == 200


def test_an_mlflow_that_cannot_start_is_reported_at_once(tmp_path: Path) -> None:
    """mlflow is installed but its ASGI server is not, so every start fails."""
    env = environment_without(tmp_path / "env", "uvicorn")
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, environment=env) as server:
        for _ in range(2):
            answer = ask(server, "GET", BRIDGED)
            assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
            assert "did not start" in answer.json()["message"]
        assert "No module named uvicorn" in server.log()
        assert server.log().count("starting MLflow") == 1, "the second is not tried again so soon"


@pytest.mark.parametrize(
    ("head", "advice"),
    [
        ("b7e2c1a4d9f3", "headrace db upgrade URI"),
        ("f4a9b2c7d1e6", "pip install 'mlflow==3.18.*'"),
        ("0123456789ab", "install the release"),
    ],
)
def test_a_database_of_another_release_is_left_alone(
    tmp_path: Path, head: str, advice: str
) -> None:
    path = tmp_path / "mlflow.db"
    with headrace(f"sqlite:///{path}", tmp_path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (head,))
        connection.commit()
    with headrace(f"sqlite:///{path}", tmp_path) as server:
        answer = ask(server, "GET", BRIDGED)
        assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert head in answer.json()["message"]
        assert advice in answer.json()["message"]
        assert mlflow_processes(server) == []


def test_a_database_that_changes_under_headrace_is_left_alone(tmp_path: Path) -> None:
    """As after a restored backup: what counts is its schema when MLflow would start."""
    path = tmp_path / "mlflow.db"
    with headrace(f"sqlite:///{path}", tmp_path) as server:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = 'b7e2c1a4d9f3'")
        answer = ask(server, "GET", BRIDGED)
        assert (answer.status, "b7e2c1a4d9f3" in answer.json()["message"]) == (501, True)
        assert "starting MLflow" not in server.log()


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "--no-bridge") as server:
        answer = ask(server, "GET", BRIDGED)
        assert (answer.status, "--no-bridge" in answer.json()["message"]) == (501, True)


def test_a_registry_in_a_database_of_its_own_is_mlflows(tmp_path: Path) -> None:
    """Models stay in their database and are never written to that of the runs."""
    registry = f"sqlite:///{tmp_path / 'registry.db'}"
    uri = f"sqlite:///{tmp_path / 'tracking.db'}"
    with headrace(uri, tmp_path, "--registry-store-uri", registry) as server:
        assert "the model registry is in another database" in server.log()
        made = ask(server, "POST", "/api/2.0/mlflow/registered-models/create", {"name": "net"})
        assert made.status == 200, str(made)
        assert mlflow_processes(server)
    counts = []
    for name in ("registry.db", "tracking.db"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            counts += connection.execute("SELECT count(*) FROM registered_models").fetchone()
    assert counts == [1, 0]


def test_a_registry_named_apart_in_the_same_database_stays_ours(tmp_path: Path) -> None:
    other_spelling = f"sqlite+pysqlite:///{tmp_path / 'tracking.db'}"
    uri = f"sqlite:///{tmp_path / 'tracking.db'}"
    with headrace(uri, tmp_path, "--registry-store-uri", other_spelling) as server:
        made = ask(server, "POST", "/api/2.0/mlflow/registered-models/create", {"name": "net"})
        assert made.status == 200, str(made)
        assert not mlflow_processes(server)
