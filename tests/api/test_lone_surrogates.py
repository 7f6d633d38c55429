"""Half of a surrogate pair, which JSON may have as an escape, is refused or replaced, and never breaks an answer.

Texts that were cut in the middle of an emoji have one.
"""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.fill import fill

if TYPE_CHECKING:
    from tests.fix_api import Api

LONE = "\ud800"
QUOTED = json.dumps(LONE)  # the JSON text '"\\ud800"'
OBJECT = json.dumps({"a": LONE})
TOKEN = base64.b64encode(QUOTED.encode()).decode()
JSON = {"Content-Type": "application/json"}


def ask(api: Api, method: str, path: str, body: Any = None) -> Any:
    """The answer to a request, whose path may have the version of the API."""
    path = path if path.startswith("/") else f"/api/2.0/mlflow/{path}"
    return api.wire.ask(method, path, None if body is None else json.dumps(body).encode(), JSON)


def trace_of(api: Api, **attributes: str) -> tuple[str, str]:
    """The ids of a new experiment and of a trace in it, whose root has these attributes."""
    experiment, trace = api.experiment().id, os.urandom(16).hex()
    found = [{"key": key, "value": {"stringValue": text}} for key, text in attributes.items()]
    root = {
        "traceId": trace,
        "spanId": os.urandom(8).hex(),
        "name": "root",
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000001000000000",
        "attributes": found,
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [root]}]}]}
    headers = JSON | {"x-mlflow-experiment-id": experiment}
    answer = api.wire.ask("POST", "/v1/traces", json.dumps(body).encode(), headers)
    assert answer.status == 200, answer
    return experiment, f"tr-{trace}"


def read(api: Api, experiment: str, trace: str) -> tuple[Any, Any]:
    """The only trace of an experiment as a search shows it, and its attributes; every way to read it works."""
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    found = ask(api, "POST", "/api/3.0/mlflow/traces/search", {"locations": [place]})
    whole = ask(api, "GET", f"/api/3.0/mlflow/traces/get?trace_id={trace}")
    batch = ask(api, "GET", f"/api/3.0/mlflow/traces/batchGet?trace_ids={trace}")
    info = ask(api, "GET", f"/api/3.0/mlflow/traces/{trace}")
    assert [one.status for one in (found, whole, batch, info)] == [200] * 4, (found, whole, batch)
    assert whole.json()["trace"]["spans"] == batch.json()["traces"][0]["spans"]
    (span,) = whole.json()["trace"]["spans"]
    shown = {one["key"]: one["value"].get("string_value") for one in span["attributes"]}
    return found.json()["traces"][0], shown


ASSESSED: dict[str, Any] = {
    "feedback": {"feedback": {"value": LONE}},
    "feedback with an object": {"feedback": {"value": {"a": LONE}}},
    "feedback with a key": {"feedback": {"value": {LONE: 1}}},
    "expectation": {"expectation": {"value": LONE}},
    "serialized expectation": {
        "expectation": {
            "serialized_value": {"serialization_format": "JSON_FORMAT", "value": QUOTED}
        }
    },
    "metadata": {"feedback": {"value": 1}, "metadata": {LONE: "x"}},
}


@pytest.mark.parametrize("given", ASSESSED.values(), ids=ASSESSED)
def test_an_assessment_that_cannot_be_shown_is_refused(api: Api, given: Any) -> None:
    experiment, trace = trace_of(api)
    source = {"source_type": "HUMAN", "source_id": "me"}
    body = {"assessment": {"assessment_name": "a", "source": source, **given}}
    answer = ask(api, "POST", f"/api/3.0/mlflow/traces/{trace}/assessments", body)
    assert (answer.status, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer
    assert "assessments" not in read(api, experiment, trace)[0]


def test_spans_with_texts_cut_within_an_emoji_can_be_read(api: Api) -> None:
    cut = r'"cut emoji \ud83d"'
    experiment, trace = trace_of(
        api,
        **{
            "mlflow.spanInputs": cut,
            "mlflow.spanOutputs": r'{"messages": [{"role": "assistant", "content": "\ud83d"}]}',
            "mlflow.chat.tokenUsage": r'{"input_tokens": 1, "\ud800": 2}',
            "mlflow.traceName": cut,
            "mlflow.spanType": QUOTED,
            "session.id": QUOTED,
            "user.id": QUOTED,
            "llm.model_name": QUOTED,
            "gen_ai.request.model": QUOTED,
            "mlflow.llm.model": QUOTED,
            "mlflow.traceTag.x": QUOTED,
            "gen_ai.input.messages": r'[{"role": "user", "parts": [{"content": "\ud83d"}]}]',
            "custom": cut,
        },
    )
    info, attributes = read(api, experiment, trace)
    assert attributes["mlflow.spanInputs"] == attributes["custom"] == "cut emoji ?"
    assert info["tags"]["x"] == "\ufffd"
    assert info["trace_metadata"]["mlflow.trace.session"] == "\ufffd"


TOKENS = {
    "runs/search": {"experiment_ids": ["0"]},
    "experiments/search": {"max_results": 1},
    "logged-models/search": {"experiment_ids": ["0"]},
    "/api/3.0/mlflow/datasets/search": {"experiment_ids": ["0"]},
    "/api/3.0/mlflow/traces/search": {
        "locations": [
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}},
        ]
    },
}


@pytest.mark.parametrize("token", [TOKEN, base64.b64encode(OBJECT.encode()).decode()])
@pytest.mark.parametrize("path", [*TOKENS, "registered-models/search", "model-versions/search"])
def test_a_page_token_is_refused(api: Api, path: str, token: str) -> None:
    if path in TOKENS:
        answer = ask(api, "POST", path, TOKENS[path] | {"page_token": token})
    else:
        answer = ask(api, "GET", f"{path}?page_token={token}")
    assert answer.status == 400, answer


@pytest.mark.parametrize("tags", [OBJECT, json.dumps({LONE: "x"})])
def test_tags_of_a_dataset_are_refused(api: Api, tags: str) -> None:
    path = "/api/3.0/mlflow/datasets"
    assert ask(api, "POST", f"{path}/create", {"name": "d", "tags": tags}).status == 400
    made = ask(api, "POST", f"{path}/create", {"name": "d"}).json()["dataset"]["dataset_id"]
    answer = ask(api, "PATCH", f"{path}/{made}/tags", {"tags": tags})
    assert answer.status == 400, answer


RECORDS: list[Any] = [
    {"inputs": {"q": 1}, "tags": {"mlflow.user": LONE}},
    {"inputs": {"q": 1}, "source": {"source_type": "TRACE", "source_data": {"trace_id": LONE}}},
]


@pytest.mark.parametrize("record", RECORDS)
def test_columns_of_a_record_are_refused(api: Api, record: Any) -> None:
    path = "/api/3.0/mlflow/datasets"
    made = ask(api, "POST", f"{path}/create", {"name": "d"}).json()["dataset"]["dataset_id"]
    body = {"records": json.dumps([record])}
    answer = ask(api, "POST", f"{path}/{made}/records", body)
    assert answer.status == 400, answer


@pytest.mark.parametrize("model", ["gateway:/\ud800", "gateway:/a\x00"])
def test_the_endpoint_of_a_scorer_is_refused(api: Api, model: str) -> None:
    scorer = {"name": "s", "instructions_judge_pydantic_data": {"model": model}}
    body = {"experiment_id": "0", "name": "s", "serialized_scorer": json.dumps(scorer)}
    answer = ask(api, "POST", "/api/3.0/mlflow/scorers/register", body)
    assert (answer.status, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer
    assert "must" in answer.json()["message"], "headrace's words, not those of a driver"


MODEL = {"artifact_path": LONE, "flavors": {LONE: LONE}, "utc_time_created": LONE, "run_id": LONE}


def test_json_inside_a_text_leaves_a_run_readable(api: Api) -> None:
    """MLflow stores these texts as they are."""
    run = api.run().id
    dataset = {"name": "a", "digest": "b", "source_type": "x"}
    dataset |= dict.fromkeys(("source", "profile", "schema"), OBJECT)
    api.ok("runs/log-model", run_id=run, model_json=json.dumps(MODEL))
    api.ok("runs/log-inputs", run_id=run, datasets=[{"dataset": dataset}])
    api.get(run)


QUERY = "%ED%A0%80"


@pytest.mark.parametrize(
    "path",
    [
        "experiments/get-by-name?experiment_name=",
        "registered-models/search?filter=",
        "/api/2.0/mlflow-artifacts/artifacts/",
        "/api/3.0/mlflow/traces/",
        "/api/3.0/mlflow/datasets/",
        "/graphql/",
    ],
)
def test_a_query_or_path_is_answered(api: Api, path: str) -> None:
    assert ask(api, "GET", path + QUERY).status in (400, 404)


def test_a_stored_assessment_can_be_read(api: Api) -> None:
    """MLflow may have written it."""
    experiment, trace = trace_of(api)
    columns = (
        "assessment_id, trace_id, name, assessment_type, value, created_timestamp,"
        " last_updated_timestamp, source_type, valid"
    )
    written = [
        (f"a-{kind}-{trace}", trace, "a", kind, QUOTED, 1, 1, "HUMAN", True)
        for kind in ("feedback", "expectation")
    ]
    fill(api.uri, "assessments", columns, written)
    first, second = read(api, experiment, trace)[0]["assessments"]
    shown = {**first, **second}
    assert shown["feedback"]["value"] == shown["expectation"]["value"] == "?"
