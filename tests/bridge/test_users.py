"""Stock MLflow behind the bridge of a server with users: its own rules, no passwords, no other clients."""

from __future__ import annotations

import base64
import dataclasses
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
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from tests.bridge.test_bridge import descendants
from tests.fix_server import base_environment
from tests.wire import Wire

from headrace.auth.authority import Caller
from headrace.auth.rules import ADMIN, ANYONE, OPEN, UNRULED
from headrace.bridge.bridge import Bridge
from headrace.bridge.gate import HEADER, REFUSAL
from headrace.bridge.package import installed
from headrace.bridge.shared_state import SharedStates
from headrace.bridge.signature import signed
from headrace.contract.errors import ApiError
from headrace.http.messages import Request, Response
from headrace.settings.auth import AuthSettings
from headrace.settings.load import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JOBS = "/ajax-api/3.0/jobs/search"
SECRETS = "/api/3.0/mlflow/gateway/secrets/list"
MODELS = "/gateway/mlflow/v1/models"
TRACES = "/api/3.0/mlflow/traces/search"
# Makes users and an experiment as a stock server does, then hashes that no password matches.
MAKE_USERS = """
import sys
from mlflow import MlflowClient
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
tracking, users = sys.argv[1:]
experiment = MlflowClient(tracking).create_experiment("shut")
store = SqlAlchemyStore()
store.init_db(users)
for name in ("root", "ann", "bob"):
    store.create_user(name, "a password of " + name, is_admin=name == "root")
store.grant_user_permission("bob", "experiment", experiment, "DENY")
print(experiment)
"""


class Stock:
    """A bridge with its MLflow, in this process."""

    def __init__(self, directory: Path) -> None:
        self.tracking = f"sqlite:///{directory}/mlflow.db"
        self.users = f"sqlite:///{directory}/users.db"
        command = [sys.executable, "-c", MAKE_USERS, self.tracking, self.users]
        made = subprocess.run(
            command, env=base_environment(), capture_output=True, text=True, check=True
        )
        self.experiment = made.stdout.split()[-1]
        with closing(sqlite3.connect(directory / "users.db")) as db, db:
            db.execute("UPDATE users SET password_hash = '!'")
            (self.users_head,) = db.execute(
                "SELECT version_num FROM alembic_version_auth"
            ).fetchone()
        with closing(sqlite3.connect(directory / "mlflow.db")) as db:
            (head,) = db.execute("SELECT version_num FROM alembic_version").fetchone()
        self.head = head
        self.states = SharedStates()
        self.bridge = self.new_bridge(self.users_head)

    def new_bridge(self, users_head: str) -> Bridge:
        """A bridge to this MLflow."""
        settings = load({"backend_store_uri": self.tracking}, {})
        auth = AuthSettings("READ", self.users)
        settings = dataclasses.replace(settings, auth=auth)
        return Bridge(settings, self.read_head, self.states, users_head)

    async def read_head(self) -> str:
        """The schema of the database."""
        return self.head

    @property
    def secret(self) -> str:
        """The secret of this start."""
        return self.states.plain.secret

    async def ask(
        self, user: str | None, method: str, target: str, body: Any = None, **headers: str
    ) -> Response:
        """The answer to a request whose sender headrace has checked."""
        path, _, query = target.partition("?")
        sent = {"host": "localhost", "content-type": "application/json", **headers}
        data = b"" if body is None else json.dumps(body).encode()
        if data:
            sent["content-length"] = str(len(data))
        request = Request(method, path, query, sent, target=target, client="127.0.0.1")
        request.give_body(data)
        request.caller = Caller(user)
        answer = await self.bridge.forward(request)
        assert answer is not None
        return answer

    def direct(self, method: str, target: str, **headers: str) -> Any:
        """The answer to another program of this machine."""
        with Wire(f"http://127.0.0.1:{self.states.plain.port}") as wire:
            return wire.ask(method, target, None, headers)


def end_watchdogs() -> None:
    """End MLflow, and wait for the thread that notes its end in the state of the bridge."""
    for pid, line in descendants(os.getpid()):
        if "watchdog.py" in line:
            os.kill(pid, signal.SIGTERM)
    for thread in threading.enumerate():
        if thread.name.endswith("(_note_end)"):
            thread.join(30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stock(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stock]:
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("MLFLOW_")}
    directory = tmp_path_factory.mktemp("bridge")
    where = Path.cwd()
    os.chdir(directory)
    running = Stock(directory)
    try:
        yield running
    finally:
        end_watchdogs()
        await running.bridge.close()
        os.chdir(where)
        os.environ.update(kept)


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_another_schema_of_the_users_starts_nothing(stock: Stock) -> None:
    """MLflow would migrate it. This test runs first."""
    request = Request("POST", JOBS, "", {"host": "localhost"})
    with pytest.raises(ApiError, match="database of users, which is at 000000000000"):
        await stock.new_bridge("000000000000").forward(request)
    assert not stock.states.plain.port
    package = installed()
    assert package is not None
    assert package.auth_head == stock.users_head


@pytest.mark.parametrize("path", [SECRETS, MODELS], ids=["flask", "fastapi"])
async def test_a_user_without_a_password_is_known_to_both_halves(stock: Stock, path: str) -> None:
    for user, status in (("root", 200), ("ann", 200)):
        answer = await stock.ask(user, "GET", path)
        assert (answer.status, user) == (status, user), answer.body


async def test_mlflow_applies_its_own_rules(stock: Stock) -> None:
    where = {"locations": [{"type": "MLFLOW_EXPERIMENT"}]}
    where["locations"][0]["mlflow_experiment"] = {"experiment_id": stock.experiment}  # type: ignore[assignment]
    for user, status in (("root", 200), ("ann", 200), ("bob", 403)):
        answer = await stock.ask(user, "POST", TRACES, where)
        assert (answer.status, user) == (status, user), answer.body
    answer = await stock.ask("ann", "POST", "/ajax-api/3.0/mlflow/demo/delete", {})
    assert (answer.status, answer.body) == (403, b"Permission denied")
    unknown = await stock.ask("nobody", "POST", TRACES, where)
    assert unknown.status in (401, 404), unknown.body


async def test_a_grant_counts_on_the_next_request(stock: Stock) -> None:
    path = f"/api/3.0/mlflow/scorers/list?experiment_id={stock.experiment}"
    assert (await stock.ask("bob", "GET", path)).status == 403
    file = stock.users.removeprefix("sqlite:///")
    for permission, status in (("EDIT", 200), ("DENY", 403)):
        with closing(sqlite3.connect(file)) as db, db:
            db.execute("UPDATE role_permissions SET permission = ?", (permission,))
        assert (await stock.ask("bob", "GET", path)).status == status


async def test_a_multi_root_query_of_graphql_is_judged_by_mlflow(stock: Stock) -> None:
    query = (
        "query q($data: MlflowGetExperimentInput!) "
        "{a: mlflowGetExperiment(input: $data) {experiment {name}} "
        "b: mlflowGetExperiment(input: $data) {experiment {name}}}"
    )
    body = {
        "query": query,
        "variables": {"data": {"experimentId": stock.experiment}},
        "operationName": "q",
    }
    seen = json.loads((await stock.ask("ann", "POST", "/graphql", body)).body)
    hidden = json.loads((await stock.ask("bob", "POST", "/graphql", body)).body)
    assert seen["data"]["a"]["experiment"]["name"] == "shut"
    assert hidden["data"] == {"a": None, "b": None}


SPELLINGS = [" {}", "+{}", "0{}", "{}\n", "{}.0", "\u0661"]
SEARCH_DATASETS = "/api/2.0mlflow/experiments/search-datasets"


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_misspelled_experiment_id_is_refused(stock: Stock, spelling: str) -> None:
    assert stock.experiment == "1"
    id_ = spelling.format(stock.experiment)
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id_}}
    camel = {"type": "MLFLOW_EXPERIMENT", "mlflowExperiment": {"experimentId": id_}}
    twice = json.dumps({"locations": [location]})
    query = "{a: mlflowGetExperiment(input: {experimentId: %s}) {experiment {name}}}"
    for method, target, body in (
        ("GET", f"/api/3.0/mlflow/scorers/list?{urlencode({'experiment_id': id_})}", None),
        ("POST", SEARCH_DATASETS, {"experiment_ids": ["0", id_]}),
        ("POST", "/api/3.0/mlflow/issues/search", {"experimentId": id_}),
        ("POST", TRACES, {"locations": [location]}),
        ("POST", TRACES, {"locations": [camel]}),
        ("POST", TRACES, twice),
        ("POST", "/graphql", {"query": query % json.dumps(id_)}),
    ):
        refused = await stock.ask("bob", method, target, body)
        assert (refused.status, refused.body) == (403, b"Permission denied"), (target, body)
    as_text = {"content-type": "application/jsonx"}
    refused = await stock.ask("bob", "POST", TRACES, {"locations": [location]}, **as_text)
    assert refused.status == 403


async def test_an_admin_may_misspell_an_experiment_id(stock: Stock) -> None:
    target = f"/api/3.0/mlflow/scorers/list?experiment_id=0{stock.experiment}"
    assert (await stock.ask("root", "GET", target)).status == 200


async def test_nobody_else_gets_in(stock: Stock) -> None:
    await stock.ask("root", "POST", JOBS, {})
    basic = "Basic " + base64.b64encode(b"root:a password of root").decode()
    secret_as_password = "Basic " + base64.b64encode(f"root:{stock.secret}".encode()).decode()
    for headers in (
        {},
        {HEADER: ""},
        {HEADER: stock.secret},
        {HEADER: "0" * 64},
        {HEADER: signed("0" * 64, "root", "GET", MODELS)},
        {HEADER: signed(stock.secret, "root", "GET", SECRETS)},
        {"Authorization": basic},
        {"Authorization": secret_as_password},
        {"X-MLflow-Authorization": basic},
        {"Authorization": "Bearer " + stock.secret},
    ):
        answer = stock.direct("GET", MODELS, **headers)
        assert (answer.status, answer.body) == (403, REFUSAL), headers
    for path in ("/health", "/version", "/", "/static-files/x", "/api/3.0/mlflow/server-info"):
        assert stock.direct("GET", path).status == 403, path


async def test_a_header_that_somebody_saw_is_worthless(stock: Stock) -> None:
    await stock.ask("root", "POST", JOBS, {})
    seen = signed(stock.secret, "root", "GET", MODELS)
    assert stock.direct("GET", MODELS, **{HEADER: seen}).status == 200
    assert stock.direct("GET", MODELS, **{HEADER: seen}).status == 403


async def test_headers_of_a_client_change_nothing(stock: Stock) -> None:
    basic = "Basic " + base64.b64encode(b"root:a password of root").decode()
    forged = signed("0" * 64, "root", "POST", JOBS)
    answer = await stock.ask(
        "ann",
        "POST",
        "/ajax-api/3.0/mlflow/demo/delete",
        {},
        **{HEADER: forged, "authorization": basic, "x-mlflow-authorization": basic},
    )
    assert answer.status == 403


async def test_the_rule_that_headrace_checks_first(stock: Stock) -> None:
    for method, path, rule in (
        ("GET", "/ajax-api/3.0/mlflow/demo/generate", UNRULED),  # a method that the route lacks
        ("OPTIONS", JOBS, OPEN),
        ("POST", "/ajax-api/3.0/mlflow/demo/delete", ADMIN),
        ("POST", TRACES, ANYONE),
        ("HEAD", MODELS, ANYONE),
        ("POST", "/graphql", ANYONE),
        ("GET", "/no/such/path", None),
    ):
        assert stock.bridge.rule(Request(method, path, "", {})) is rule
