"""Values of params, tags and tokens are in no output of headrace, for any request and any failure."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from tests.fix_postgres import PASSWORD_ROLE
from tests.fix_server import headrace
from tests.ops.test_doctor import command
from tests.ops.test_gc import run_sql
from tests.wire import Wire

from headrace.monitor.redacted import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2-open-sesame"
API = "/api/2.0/mlflow/"
HEADERS = {
    "Content-Type": "application/json",
    "Authorization": f"Bearer {SECRET}",
    "Cookie": f"session={SECRET}",
    "X-Api-Key": SECRET,
    "X-Request-Id": "request-1",
}
# Without the bridge, because headrace does not control MLflow's output.
LOUD = ("--log-requests", "--slow-request-ms", "1", "--no-bridge")


@pytest.fixture
def uri(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database; PostgreSQL's is reached with a password."""
    if database == "sqlite":
        yield f"sqlite:///{tmp_path}/mlflow.db"
        return
    plain = request.getfixturevalue("postgres_uri")
    parts = urlsplit(plain)
    with psycopg.connect(plain, autocommit=True) as admin:
        admin.execute(f"DROP ROLE IF EXISTS {PASSWORD_ROLE}".encode())
        admin.execute(f"CREATE ROLE {PASSWORD_ROLE} LOGIN PASSWORD '{SECRET}'".encode())
        admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {PASSWORD_ROLE}".encode())
        admin.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {PASSWORD_ROLE}".encode())
        try:
            yield f"postgresql://{PASSWORD_ROLE}:{SECRET}@127.0.0.1:{parts.port}{parts.path}"
        finally:
            admin.execute(f"DROP OWNED BY {PASSWORD_ROLE}".encode())
            admin.execute(f"DROP ROLE {PASSWORD_ROLE}".encode())


def bodies(run_id: str) -> list[tuple[str, Any]]:
    """Requests with the secret where values belong, right and wrong ones."""
    param, wild = {"key": "p", "value": SECRET}, {"key": "p", "value": SECRET + "\ud800"}
    point = {"key": "m", "value": SECRET, "timestamp": SECRET, "step": 2**70}
    return [
        ("runs/log-batch", {"run_id": run_id, "params": [param], "tags": [param]}),
        ("runs/log-batch", {"run_id": run_id, "params": [{"key": "p", "value": SECRET + "2"}]}),
        ("runs/log-batch", {"run_id": run_id, "params": [wild], "tags": [wild]}),
        ("runs/log-batch", {"run_id": run_id, "params": [{"key": "q", "value": SECRET * 999}]}),
        ("runs/log-batch", {"run_id": run_id, "metrics": [point]}),
        ("runs/log-batch", {"run_id": run_id, "params": SECRET}),
        ("runs/log-parameter", {"run_id": run_id, "key": "p", "value": [SECRET]}),
        ("runs/set-tag", {"run_id": run_id, "key": "t\x00", "value": SECRET + "\x00"}),
        ("runs/update", {"run_id": run_id, "end_time": SECRET, "status": SECRET}),
        ("runs/search", {"experiment_ids": ["0"], "filter": f"params.p = '{SECRET}"}),
        ("runs/search", {"experiment_ids": ["0"], "filter": f"params.p = '{SECRET}'"}),
        ("registered-models/create", {"name": "n", "tags": [param]}),
        ("registered-models/create", {"name": "n", "tags": [param]}),
        ("experiments/create", {"name": "n", "tags": [wild]}),
        ("logged-models", {"experiment_id": "0", "name": "m", "params": [param], "tags": [wild]}),
    ]


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_value_is_ever_in_the_log(uri: str, style: str, tmp_path: Path) -> None:
    """At the level debug, with every request logged, and after a table is dropped."""
    options = (*LOUD, "--log-level", "debug", "--log-format", style)
    with headrace(uri, tmp_path, *options) as server, Wire(server.url) as wire:

        def send(method: str, path: str, body: bytes | None = None) -> int:
            return wire.ask(method, path, body, HEADERS).status

        made = wire.ask("POST", API + "runs/create", b'{"experiment_id": "0"}', HEADERS).json()
        run_id = made["run"]["info"]["run_id"]
        statuses = set()
        for path, body in bodies(run_id):
            raw = json.dumps(body).encode()
            statuses |= {send("POST", API + path, raw), send("POST", API + path, raw[:-3])}
        assert statuses == {200, 400}
        send("GET", f"{API}runs/get?run_id={SECRET}&token={SECRET}")
        send("GET", f"/no/such/{SECRET}?token={SECRET}")
        send("PUT", "/api/2.0/mlflow-artifacts/artifacts/a", SECRET.encode())
        send("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{quote('../' + SECRET)}", b"x")
        send("POST", "/graphql", json.dumps({"query": SECRET}).encode())
        run_sql(admin_of(uri), "DROP TABLE tags")
        for path, body in bodies(run_id)[:1]:
            assert send("POST", API + path, json.dumps(body).encode()) == 500
        text = server.log_path.read_text(errors="replace")
    assert SECRET not in text
    assert "hunter2" not in text
    assert text.count("request-1") > 20, "nothing was logged"
    assert f"POST {API}runs/log-batch failed" in text
    assert "Traceback" in text


def test_an_exception_is_logged_by_its_kind() -> None:
    """Its text, and that of its cause, may contain data of the client."""
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise KeyError(SECRET) from error
    except KeyError as error:
        shown = "".join(traceback.format_exception(redacted(error)))
    assert SECRET not in shown.replace("int(SECRET)", "").replace("KeyError(SECRET)", "")
    assert "builtins.KeyError" in shown
    assert "builtins.ValueError" in shown
    assert "test_secrets.py" in shown


def admin_of(uri: str) -> str:
    """The same database for a role that may drop tables."""
    return uri.replace(f"{PASSWORD_ROLE}:{SECRET}@", "postgres@")


@pytest.mark.parametrize(
    "words",
    [
        ("doctor", "URI"),
        ("gc", "URI", "--older-than", "1d"),
        ("backup", "URI", "copy.db"),
        ("restore", "copy.db", "URI"),
        ("db", "check", "URI"),
        ("db", "init", "URI"),
        ("db", "upgrade", "URI"),
        ("db", "release", "URI"),
        ("db", "recompute-latest", "URI"),
        ("config", "--backend-store-uri", "URI"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_no_command_shows_a_password(words: tuple[str, ...]) -> None:
    """Of a database that does not answer."""
    uri = f"postgresql://somebody:{SECRET}@127.0.0.1:1/nothing"
    done = command(*(uri if word == "URI" else word for word in words))
    assert done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
