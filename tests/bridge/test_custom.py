"""A custom authorization_function: the answers of stock MLflow, but one call for each request."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.bridge.test_users_server import SECRETS, configured
from tests.fix_server import Server, base_environment, headrace, stock
from tests.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"
SERVERS = "/api/3.0/mlflow/mcp-servers"
MODELS = "/gateway/mlflow/v1/models"
CREATE = "/api/2.0/mlflow/experiments/create"
# A plug-in that trusts a header, as teams write them, and counts its calls in a file.
PLUGIN = """
import os
from flask import Response, make_response, redirect, request
from mlflow.exceptions import MlflowException
from mlflow.server.auth import store
from werkzeug.datastructures import Authorization


def authorize():
    with open("calls", "a") as calls:
        calls.write(request.method + " " + request.full_path + "\\n")
    wanted = request.headers.get("X-User")
    if wanted is None:
        answer = make_response("who are you?")
        answer.status_code = 401
        answer.headers["WWW-Authenticate"] = "Custom"
        return answer
    if wanted == "redirect":
        return redirect("https://id.example.com/login")
    if wanted == "number":
        return 5
    if wanted == "denied":
        raise MlflowException("not today", error_code=7)
    if wanted == "broken":
        raise ValueError("broken")
    if wanted == "new" and not store.has_user("new"):
        store.create_user("new", "a password of nobody")
    return Authorization("custom", {"username": wanted})
"""
REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("GET", SEARCH, None),
    ("POST", CREATE, {}),
    ("GET", SERVERS, None),
    ("GET", "/version", None),
    ("GET", "/api/2.0/mlflow/users/current", None),
    ("GET", "/health", None),
    ("GET", "/api/2.0/mlflow/webhooks", None),
)
NO_USERS = ("nobody", "")  # names that the plug-in gives and no user has
USERS = (None, "admin", "new", "nobody", "", "number", "denied")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Stock and headrace, each with the plug-in and its own database."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name, start in (("stock", stock), ("headrace", headrace)):
            directory = tmp_path_factory.mktemp(name)
            (directory / "plugin.py").write_text(PLUGIN)
            uri = f"sqlite:///{directory}/mlflow.db"
            keys = {"authorization_function": "plugin:authorize"}
            environment = SECRETS | configured(uri, directory, **keys)
            environment["PYTHONPATH"] = f"{base_environment()['PYTHONPATH']}"
            options = ("--app-name", "basic-auth")
            server = start(uri, directory, *options, environment=environment)
            found[name] = stack.enter_context(server)
        yield found


def ask(server: Server, user: str | None, method: str, path: str, body: Any = None) -> Answer:
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    if user is not None:
        headers["x-user"] = user
    with Wire(server.url) as wire:
        return wire.ask(method, path, data, headers)


@pytest.mark.parametrize("user", USERS)
def test_the_answers_are_those_of_stock(servers: dict[str, Server], user: str | None) -> None:
    for method, path, fields in REQUESTS:
        body = None if fields is None else {"name": f"of {user}"}
        expected, found = (ask(servers[name], user, method, path, body) for name in servers)
        where = f"{user} {method} {path}: {expected} / {found}"
        if path == SERVERS and user in NO_USERS:
            # MLflow's routes of FastAPI call it a login that failed, its others a missing user.
            assert (expected.status, found.status) == (401, 404), where
            continue
        assert found.status == expected.status, where
        for name in ("www-authenticate", "location", "content-type"):
            assert found.headers.get(name) == expected.headers.get(name), where
        if path.endswith("/users/current") and expected.status == 200:
            assert found.json()["is_basic_auth"] is expected.json()["is_basic_auth"] is False
        if expected.status >= 300:
            assert found.body == expected.body or found.json() == expected.json(), where


def test_a_redirection_is_sent_as_it_is(servers: dict[str, Server]) -> None:
    """Stock fails on some routes, because it takes any answer below 400 for a success."""
    for method, path, fields in REQUESTS[:4]:
        answer = ask(servers["headrace"], "redirect", method, path, fields)
        assert (answer.status, answer.headers["location"]) == (302, "https://id.example.com/login")


def test_an_exception_of_the_function_is_an_internal_error(servers: dict[str, Server]) -> None:
    for server in servers.values():
        assert ask(server, "broken", "GET", SEARCH).status == 500
    log = servers["headrace"].log()
    assert "ValueError" in log


def test_the_function_is_called_once_for_each_request(servers: dict[str, Server]) -> None:
    server = servers["headrace"]
    calls = server.directory / "calls"
    for method, path, body in (
        ("GET", SEARCH, None),
        ("GET", SERVERS, None),  # MLflow answers these
        ("GET", MODELS, None),
        ("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": ["0"]}),
    ):
        calls.write_text("")
        assert ask(server, "new", method, path, body).status == 200
        assert len(calls.read_text().splitlines()) == 1
        assert path.partition("?")[0] in calls.read_text()


def test_a_function_that_cannot_be_imported_stops_the_start(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    environment = configured(uri, tmp_path, authorization_function="no_such_plugin:authorize")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")):
        pass
    command = [sys.executable, "-m", "headrace.commands.cli", "server", "--port", "0"]
    done = subprocess.run(
        [*command, "--backend-store-uri", uri, "--app-name", "basic-auth"],
        env=base_environment() | SECRETS | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "authorization_function no_such_plugin:authorize cannot be imported" in done.stderr
    assert "Traceback" not in done.stderr
