"""Bridged routes of a server with users: who starts MLflow, and what it receives."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from tests.bridge.test_bridge import mlflow_processes
from tests.bridge.test_gate import arguments, environment_of, port_of
from tests.fix_postgres import fresh_database
from tests.fix_server import Server, base_environment, headrace
from tests.waiting import eventually
from tests.wire import Answer, Wire

from headrace.bridge.gate import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


JOBS = "/ajax-api/3.0/jobs/search"
DEMO = "/ajax-api/3.0/mlflow/demo/delete"
MODELS = "/gateway/mlflow/v1/models"
SERVERS = "/api/3.0/mlflow/mcp-servers"
ADMIN_PASSWORD = "a long password of the admin"
PASSWORD = "a long password of ann"
SECRETS = {
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret key of the server",
    "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
    "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
    # The provider of a test listens on this machine.
    "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "http",
    "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE": "a passphrase for the secrets of the gateway",
}


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


ADMIN = basic("admin", ADMIN_PASSWORD)
ANN = basic("ann", PASSWORD)


def ask(
    server: Server,
    headers: dict[str, str],
    method: str,
    path: str,
    body: Any = None,
) -> Answer:
    data = None if body is None else json.dumps(body).encode()
    with Wire(server.url) as wire:
        return wire.ask(method, path, data, {"content-type": "application/json", **headers})


def add_ann(uri: str, directory: Path) -> None:
    """Add a user by the command."""
    command = [sys.executable, "-m", "headrace.commands.cli", "auth", "user", "add", "ann"]
    env = base_environment() | SECRETS | configured(uri, directory)
    done = subprocess.run(
        [*command, "--database-uri", uri],
        input=f"{PASSWORD}\n",
        text=True,
        env=env,
        capture_output=True,
        cwd=directory,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def configured(uri: str, directory: Path, **keys: str) -> dict[str, str]:
    """The variable of a configuration of users in the tracking database."""
    file = directory / "basic_auth.ini"
    values = {"default_permission": "READ", "database_uri": uri, "admin_username": "admin", **keys}
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in values.items()]
    file.write_text("\n".join(["[mlflow]", *lines]))
    return {"MLFLOW_AUTH_CONFIG_PATH": str(file)}


@contextlib.contextmanager
def team(uri: str, directory: Path, *options: str) -> Iterator[Server]:
    """A server with an admin and ann."""
    environment = SECRETS | configured(uri, directory)
    options = ("--app-name", "basic-auth", *options)
    with headrace(uri, directory, *options, environment=environment) as server:
        add_ann(uri, directory)
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("users")
    with team(f"sqlite:///{directory}/mlflow.db", directory) as running:
        yield running


def test_only_a_user_starts_mlflow(server: Server) -> None:
    """This test runs first."""
    for headers, status in (
        ({}, 401),
        (basic("ann", "wrong"), 401),
        (basic("nobody", PASSWORD), 401),
        ({"authorization": "Bearer x"}, 401),
        ({"x-headrace-bridge": "x"}, 401),
    ):
        for method, path in (("POST", JOBS), ("GET", MODELS), ("GET", SERVERS), ("POST", DEMO)):
            body = {} if method == "POST" else None
            assert ask(server, headers, method, path, body).status == status
    assert ask(server, ANN, "POST", DEMO, {}).status == 403  # for admins
    assert ask(server, ANN, "PATCH", MODELS, {}).status == 403  # a method that the route lacks
    assert ask(server, ADMIN, "PATCH", MODELS, {}).status == 405
    assert ask(server, ANN, "GET", "/api/3.0/mlflow/no-such-route").status == 403
    assert ask(server, ADMIN, "GET", "/api/3.0/mlflow/no-such-route").status == 404
    assert "starting MLflow" not in server.log()
    assert ask(server, ANN, "GET", MODELS).status == 200
    assert server.log().count("starting MLflow") == 1


def test_both_halves_of_mlflow_know_the_user(server: Server) -> None:
    for headers in (ADMIN, ANN):
        for method, path in (("POST", JOBS), ("GET", MODELS), ("GET", SERVERS)):
            answer = ask(server, headers, method, path, {} if method == "POST" else None)
            assert answer.status == 200, str(answer)


def test_the_creator_of_a_bridged_resource_may_manage_it(server: Server) -> None:
    name, servers = "com.example/files", "/api/3.0/mlflow/mcp-servers"
    made = ask(server, ANN, "POST", servers, {"name": name})
    assert made.status == 200, str(made)
    listed = ask(server, ANN, "GET", servers).json()
    assert [found["name"] for found in listed["mcp_servers"]] == [name]
    with closing(sqlite3.connect(server.directory / "mlflow.db")) as db:
        rows = db.execute(
            "SELECT permission FROM role_permissions WHERE resource_pattern = ?", (name,)
        ).fetchall()
    assert rows == [("MANAGE",)]


def test_a_removed_user_loses_access_at_once(server: Server) -> None:
    with closing(sqlite3.connect(server.directory / "mlflow.db")) as db, db:
        db.execute("UPDATE users SET username = 'ann2' WHERE username = 'ann'")
    try:
        assert ask(server, ANN, "GET", SERVERS).status == 401
    finally:
        with closing(sqlite3.connect(server.directory / "mlflow.db")) as db, db:
            db.execute("UPDATE users SET username = 'ann' WHERE username = 'ann2'")
    assert ask(server, ANN, "GET", SERVERS).status == 200


def test_mlflow_hashes_nothing_and_knows_no_key(server: Server) -> None:
    ask(server, ANN, "GET", SERVERS)
    (pid,) = mlflow_processes(server)
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
        environ = file.read().decode()
    assert SECRETS["MLFLOW_FLASK_SERVER_SECRET_KEY"] not in environ
    assert ADMIN_PASSWORD not in environ
    before = cpu_s(pid)
    for _ in range(50):
        assert ask(server, ANN, "GET", SERVERS).status == 200
    # A request of a user without admin rights costs stock up to six hashes of 50 ms.
    assert cpu_s(pid) - before < 50 * 0.05


def cpu_s(pid: int) -> float:
    """The CPU time of a process."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_mlflow_is_started_again_when_it_ends(server: Server) -> None:
    (pid,) = mlflow_processes(server)
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not mlflow_processes(server), what="MLflow ends")
    assert ask(server, ANN, "GET", SERVERS).status == 200


class Upstream:
    """The server of a provider of models, which a user of the gateway names."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        seen = self.headers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                seen.append({name.lower(): value for name, value in self.headers.items()})
                events = b"".join(b'data: {"n": %d}\n\n' % n for n in range(3))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(events)))
                self.end_headers()
                self.wfile.write(events)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_the_gateway_sends_no_credentials_of_ours_to_a_provider(server: Server) -> None:
    upstream = Upstream()
    api = "/api/3.0/mlflow/gateway/"
    secret = {
        "secret_name": "key-2",
        "secret_value": {"api_key": "sk-2"},
        "provider": "openai",
        "auth_config": {"api_base": upstream.url},
    }
    made = ask(server, ANN, "POST", api + "secrets/create", secret)
    assert made.status == 200, str(made)
    definition = {
        "name": "definition-1",
        "secret_id": made.json()["secret"]["secret_id"],
        "provider": "openai",
        "model_name": "m",
    }
    made = ask(server, ANN, "POST", api + "model-definitions/create", definition)
    assert made.status == 200, str(made)
    endpoint = {
        "name": "endpoint-1",
        "model_configs": [
            {
                "model_definition_id": made.json()["model_definition"]["model_definition_id"],
                "linkage_type": "PRIMARY",
                "weight": 1.0,
            }
        ],
    }
    made = ask(server, ANN, "POST", api + "endpoints/create", endpoint)
    assert made.status == 200, str(made)
    body = {"model": "endpoint-1", "input": "x", "stream": True}
    agent = {"user-agent": "codex/1", "cookie": "headrace_session=abc"}
    for credentials in (
        ANN,
        {"x-mlflow-authorization": ANN["authorization"], "authorization": "Bearer sk-own"},
    ):
        answer = ask(server, {**agent, **credentials}, "POST", "/gateway/openai/v1/responses", body)
        assert answer.status == 200, str(answer)
        assert answer.body.count(b"data: ") >= 3
    assert len(upstream.headers) == 2
    for headers in upstream.headers:
        sent = json.dumps(headers)
        for secret_text in (PASSWORD, ANN["authorization"].split()[1], "headrace_session"):
            assert secret_text not in sent
        assert "x-headrace-bridge" not in headers
        assert "x-mlflow-authorization" not in headers
    assert upstream.headers[1]["authorization"] == "Bearer sk-own"
    upstream.server.shutdown()
    upstream.server.server_close()


def test_job_runners_know_who_asks(server: Server) -> None:
    body = {"job_name": "no-such-job", "params": {}}
    for headers, status in ((ADMIN, 400), (ANN, 400), ({}, 401)):
        answer = ask(server, headers, "POST", "/ajax-api/3.0/jobs/", body)
        assert answer.status == status, str(answer)
    port = port_of(server)
    for path in ("/health", JOBS, MODELS):
        with Wire(f"http://127.0.0.1:{port}") as wire:
            assert wire.ask("GET", path, headers=ADMIN).status == 403
    # The watchdog, which is no user, asks whether jobs are left.
    (pid,) = [p for p in mlflow_processes(server) if f"--port {port}" in arguments(p)]
    secret = {HEADER: environment_of(pid)["HEADRACE_BRIDGE_SECRET"]}
    with Wire(f"http://127.0.0.1:{port}") as wire:
        assert wire.ask("POST", JOBS, b"{}", secret).json() == {"jobs": []}
    with closing(sqlite3.connect(server.directory / "mlflow.db")) as db, db:
        db.execute(
            "INSERT INTO jobs (id, creation_time, job_name, params, status, retry_count,"
            " last_update_time, workspace) VALUES ('j', 0, 'n', '{}', 0, 0, 0, 'default')"
        )
    with Wire(f"http://127.0.0.1:{port}") as wire:
        assert wire.ask("POST", JOBS, b"{}", secret).json() == {"jobs": [1]}
    assert re.search(r"MLflow \S+ for POST /ajax-api/3.0/jobs/", server.log())


def test_behind_a_prefix(tmp_path: Path) -> None:
    with team(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "--static-prefix", "/ml") as server:
        for path in (MODELS, SERVERS):
            assert ask(server, {}, "GET", "/ml" + path).status == 401
            answer = ask(server, ANN, "GET", "/ml" + path)
            assert answer.status == 200, str(answer)


def test_all_processes_of_a_server_share_one_mlflow(postgres_server: str, tmp_path: Path) -> None:
    with (
        fresh_database(postgres_server) as uri,
        team(uri, tmp_path, "--workers", "2") as server,
    ):
        statuses = Counter(ask(server, ANN, "GET", SERVERS).status for _ in range(40))
        assert statuses == {200: 40}
        assert server.log().count("starting MLflow") == 1
