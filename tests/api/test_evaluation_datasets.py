"""Evaluation datasets: what a comparison with stock cannot show, and MLflow's own client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mlflow
import pytest
from mlflow.genai import datasets as genai

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_api import Api

DATASETS = "/api/3.0/mlflow/datasets"
JSON = {"Content-Type": "application/json"}


def ask(api: Api, method: str, path: str, body: Any = None) -> Any:
    """The JSON of an answer that must be 200."""
    data = None if body is None else json.dumps(body).encode()
    answer = api.wire.ask(method, path, data, JSON)
    assert answer.status == 200, f"{method} {path}: {str(answer)[:500]}"
    return answer.json()


def dataset(api: Api) -> str:
    """The path of a new dataset."""
    made = ask(api, "POST", f"{DATASETS}/create", {"name": "d", "experiment_ids": ["0"]})
    return f"{DATASETS}/{made['dataset']['dataset_id']}"


def upsert(api: Api, path: str, records: list[dict[str, Any]]) -> tuple[int, int]:
    """Write records; how many were new, and how many not."""
    counts = ask(api, "POST", f"{path}/records", {"records": json.dumps(records)})
    return counts["inserted_count"], counts["updated_count"]


def listed(api: Api, path: str, page: int) -> list[dict[str, Any]]:
    """All records, by pages of this size."""
    found: list[dict[str, Any]] = []
    query = f"max_results={page}"
    while True:
        answer = ask(api, "GET", f"{path}/records?{query}")
        some = json.loads(answer["records"])
        assert len(some) <= page
        found += some
        if "next_page_token" not in answer:
            return found
        assert len(some) == page
        query = f"max_results={page}&page_token={answer['next_page_token']}"


def test_pages_list_every_record_once_in_the_order_of_the_upsert(api: Api) -> None:
    path = dataset(api)
    records = [{"inputs": {"n": n}} for n in range(25)]
    assert upsert(api, path, records) == (25, 0)
    for page in (1, 7, 25, 26):
        assert [one["inputs"]["n"] for one in listed(api, path, page)] == list(range(25))


@pytest.mark.parametrize("page", [1000, 3000])
def test_long_pages_of_records_are_whole(api: Api, page: int) -> None:
    path = dataset(api)
    texts = ['\u00e9"\\\n' * 500, "x"]
    records = [{"inputs": {"n": n}, "outputs": texts[n % 2]} for n in range(2500)]
    assert upsert(api, path, records) == (2500, 0)
    found = listed(api, path, page)
    assert [one["inputs"]["n"] for one in found] == list(range(2500))
    assert [one["outputs"] for one in found] == [texts[n % 2] for n in range(2500)]


def test_an_upsert_of_new_and_known_records_changes_each_once(api: Api) -> None:
    path = dataset(api)
    first = [{"inputs": {"n": n}, "expectations": {"a": n}, "outputs": n} for n in range(1500)]
    assert upsert(api, path, first) == (1500, 0)
    second = [{"inputs": {"n": n}, "expectations": {"b": n}} for n in range(500, 2000)]
    assert upsert(api, path, second + second[:10]) == (500, 1010)
    found = {one["inputs"]["n"]: one for one in listed(api, path, 1000)}
    assert found[0]["expectations"] == {"a": 0}
    assert found[700]["expectations"] == {"a": 700, "b": 700}
    assert found[700]["outputs"] == 700
    assert found[1999]["expectations"] == {"b": 1999}
    shown = ask(api, "GET", path)["dataset"]
    assert shown["profile"] == '{"num_records": 2000}'


@pytest.mark.parametrize("name", ["tags", "user"])
def test_nul_in_a_text_column_is_refused(api: Api, name: str) -> None:
    path = dataset(api)
    text = json.dumps({"mlflow.user": "a\0b"})
    if name == "tags":
        asked = ("PATCH", f"{path}/tags", {"tags": text})
    else:
        asked = ("POST", f"{path}/records", {"records": f'[{{"inputs": {{}}, "tags": {text}}}]'})
    answer = api.wire.ask(asked[0], asked[1], json.dumps(asked[2]).encode(), JSON)
    assert answer.status == 400
    assert "NUL" in answer.json()["message"]


def test_too_many_values_in_the_text_of_records_are_refused(api: Api) -> None:
    path = dataset(api)
    body = json.dumps({"records": "[" + "{}," * 600_000 + "{}]"}).encode()
    answer = api.wire.ask("POST", f"{path}/records", body, JSON)
    assert answer.status == 400
    assert "more than 500000 values" in answer.json()["message"]


@pytest.fixture
def tracked(api: Api) -> Iterator[str]:
    """MLflow's client with this server; the id of a new experiment."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(api.server.url)
    try:
        yield api.ok("experiments/create", name="of evaluation " + api.run().id)["experiment_id"]
    finally:
        mlflow.set_tracking_uri(before)


def test_the_client_creates_fills_and_finds_datasets(tracked: str) -> None:
    made = genai.create_dataset(name="d", experiment_id=tracked, tags={"team": "x"})
    made.merge_records([{"inputs": {"q": n}, "expectations": {"a": n}} for n in range(5)])
    made.merge_records([{"inputs": {"q": 0}, "expectations": {"b": 1}}])
    again = genai.get_dataset(dataset_id=made.dataset_id)
    frame = again.to_df()
    assert len(frame) == 5
    assert {"a": 0, "b": 1} in list(frame["expectations"])
    assert again.experiment_ids == [tracked]
    genai.set_dataset_tags(dataset_id=made.dataset_id, tags={"k": "v"})
    genai.delete_dataset_tag(dataset_id=made.dataset_id, key="team")
    (found,) = genai.search_datasets(experiment_ids=tracked, filter_string="tags.k = 'v'")
    assert found.dataset_id == made.dataset_id
    assert "team" not in found.tags
    genai.remove_dataset_from_experiments(dataset_id=made.dataset_id, experiment_ids=[tracked])
    assert not genai.search_datasets(experiment_ids=tracked)
    genai.add_dataset_to_experiments(dataset_id=made.dataset_id, experiment_ids=[tracked])
    again.delete_records(list(frame["dataset_record_id"])[:2])
    assert len(genai.get_dataset(dataset_id=made.dataset_id).to_df()) == 3
    genai.delete_dataset(dataset_id=made.dataset_id)
    with pytest.raises(mlflow.MlflowException, match="not found"):
        genai.get_dataset(dataset_id=made.dataset_id)
