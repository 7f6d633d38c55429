"""Only headrace may start MLflow or send it requests, no other program on the machine."""

from __future__ import annotations

import base64
import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.bridge.test_bridge import BRIDGED, ask, mlflow_processes
from tests.fix_server import headrace
from tests.waiting import eventually
from tests.wire import Wire

from headrace.bridge.gate import HEADER, REFUSAL, USER, AsgiGate, WsgiGate
from headrace.bridge.shared_state import FIRST_PAUSE_S, LONGEST_PAUSE_S, SharedState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

SECRET = "0123456789abcdef"
RIGHT = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
FOREIGN: dict[str, dict[str, str]] = {
    "an image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "an image of a sibling": {"Sec-Fetch-Site": "same-site"},
    "an origin": {"Origin": "https://evil.example.com"},
    "no origin at all": {"Origin": "null"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    with headrace(f"sqlite:///{directory}/mlflow.db", directory) as running:
        yield running


@pytest.mark.parametrize("page", FOREIGN)
def test_a_page_of_another_origin_starts_no_process(server: Server, page: str) -> None:
    for method, path in (
        ("GET", BRIDGED),
        ("GET", "/ajax-api/3.0/mlflow/mcp-servers"),
        ("POST", "/gateway/mlflow/v1/chat/completions"),
    ):
        with Wire(server.url) as wire:
            answer = wire.ask(method, path, b"" if method == "POST" else None, FOREIGN[page])
        assert answer.status == 403, str(answer)
    assert server.log().count("starting MLflow") == 0


def test_the_port_of_mlflow_is_useless_without_the_secret(server: Server) -> None:
    """It runs after the tests above, which need that no MLflow runs."""
    assert ask(server, "GET", BRIDGED).status == 200
    port = port_of(server)
    for headers in (
        {},
        {HEADER: ""},
        {HEADER: "0" * 64},
        {"Authorization": "Basic aGVhZHJhY2U6"},
        {"Host": f"127.0.0.1:{port}", "Origin": "http://localhost"},
    ):
        with Wire(f"http://127.0.0.1:{port}") as wire:
            for method, path in (("GET", "/health"), ("GET", BRIDGED), ("GET", "/")):
                answer = wire.ask(method, path, None, headers)
                assert (answer.status, answer.body) == (403, REFUSAL)
    # A client of headrace cannot send the secret either, nor read it.
    answer = ask(server, "GET", BRIDGED, x_headrace_bridge="0" * 64)
    assert answer.status == 200
    assert HEADER not in answer.headers


def test_routes_of_mlflow_keep_to_the_artifact_directories(server: Server) -> None:
    outside = server.directory / "outside"
    for location, seen in ((outside, False), (server.directory / "mlruns/x", True)):
        body = {"name": location.name, "artifact_location": str(location)}
        exp = ask(server, "POST", "/api/2.0/mlflow/experiments/create", body).json()
        run = ask(server, "POST", "/api/2.0/mlflow/runs/create", exp).json()["run"]["info"]
        place = location / run["run_id"] / "artifacts"
        place.mkdir(parents=True)
        (place / "secret").write_bytes(b"x")
        answer = ask(server, "POST", "/graphql", listing(run["run_id"]))
        assert ("secret" in answer.body.decode()) is seen, str(answer)
        assert ("--local-artifact-roots" in server.log() + answer.body.decode()) or seen


def listing(run_id: str) -> dict[str, Any]:
    """A query that headrace leaves to MLflow."""
    query = (
        "query q($data: MlflowListArtifactsInput!) {mlflowListArtifacts(input: $data) "
        "{files {path} apiError {message}}}"
    )
    return {"query": query, "variables": {"data": {"runId": run_id}}, "operationName": "q"}


def test_with_job_runners_it_is_as_closed(server: Server) -> None:
    """MLflow's own jobs are its clients; they have the secret as user and password."""
    body = {"job_name": "no-such-job", "params": {}}
    answer = ask(server, "POST", "/ajax-api/3.0/jobs/", body)
    assert answer.status == 400, str(answer)
    port = port_of(server)
    with Wire(f"http://127.0.0.1:{port}") as wire:
        assert wire.ask("GET", "/health").status == 403
    (pid,) = [p for p in mlflow_processes(server) if f"--port {port}" in arguments(p)]
    variables = environment_of(pid)
    pair = f"{variables['MLFLOW_TRACKING_USERNAME']}:{variables['MLFLOW_TRACKING_PASSWORD']}"
    sent = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    with Wire(f"http://127.0.0.1:{port}") as wire:
        assert wire.ask("GET", "/health", headers=sent).status == 200


def port_of(server: Server) -> int:
    return int(re.findall(r"MLflow answers on port (\d+)", server.log())[-1])


def arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def has_ended(server: Server, times: int) -> bool:
    return server.log().count("MLflow ended unexpectedly") == times


def test_an_mlflow_that_keeps_ending_is_not_started_at_once_again(tmp_path: Path) -> None:
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server:
        for number in (1, 2):
            eventually(lambda: ask(server, "GET", BRIDGED).status == 200, what="it answers")
            (pid,) = mlflow_processes(server)
            os.kill(pid, signal.SIGKILL)
            eventually(partial(has_ended, server, number), what="its end is noticed")
        answer = ask(server, "GET", BRIDGED)
        assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
        assert server.log().count("starting MLflow") == 2


def test_every_failure_doubles_the_pause_for_all_processes() -> None:
    state = SharedState()
    assert state.pause_s == 0
    pauses = []
    for _ in range(12):
        state.failed()
        pauses.append(state.pause_s)
    assert pauses[:3] == pytest.approx([FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S], 0.1)
    assert max(pauses) <= LONGEST_PAUSE_S
    state.forget_failures()
    state.failed(first_is_free=True)
    assert state.pause_s == 0
    state.failed(first_is_free=True)
    assert state.pause_s > 0
    state.close()


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, False),
        ({HEADER: SECRET}, True),
        ({HEADER: SECRET + "0"}, False),
        ({"authorization": f"Basic {RIGHT}"}, True),
        ({"authorization": f"Bearer {SECRET}"}, False),
    ],
)
async def test_both_gates_ask_for_the_secret(headers: dict[str, str], passes: bool) -> None:
    """MLflow 3 is an ASGI application, MLflow 2 a WSGI application."""
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        # The AI gateway of MLflow sends the headers of a request to the provider.
        assert HEADER.encode() not in dict(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    gate = AsgiGate(application, SECRET)
    await gate({"type": "http", "path": "/", "headers": raw}, receive, send)
    assert sent[0]["status"] == (200 if passes else 403)
    sent.clear()
    await gate({"type": "websocket", "path": "/", "headers": raw}, receive, send)
    assert (sent[0]["type"] == "websocket.close") is not passes

    statuses = []
    environ = {"HTTP_" + n.upper().replace("-", "_"): value for n, value in headers.items()}

    def start(status: str, _: Any) -> None:
        statuses.append(status)

    def flask(_: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    WsgiGate(flask, SECRET)(environ, start)
    assert statuses == ["200 OK" if passes else "403 Forbidden"]
