"""Which requests the gate of a server with users admits, as whom, and with which headers."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from headrace.bridge.gate import HEADER
from headrace.bridge.signature import signed, ticket
from headrace.bridge.users import UsersGate, _caller

SECRET = "0123456789abcdef" * 4
JOB_TOKEN = "fedcba9876543210" * 4


class Gated:
    """A gate in front of an application that keeps what it got."""

    def __init__(self, prefix: str = "") -> None:
        self.user: str | None = None
        self.headers: dict[str, str] = {}
        self.gate = UsersGate(self.application, SECRET, JOB_TOKEN, prefix)

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        """Keep user and headers."""
        self.user = _caller.get()
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(self, path: str, headers: dict[str, str], kind: str = "http") -> int:
        """The status of the answer; of a websocket, its code."""
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {}

        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": kind, "method": "GET", "path": path, "raw_path": path.encode()}
        await self.gate({**scope, "query_string": b"", "headers": raw}, receive, send)
        assert _caller.get() is None
        first = sent[0]
        return int(first["status"] if kind == "http" else first["code"])


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_mlflow_sees_neither_the_signature_nor_credentials() -> None:
    gated = Gated()
    sent = {
        HEADER: signed(SECRET, "ann", "GET", "/x"),
        "Authorization": "Bearer abc",
        "X-MLflow-Authorization": "Basic abc",
        "Cookie": "session=abc",
        "X-Request-Id": "1",
    }
    assert await gated.ask("/x", sent) == 200
    assert gated.user == "ann"
    assert gated.headers == {"x-request-id": "1"}


@pytest.mark.parametrize("prefix", ["", "/mlflow"])
async def test_a_key_of_the_provider_stays_and_credentials_become_a_ticket(prefix: str) -> None:
    gated = Gated(prefix)
    path = prefix + "/gateway/openai/v1/responses"
    key = {"Authorization": "Bearer sk-1", "X-MLflow-Authorization": basic("ann", "pw")}
    assert await gated.ask(path, {HEADER: signed(SECRET, "ann", "GET", path), **key}) == 200
    assert gated.headers == {"authorization": "Bearer sk-1"}
    own = {"Authorization": basic("ann", "pw"), "Cookie": "a=b"}
    assert await gated.ask(path, {HEADER: signed(SECRET, "ann", "GET", path), **own}) == 200
    assert list(gated.headers) == ["authorization"]
    replayed = gated.headers["authorization"]
    assert replayed != own["Authorization"]
    gated.user = None
    assert await gated.ask(path, {"Authorization": replayed}) == 200
    assert gated.user == "ann"
    assert await gated.ask(prefix + "/v1/traces", {"Authorization": replayed}) == 403


async def test_jobs_of_mlflow_reach_only_the_gateway() -> None:
    gated = Gated()
    sent = {"Authorization": basic("ann", JOB_TOKEN)}
    assert await gated.ask("/gateway/mlflow/v1/chat/completions", sent) == 200
    assert gated.user == "ann"
    for path in ("/", "/v1/traces", "/ajax-api/3.0/jobs/search", "/gatewayx", "/health"):
        assert await gated.ask(path, sent) == 403, path


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic %%%",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        basic("ann", ""),
        basic("", JOB_TOKEN),
        basic("ann", SECRET),
        basic("ann", JOB_TOKEN + "0"),
        basic("ann", ticket(SECRET, "bob", "/gateway/", 60)),
        basic("ann", ticket(SECRET, "ann", "/", 60)),
        basic("ann", ticket(SECRET, "ann", "/gateway/", -1)),
        "Bearer " + JOB_TOKEN,
    ],
)
async def test_nothing_else_opens_the_gateway(value: str) -> None:
    gated = Gated()
    assert await gated.ask("/gateway/mlflow/v1/models", {"Authorization": value}) == 403
    assert gated.user is None


async def test_without_a_job_token_no_password_is_one() -> None:
    gated = Gated()
    gated.gate = UsersGate(gated.application, SECRET)
    sent = {"Authorization": basic("ann", "")}
    assert await gated.ask("/gateway/mlflow/v1/models", sent) == 403


async def test_the_plain_secret_opens_only_the_probe() -> None:
    gated = Gated()
    assert await gated.ask("/health", {HEADER: SECRET}) == 200
    assert gated.user is None
    for path in ("/", "/version", "/healthy", "/api/3.0/mlflow/server-info"):
        assert await gated.ask(path, {HEADER: SECRET}) == 403
    assert await gated.ask("/health", {HEADER: SECRET}, "websocket") == 1008
