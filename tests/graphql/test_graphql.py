"""The page's GraphQL: the same queries to headrace and stock on one database."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from tests.fix_database import empty_database
from tests.fix_packages import environment_without
from tests.fix_server import headrace, stock
from tests.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON = {"content-type": "application/json"}

TAGS = "tags { __typename key value }"
INFO = (
    "info { __typename runName status runUuid runId experimentId artifactUri endTime "
    "lifecycleStage startTime userId }"
)
RUN = f"""
  __typename
  {INFO}
  experiment {{ __typename experimentId name {TAGS} artifactLocation lifecycleStage lastUpdateTime }}
  modelVersions {{ __typename version name creationTimestamp status source aliases {TAGS} runId
    currentStage description userId statusMessage lastUpdatedTimestamp runLink }}
  data {{ __typename
    metrics {{ __typename key value step timestamp datasetName datasetDigest modelId runId }}
    params {{ __typename key value }} {TAGS} }}
  inputs {{ __typename
    datasetInputs {{ __typename dataset {{ __typename digest name profile schema source sourceType }}
      {TAGS} }}
    modelInputs {{ __typename modelId }} }}
  outputs {{ __typename modelOutputs {{ __typename modelId step }} }}
"""
ERROR = "apiError { __typename helpUrl code message }"
GET_RUN = f"""
query GetRun($data: MlflowGetRunInput!) @component(name: "MLflow.ExperimentRunTracking") {{
  mlflowGetRun(input: $data) {{ __typename {ERROR} run {{ {RUN} }} }}
}}"""
SEARCH_RUNS = f"""
query SearchRuns($data: MlflowSearchRunsInput!) {{
  mlflowSearchRuns(input: $data) {{ __typename {ERROR} nextPageToken runs {{ {RUN} }} }}
}}"""
GET_EXPERIMENT = f"""
query MlflowGetExperimentQuery($input: MlflowGetExperimentInput!) @component(name: "a.b") {{
  mlflowGetExperiment(input: $input) {{ __typename apiError {{ code message }}
    experiment {{ __typename artifactLocation creationTime effectiveTraceArchivalRetention
      experimentId lastUpdateTime lifecycleStage name workspace {TAGS} }} }}
}}"""
HISTORY = """
query GetMetricHistoryBulkInterval($data: MlflowGetMetricHistoryBulkIntervalInput!)
@component(name: "MLflow.ExperimentRunTracking") {
  mlflowGetMetricHistoryBulkInterval(input: $data) {
    __typename metrics { __typename timestamp step runId key value } apiError { code message }
  }
}"""


@dataclass
class Both:
    """headrace and stock on one database, and its ids."""

    ours: Wire
    stock: Wire
    experiment: str
    run: str
    bare: str
    deleted: str


@pytest.fixture(scope="module")
def both(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    directory = tmp_path_factory.mktemp("graphql")
    with ExitStack() as stack:
        uri = stack.enter_context(empty_database(database, request, directory))
        # Without mlflow, headrace cannot pass queries on to stock, so it answers them itself.
        env = environment_without(directory / "env", "mlflow")
        options = ("--chart-sampling", "stock")
        ours = stack.enter_context(headrace(uri, directory, *options, environment=env))
        theirs = stack.enter_context(stock(uri, directory))
        wires = [stack.enter_context(Wire(server.url)) for server in (ours, theirs)]
        yield filled(*wires)


def call(wire: Wire, path: str, **body: Any) -> Any:
    sent = json.dumps(body).encode()
    answer = wire.ask("POST", f"/api/2.0/mlflow/{path}", sent, JSON)
    assert answer.status == 200, answer
    return answer.json()


def filled(ours: Wire, theirs: Wire) -> Both:
    """Runs with everything that the queries ask for; models by stock."""
    tags = [{"key": "team", "value": "é <b>"}]
    experiment = call(ours, "experiments/create", name="café", tags=tags)["experiment_id"]
    runs = [
        call(
            ours,
            "runs/create",
            experiment_id=experiment,
            run_name=name,
            start_time=1_700_000_000_000,
        )
        for name in ("full", "bare", "deleted")
    ]
    full, bare, deleted = (run["run"]["info"]["run_id"] for run in runs)
    points = [("loss", 0.5, 1), ("loss", 0.25, 2), ("nan", "NaN", 3), ("inf", "Infinity", 0)]
    metrics = [
        {"key": key, "value": value, "step": step, "timestamp": 1_700_000_000_000 + step}
        for key, value, step in points
    ]
    params = [{"key": "lr", "value": "0.1"}, {"key": "empty", "value": ""}]
    call(ours, "runs/log-batch", run_id=full, metrics=metrics, params=params, tags=tags)
    many = [
        {"key": "many", "value": float(step), "step": step, "timestamp": step}
        for step in range(700)
    ]
    call(ours, "runs/log-batch", run_id=full, metrics=many)
    call(ours, "runs/log-batch", run_id=bare, metrics=many[:5])
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "{}"}
    used = [{"key": "mlflow.data.context", "value": "training"}]
    call(ours, "runs/log-inputs", run_id=full, datasets=[{"dataset": dataset, "tags": used}])
    call(theirs, "registered-models/create", name="model")
    for source in ("a", "b"):
        location = f"mlflow-artifacts:/{experiment}/{full}/artifacts/{source}"
        call(theirs, "model-versions/create", name="model", source=location, run_id=full)
    call(theirs, "registered-models/alias", name="model", alias="best", version="2")
    call(theirs, "model-versions/set-tag", name="model", version="2", key="a", value="b")
    call(ours, "runs/update", run_id=full, status="FINISHED", end_time=1_700_000_100_000)
    call(ours, "runs/delete", run_id=deleted)
    return Both(ours, theirs, experiment, full, bare, deleted)


def ask(wire: Wire, query: str, **rest: Any) -> Answer:
    return wire.ask("POST", "/graphql", json.dumps({"query": query, **rest}).encode(), JSON)


def same(both: Both, query: str, **rest: Any) -> Any:
    """Send a query to both, compare the answers, return one."""
    mine, its = (ask(wire, query, **rest) for wire in (both.ours, both.stock))
    assert its.status == 200
    assert mine.status == 200, mine
    assert mine.headers["content-type"] == its.headers["content-type"]
    assert mine.json() == its.json()
    return mine.json()


def test_a_run(both: Both) -> None:
    for run in (both.run, both.bare, both.deleted):
        answer = same(both, GET_RUN, operationName="GetRun", variables={"data": {"runId": run}})
        assert answer["data"]["mlflowGetRun"]["run"]["info"]["runUuid"] == run
    full = same(both, GET_RUN, variables={"data": {"runId": both.run}})["data"]["mlflowGetRun"]
    assert {m["key"]: m["value"] for m in full["run"]["data"]["metrics"]}["nan"] is None
    assert len(full["run"]["modelVersions"]) == 2


def test_a_run_by_its_other_name(both: Both) -> None:
    same(both, GET_RUN, variables={"data": {"runUuid": both.run}})
    same(both, GET_RUN, variables={"data": {"runId": both.run, "runUuid": both.bare}})


def test_a_run_that_is_not_there(both: Both) -> None:
    answer = same(both, GET_RUN, variables={"data": {"runId": "nope"}})
    assert answer == {
        "data": {"mlflowGetRun": None},
        "errors": ["Run with id=nope not found"],
    }


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"filter": "metrics.loss < 0.3"},
        {"filter": "params.lr = '0.1' and attributes.status = 'FINISHED'"},
        {"filter": "tags.team LIKE '%b%'", "maxResults": 1},
        {"orderBy": ["attributes.run_name DESC"]},
        {"maxResults": 1, "orderBy": ["attributes.run_name"]},
        {"filter": "", "orderBy": [], "pageToken": None},
        {"filter": "nonsense ="},
        {"filter": "attributes.run_id IN ('nope')"},
    ],
)
def test_runs(both: Both, more: dict[str, Any]) -> None:
    data = {"experimentIds": [both.experiment], **more}
    same(both, SEARCH_RUNS, operationName="SearchRuns", variables={"data": data})


def test_the_next_page_of_runs(both: Both) -> None:
    data = {"experimentIds": [both.experiment], "maxResults": 1}
    first = same(both, SEARCH_RUNS, variables={"data": data})["data"]["mlflowSearchRuns"]
    token = first["nextPageToken"]
    assert token
    second = same(both, SEARCH_RUNS, variables={"data": {**data, "pageToken": token}})
    assert second["data"]["mlflowSearchRuns"]["runs"] != first["runs"]


def test_an_experiment(both: Both) -> None:
    for experiment in (both.experiment, "0"):
        variables = {"input": {"experimentId": experiment}}
        answer = same(
            both, GET_EXPERIMENT, operationName="MlflowGetExperimentQuery", variables=variables
        )
        assert answer["errors"] is None
    same(both, GET_EXPERIMENT, variables={"input": {"experimentId": "4711"}})


@pytest.mark.parametrize("key", ["loss", "many", "none", "nan", "inf"])
def test_a_history(both: Both, key: str) -> None:
    same(both, HISTORY, variables={"data": {"runIds": [both.run, both.bare], "metricKey": key}})


@pytest.mark.parametrize(
    "asked",
    [
        {"maxResults": 320},
        {"maxResults": 10, "startStep": 3, "endStep": 600},
        {"maxResults": 10, "startStep": None, "endStep": None},
        {"startStep": 690, "endStep": 800},
    ],
)
def test_a_part_of_a_history_is_what_rest_gives(both: Both, asked: dict[str, Any]) -> None:
    """Stock looks for these in the URL of /graphql, does not find them and sends the whole range."""
    data = {"runIds": [both.run, both.bare], "metricKey": "many", **asked}
    answer = ask(both.ours, HISTORY, variables={"data": data}).json()
    found = answer["data"]["mlflowGetMetricHistoryBulkInterval"]["metrics"]
    query = {"run_ids": data["runIds"], "metric_key": "many"}
    names = {"maxResults": "max_results", "startStep": "start_step", "endStep": "end_step"}
    query |= {names[name]: value for name, value in asked.items() if value is not None}
    path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?"
    rest = both.stock.ask("GET", path + urlencode(query, doseq=True)).json()["metrics"]
    assert [(p["runId"], int(p["step"]), p["value"]) for p in found] == [
        (p["run_id"], p.get("step", 0), p["value"]) for p in rest
    ]


def test_a_range_that_ends_before_it_starts(both: Both) -> None:
    data = {"runIds": [both.run], "metricKey": "loss", "startStep": 3, "endStep": 2}
    assert ask(both.ours, HISTORY, variables={"data": data}).json() == {
        "data": {"mlflowGetMetricHistoryBulkInterval": None},
        "errors": ["end_step must be greater than start_step. Found start_step=3 and end_step=2."],
    }


@pytest.mark.parametrize(
    "query",
    [
        "{ mlflowGetRun(input: {runId: RUN}) { run { info { runName } } } }",
        "query { again: mlflowGetRun(input: {runId: RUN,}) { found: run { info { n: runName } } } }",
        "# a comment\nquery Q { mlflowGetRun(input: {runId: RUN}) { run { data { metrics { key } } } } }",
        "{ mlflowSearchRuns(input: {experimentIds: [EXP], maxResults: 9}) { runs { info { runId } } } }",
        "{ mlflowGetExperiment(input: {experimentId: EXP}) { experiment { name } } }",
        '{mlflowGetMetricHistoryBulkInterval(input:{runIds:[RUN],metricKey:"loss"})'
        "{metrics{value}}}",
    ],
)
def test_the_same_in_other_words(both: Both, query: str) -> None:
    text = query.replace("RUN", f'"{both.run}"').replace("EXP", f'"{both.experiment}"')
    assert same(both, text)["errors"] is None


def aliased(count: int) -> str:
    fields = " ".join(f"a{n}: runName" for n in range(count))
    return f'{{ mlflowGetRun(input: {{runId: "RUN"}}) {{ run {{ info {{ {fields} }} }} }} }}'


def test_ten_aliases_are_answered_and_eleven_are_not(both: Both) -> None:
    assert same(both, aliased(10).replace("RUN", both.run))["errors"] is None
    refused = same(both, aliased(11).replace("RUN", both.run))
    assert "at most 10 aliases, got 11 aliases" in refused["errors"][0]


def test_the_settings_say_how_many_aliases_and_root_fields_there_may_be(tmp_path: Path) -> None:
    environment = {
        "MLFLOW_SERVER_GRAPHQL_MAX_ALIASES": "11",
        "MLFLOW_SERVER_GRAPHQL_MAX_ROOT_FIELDS": "0",
    }
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with (
        headrace(uri, tmp_path, "--no-bridge", environment=environment) as server,
        Wire(server.url) as wire,
    ):
        (error,) = ask(wire, aliased(11)).json()["errors"]
        assert error.startswith("GraphQL queries should have at most 0 root fields, got 1 root")


def test_text_with_nul_is_refused(both: Both) -> None:
    (error,) = ask(both.ours, GET_RUN, variables={"data": {"runId": "a\0"}}).json()["errors"]
    assert "must not contain NUL" in error


def test_a_body_that_is_too_large_is_refused(both: Both) -> None:
    assert both.ours.ask("POST", "/graphql", b" " * (2 << 20), JSON).status == 400


# Queries that the page never sends. headrace would pass them on to stock; here it cannot, and answers 501.
FOR_STOCK: list[dict[str, Any]] = [
    {"query": '{ test(inputString: "x") { output } }'},
    {"query": 'mutation { testMutation(inputString: "x") { output } }'},
    {"query": "{ __schema { types { name } } }"},
    {
        "query": '{ mlflowGetRun(input: {runId: "a"}) { run { info { ...F } } } } fragment F on X { a }'
    },
    {"query": '{ mlflowGetRun(input: {runId: "a"}) { run { info { runName @skip(if: true) } } } }'},
    {"query": '{ mlflowGetRun(input: {runId: "a"}) { run { nothing } } }'},
    {"query": '{ mlflowGetRun(input: {runId: "a"}) { run } }'},
    {"query": '{ mlflowGetRun(input: {runId: "a"}) { run { info { runName { x } } } } }'},
    {"query": "{ mlflowGetRun(input: {runId: 5}) { run { info { runName } } } }"},
    {"query": '{ mlflowGetRun(input: {nothing: "a"}) { run { info { runName } } } }'},
    {"query": "{ mlflowGetRun { run { info { runName } } } }"},
    {
        "query": '{ a: mlflowGetRun(input: {runId: "a"}) { run { info { runName } } } '
        'b: mlflowGetRun(input: {runId: "b"}) { run { info { runName } } } }'
    },
    {"query": GET_RUN},
    {"query": GET_RUN, "variables": {"data": {"runId": 5}}},
    {"query": GET_RUN, "variables": {"data": None}},
    {"query": GET_RUN, "variables": {"data": {}}},
    {"query": GET_RUN, "variables": {"data": {"runId": ""}}},
    {"query": GET_RUN, "variables": {"data": {"runId": "a"}}, "operationName": "Other"},
    {"query": GET_RUN.replace("GetRunInput", "OtherInput"), "variables": {"data": {"runId": "a"}}},
    {"query": SEARCH_RUNS, "variables": {"data": {"experimentIds": ["0"], "runViewType": "ALL"}}},
    {"query": SEARCH_RUNS, "variables": {"data": {"experimentIds": ["0"], "maxResults": 2**40}}},
    {"query": HISTORY, "variables": {"data": {"runIds": [], "metricKey": "loss"}}},
    {"query": '{ mlflowGetRun(input: {runId: "a"}) { run { info { runName } }'},
    {"query": "nonsense"},
    {"query": ""},
    {"query": None},
    {},
]


@pytest.mark.parametrize("asked", FOR_STOCK)
def test_other_queries_are_left_to_stock(both: Both, asked: dict[str, Any]) -> None:
    answer = both.ours.ask("POST", "/graphql", json.dumps(asked).encode(), JSON)
    assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")


def test_a_body_that_is_no_json_is_left_to_stock(both: Both) -> None:
    for body in (b"", b"[]", b"5", b"{", b"\xff", b'{"query": "\xff"}'):
        assert both.ours.ask("POST", "/graphql", body, JSON).status == 501


def test_stock_answers_the_rest_across_the_bridge(tmp_path: Path) -> None:
    with (
        headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server,
        Wire(server.url) as wire,
    ):
        answer = ask(wire, '{ test(inputString: "there") { output } }')
        assert answer.json() == {"data": {"test": {"output": "there"}}, "errors": None}
        assert wire.ask("POST", "/graphql", b'{"query": "nonsense"}', JSON).status == 500
