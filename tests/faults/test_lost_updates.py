"""Two writers of the same rows: each takes the other's writes into account, so no acknowledged write is lost.

If the order matters, the second writer is a session of the test that keeps its transaction open until the server
waits for it.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.fix_server import headrace
from tests.waiting import eventually, in_background
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_server import Server
    from tests.wire import Answer

JSON = {"Content-Type": "application/json"}
OPEN = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
EVENTS = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
HISTORY = "mlflow.log-model.history"
MAX_VIEWS = 50
LIMIT_S = 30
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def send(url: str, method: str, path: str, body: dict[str, Any]) -> Answer:
    with Wire(url) as wire:
        return wire.ask(method, f"/api/2.0/mlflow/{path}", json.dumps(body).encode(), JSON)


def ok(at: str, path: str, **body: Any) -> Any:
    answer = send(at, "POST", path, body)
    assert answer.status == 200, str(answer)
    return answer.json()


def new_run(url: str) -> str:
    made: str = ok(url, "runs/create", experiment_id="0")["run"]["info"]["run_id"]
    return made


def tags_of(url: str, run_id: str) -> dict[str, str]:
    with Wire(url) as wire:
        found = wire.ask("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}").json()
    return {tag["key"]: tag["value"] for tag in found["run"]["data"]["tags"]}


def model(run_id: str, path: str) -> str:
    parts = {"artifact_path": path, "flavors": {}, "utc_time_created": "x", "run_id": run_id}
    return json.dumps(parts)


@contextmanager
def other_writer(uri: str, *statements: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that has run the statements and is still open."""
    with psycopg.connect(uri) as session:
        for statement in statements:
            session.execute(statement.encode())
        yield session


class Call:
    """A request sent while another writer's transaction is open."""

    def __init__(self, url: str, method: str, path: str, **body: Any) -> None:
        self._answer = in_background(lambda: send(url, method, path, body))

    def after(self, other: psycopg.Connection[Any]) -> Answer:
        """The answer, after the other writer commits when this request waits for it."""
        with psycopg.connect(other.info.dsn, autocommit=True) as watch:

            def waits() -> bool:
                assert not self._answer.done(), f"did not wait: {self._answer.result()}"
                return watch.execute(WAITING).fetchone() != (0,)

            eventually(waits, LIMIT_S, what="it waits for the other writer")
        other.commit()
        return self._answer.result(LIMIT_S)


@pytest.fixture
def two_servers(uri: str, tmp_path: Path) -> Iterator[list[Server]]:
    """Two servers, one process each, on one database."""
    with ExitStack() as stack:
        yield [stack.enter_context(headrace(uri, tmp_path)) for _ in range(2)]


@pytest.fixture
def server(postgres_uri: str, tmp_path: Path) -> Iterator[Server]:
    with headrace(postgres_uri, tmp_path, environment=OPEN) as found:
        yield found


def test_every_model_that_was_logged_is_in_the_history(two_servers: list[Server]) -> None:
    for _ in range(5):
        run_id = new_run(two_servers[0].url)

        def log(number: int, run_id: str = run_id) -> int:
            body = {"run_id": run_id, "model_json": model(run_id, f"m{number}")}
            return send(two_servers[number % 2].url, "POST", "runs/log-model", body).status

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(log, range(6))) == {200}
        history = json.loads(tags_of(two_servers[0].url, run_id)[HISTORY])
        assert sorted(entry["artifact_path"] for entry in history) == [f"m{n}" for n in range(6)]


def test_every_version_is_noted_on_its_logged_model(two_servers: list[Server]) -> None:
    url = two_servers[0].url
    made = ok(url, "logged-models", experiment_id="0", name="m")["model"]["info"]
    for name in ("a", "b", "c", "d"):
        ok(url, "registered-models/create", name=name)

    def register(name: str) -> int:
        body = {"name": name, "source": f"models:/{made['model_id']}", "model_id": made["model_id"]}
        at = two_servers[name in "ab"].url
        return send(at, "POST", "model-versions/create", body).status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(register, "abcd")) == {200}
    with Wire(url) as wire:
        shown = wire.ask("GET", f"/api/2.0/mlflow/logged-models/{made['model_id']}").json()
    tags = {tag["key"]: tag["value"] for tag in shown["model"]["info"]["tags"]}
    noted = json.loads(tags["mlflow.modelVersions"])
    assert sorted(one["name"] for one in noted) == ["a", "b", "c", "d"]


def test_a_logged_model_is_appended_to_the_history_that_is_being_set(
    server: Server, postgres_uri: str
) -> None:
    run_id = new_run(server.url)
    others = f"INSERT INTO tags VALUES ('{HISTORY}', '[1]', '{run_id}')"
    with other_writer(postgres_uri, others) as other:
        body = {"run_id": run_id, "model_json": model(run_id, "mine")}
        call = Call(server.url, "POST", "runs/log-model", **body)
        assert call.after(other).status == 200
    history = json.loads(tags_of(server.url, run_id)[HISTORY])
    assert history[0] == 1
    assert history[1]["artifact_path"] == "mine"


def test_an_experiment_never_has_a_view_too_many(server: Server, postgres_uri: str) -> None:
    for number in range(MAX_VIEWS - 1):
        key = f"mlflow.customView.view{number}"
        ok(server.url, "experiments/set-experiment-tag", experiment_id="0", key=key, value="{}")
    locked = "SELECT 1 FROM experiments WHERE experiment_id = 0 FOR NO KEY UPDATE"
    last = "INSERT INTO experiment_tags VALUES ('mlflow.customView.viewLast', '{}', 0)"
    with other_writer(postgres_uri, locked, last) as other:
        body = {"experiment_id": "0", "key": "mlflow.customView.viewMine", "value": "{}"}
        call = Call(server.url, "POST", "experiments/set-experiment-tag", **body)
        answer = call.after(other)
    assert answer.status == 400
    assert b"maximum number of custom views" in answer.body


def test_updates_of_a_webhook_keep_what_they_do_not_name(server: Server, postgres_uri: str) -> None:
    url = "http://127.0.0.1:9/"
    made = ok(server.url, "webhooks", name="hook", url=url, events=EVENTS, secret="s")["webhook"]
    described = "UPDATE webhooks SET description = 'of the other', status = 'DISABLED'"
    with other_writer(postgres_uri, described) as other:
        call = Call(server.url, "PATCH", f"webhooks/{made['webhook_id']}", name="renamed")
        answer = call.after(other)
    assert answer.status == 200
    shown = answer.json()["webhook"]
    assert (shown["name"], shown["description"], shown["status"], shown["url"]) == (
        "renamed", "of the other", "DISABLED", url,
    )  # fmt: skip


def test_an_alias_never_names_a_version_that_is_being_deleted(
    server: Server, postgres_uri: str
) -> None:
    ok(server.url, "registered-models/create", name="m")
    ok(server.url, "model-versions/create", name="m", source="s3://bucket/m")
    deletion = (
        "UPDATE registered_models SET last_updated_time = 1",
        "DELETE FROM registered_model_aliases",
        "UPDATE model_versions SET current_stage = 'Deleted_Internal'",
    )
    with other_writer(postgres_uri, *deletion) as other:
        body = {"name": "m", "alias": "champion", "version": "1"}
        call = Call(server.url, "POST", "registered-models/alias", **body)
        assert call.after(other).status == 404


def test_no_run_is_made_in_an_experiment_that_is_being_deleted(
    server: Server, postgres_uri: str
) -> None:
    deletion = "UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 0"
    with other_writer(postgres_uri, deletion) as other:
        call = Call(server.url, "POST", "runs/create", experiment_id="0")
        answer = call.after(other)
    assert answer.status == 400
    assert b"must be in the 'active' state" in answer.body
