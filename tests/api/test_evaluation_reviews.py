"""Label schemas and issues through MLflow's own client, and what a comparison with stock cannot show."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import mlflow
import pytest
from mlflow.genai import label_schemas as genai
from mlflow.genai.label_schemas import InputCategorical, InputPassFail
from mlflow.tracing.client import TracingClient
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_api import Api

SCHEMAS = "/api/3.0/mlflow/label-schemas"
ISSUES = "/api/3.0/mlflow/issues"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def tracked(api: Api) -> Iterator[str]:
    """MLflow's client with this server; the id of a new experiment."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(api.server.url)
    try:
        yield api.ok("experiments/create", name="of reviews " + api.run().id)["experiment_id"]
    finally:
        mlflow.set_tracking_uri(before)


def test_the_client_manages_label_schemas(tracked: str) -> None:
    made = genai.create_label_schema(
        "ok", type="feedback", input=InputPassFail("yes", "no"), experiment_id=tracked
    )
    options = InputCategorical(options=["a", "b"])
    genai.create_label_schema("kind", type="expectation", input=options, experiment_id=tracked)
    assert made.schema_id
    changed = genai.update_label_schema(made.schema_id, name="fine", instruction="look")
    assert (changed.name, changed.instruction) == ("fine", "look")
    assert genai.get_label_schema("fine", experiment_id=tracked).input == InputPassFail("yes", "no")
    names = {one.name for one in genai.list_label_schemas(tracked)}
    assert names == {"fine", "kind", "Feedback"}
    genai.delete_label_schema(schema_id=made.schema_id)
    assert {one.name for one in genai.list_label_schemas(tracked)} == {"kind", "Feedback"}


def test_simultaneous_first_lists_create_one_default_schema(api: Api, tracked: str) -> None:
    def listed(_: int) -> Any:
        with Wire(api.server.url) as wire:
            return wire.ask("GET", f"{SCHEMAS}/list?experiment_id={tracked}").json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(listed, range(16)))
    assert all(len(answer["label_schemas"]) == 1 for answer in answers)
    assert len({answer["label_schemas"][0]["schema_id"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{SCHEMAS}/create", {"name": "a\0b", "type": "FEEDBACK", "input": {"text": {}}}),
        (ISSUES, {"name": "n", "description": "a\0b"}),
    ],
)
def test_nul_is_refused(api: Api, tracked: str, path: str, body: dict[str, Any]) -> None:
    body |= {"experiment_id": tracked}
    answer = api.wire.ask("POST", path, json.dumps(body).encode(), JSON)
    assert answer.status == 400
    assert "NUL" in answer.json()["message"]


def test_the_client_manages_issues(tracked: str) -> None:
    client = TracingClient()
    store = client.store
    made = store.create_issue(experiment_id=tracked, name="tone", description="too rude")
    assert store.get_issue(made.issue_id).name == "tone"
    assert [one.issue_id for one in store.search_issues(experiment_id=tracked)] == [made.issue_id]
