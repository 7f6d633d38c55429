"""Scorers and review queues through MLflow's own client, without stock MLflow behind the server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import mlflow
import pytest
from mlflow.exceptions import RestException
from mlflow.genai import review_queues
from mlflow.genai.label_schemas import InputPassFail, create_label_schema
from mlflow.genai.scorers import (
    Safety,
    delete_scorer,
    get_scorer,
    list_scorers,
    scorer,
)
from mlflow.genai.scorers.registry import list_scorer_versions
from tests.fix_database import empty_database
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

SCORERS = "/api/3.0/mlflow/scorers"
QUEUES = "/api/3.0/mlflow/review-queues"
JSON = {"Content-Type": "application/json"}
ENVIRONMENT = {"HEADRACE_BRIDGE": "off", "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "true"}


@scorer
def is_short(outputs: Any) -> bool:
    """Plain code, whose source the client registers."""
    return len(str(outputs)) < 10


@pytest.fixture(scope="module")
def server(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("scorers")
    with (
        empty_database(database, request, directory) as uri,
        headrace(uri, directory, environment=ENVIRONMENT) as running,
    ):
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(running.url)
        try:
            yield running
        finally:
            mlflow.set_tracking_uri(before)


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.url) as connection:
        yield connection


@pytest.fixture
def experiment(server: Server, request: pytest.FixtureRequest) -> str:
    return mlflow.create_experiment(f"of {request.node.name}")


def ok(wire: Wire, method: str, path: str, body: Any = None) -> Any:
    """The JSON of an answer that must be 200."""
    answer = wire.ask(method, path, None if body is None else json.dumps(body).encode(), JSON)
    assert answer.status == 200, f"{path}: {answer}"
    return answer.json()


def new_traces(wire: Wire, experiment: str, count: int) -> list[str]:
    """The ids of new traces, in their order."""
    ids = [f"tr-{experiment}-{n:03}" for n in range(count)]
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    for trace_id in ids:
        info = {"trace_id": trace_id, "trace_location": place, "state": "OK"}
        ok(wire, "POST", "/api/3.0/mlflow/traces", {"trace": {"trace_info": info}})
    return ids


def test_the_client_manages_scorers(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "true")  # to load the code again
    is_short.register(experiment_id=experiment, name="short")
    is_short.register(experiment_id=experiment, name="short")
    Safety().register(experiment_id=experiment)
    names = [one.name for one in list_scorers(experiment_id=experiment)]
    assert names == ["safety", "short"]
    found = get_scorer(name="short", experiment_id=experiment)
    assert found(outputs="abc") is True
    assert get_scorer(name="short", experiment_id=experiment, version=1).name == "short"
    assert [n for _, n in list_scorer_versions(name="short", experiment_id=experiment)] == [1, 2]
    delete_scorer(name="short", experiment_id=experiment, version=1)
    assert [n for _, n in list_scorer_versions(name="short", experiment_id=experiment)] == [2]
    delete_scorer(name="short", experiment_id=experiment, version="all")
    with pytest.raises(RestException, match="Scorer with name 'short' not found"):
        get_scorer(name="short", experiment_id=experiment)
    assert [one.name for one in list_scorers(experiment_id=experiment)] == ["safety"]


def test_the_client_manages_review_queues(wire: Wire, experiment: str) -> None:
    schema = create_label_schema(
        "ok", type="feedback", input=InputPassFail("yes", "no"), experiment_id=experiment
    )
    (trace_id,) = new_traces(wire, experiment, 1)
    queue = review_queues.create_review_queue(
        "Hard ones",
        queue_type="custom",
        users=["Bob", "amy"],
        schema_ids=[schema.schema_id],
        experiment_id=experiment,
    )
    assert queue.users == ["amy", "bob"]
    review_queues.update_review_queue(queue.queue_id, name="Harder", users=[])
    own = review_queues.get_or_create_user_queue("Amy", experiment_id=experiment)
    again = review_queues.get_or_create_user_queue("amy", experiment_id=experiment)
    assert own.queue_id == again.queue_id
    found = review_queues.get_review_queue(name="harder", experiment_id=experiment)
    assert (found.queue_id, found.users) == (queue.queue_id, [])
    review_queues.add_items_to_review_queue(queue.queue_id, item_ids=[trace_id])
    review_queues.set_review_queue_item_status(
        queue.queue_id, item_id=trace_id, status="complete", completed_by="amy"
    )
    (item,) = review_queues.list_review_queue_items(queue.queue_id, status="complete")
    assert (item.item_id, item.completed_by) == (trace_id, "amy")
    review_queues.remove_items_from_review_queue(queue.queue_id, item_ids=[trace_id])
    assert not review_queues.list_review_queue_items(queue.queue_id)
    of_amy = review_queues.list_review_queues(user="amy", experiment_id=experiment)
    assert [one.queue_id for one in of_amy] == [own.queue_id]
    for one in (queue, own):
        review_queues.delete_review_queue(one.queue_id)
    assert not review_queues.list_review_queues(experiment_id=experiment)


def test_simultaneous_registrations_get_different_versions(
    server: Server, wire: Wire, experiment: str
) -> None:
    body = {"experiment_id": experiment, "name": "s", "serialized_scorer": "{}"}

    def register(_: int) -> int:
        with Wire(server.url) as own:
            found: int = ok(own, "POST", f"{SCORERS}/register", body)["version"]
            return found

    with ThreadPoolExecutor(8) as pool:
        versions = sorted(pool.map(register, range(16)))
    assert versions == list(range(1, 17))
    listed = ok(wire, "GET", f"{SCORERS}/list?experiment_id={experiment}")["scorers"]
    assert [one["scorer_version"] for one in listed] == [16]


def test_simultaneous_requests_for_a_users_queue_create_one(
    server: Server, experiment: str
) -> None:
    def asked(_: int) -> str:
        with Wire(server.url) as own:
            body = {"experiment_id": experiment, "user": "Amy"}
            answer = ok(own, "POST", f"{QUEUES}/get-or-create-user", body)
            found: str = answer["review_queue"]["queue_id"]
            return found

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(asked, range(16)))) == 1


def test_all_scorers_of_active_experiments_are_listed_by_name(wire: Wire, experiment: str) -> None:
    """More than one batch of names, with the order of Python's texts."""
    gone = mlflow.create_experiment("soon gone of scorers")
    names = ["b", "B", "\u00e4", "a b", "\U0001f600", *(f"n{n:04}" for n in range(1100))]
    for name in names:
        body = {"experiment_id": experiment, "name": name, "serialized_scorer": '{"a":1}'}
        ok(wire, "POST", f"{SCORERS}/register", body)
    ok(wire, "POST", f"{SCORERS}/register", body | {"experiment_id": gone})
    mlflow.delete_experiment(gone)
    for query in ("", f"?experiment_ids={experiment}&experiment_ids={gone}"):
        found = ok(wire, "GET", f"{SCORERS}/list{query}").get("scorers", [])
        mine = [one for one in found if one["experiment_id"] == int(experiment)]
        assert [one["scorer_name"] for one in mine] == sorted(names)
        assert {one["serialized_scorer"] for one in mine} == {'{"a": 1}'}
        assert int(gone) not in {one["experiment_id"] for one in found}
    assert ok(wire, "GET", f"{SCORERS}/list?experiment_ids={gone}") == {}


def test_a_long_queue_is_read_in_pages(wire: Wire, experiment: str) -> None:
    ids = new_traces(wire, experiment, 250)
    body = {"experiment_id": experiment, "name": "long", "queue_type": "CUSTOM"}
    queue = ok(wire, "POST", f"{QUEUES}/create", body)["review_queue"]["queue_id"]
    added = ok(wire, "POST", f"{QUEUES}/items/add", {"queue_id": queue, "item_ids": ids[::-1]})
    assert [item["item_id"] for item in added["items"]] == ids[::-1]
    found, token = [], ""
    for _ in range(3):
        page = ok(wire, "GET", f"{QUEUES}/items/list?queue_id={queue}&max_results=100{token}")
        found += [item["item_id"] for item in page["items"]]
        token = f"&page_token={page['next_page_token']}"
    assert found == ids
    assert token == "&page_token="
    unknown = {"queue_id": queue, "item_ids": [*ids, "tr-nope"]}
    answer = wire.ask("POST", f"{QUEUES}/items/add", json.dumps(unknown).encode(), JSON)
    assert answer.status == 404
    assert "['tr-nope']" in answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("scorers/register", {"name": "a\0b", "serialized_scorer": "{}"}),
        ("scorers/register", {"name": "a", "serialized_scorer": "{}\0"}),
        ("review-queues/create", {"name": "a\0b", "queue_type": "CUSTOM"}),
        ("review-queues/create", {"name": "a", "queue_type": "CUSTOM", "users": ["\0"]}),
    ],
)
def test_nul_is_refused(wire: Wire, experiment: str, path: str, body: dict[str, Any]) -> None:
    sent = json.dumps(body | {"experiment_id": experiment}).encode()
    answer = wire.ask("POST", f"/api/3.0/mlflow/{path}", sent, JSON)
    assert answer.status == 400
    assert "NUL" in answer.json()["message"]
