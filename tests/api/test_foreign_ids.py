"""Requests that try to reach the resources of another workspace in unusual ways."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tests.fix_database import empty_database
from tests.fix_server import headrace
from tests.fix_workspaces import ENVIRONMENT, HEADER, JSON, SECRET, TwoWorkspaces, execute
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire import Answer

A2 = "/api/2.0/mlflow/"
A3 = "/api/3.0/mlflow/"
NOWHERE = "0123456789abcdef0123456789abcdef"


class Attacker(TwoWorkspaces):
    """A member of workspace B who knows every id of workspace A.

    `before`: what the database has of A, after its own last change.
    """

    before: dict[str, list[str]]

    def post(self, path: str, /, **fields: Any) -> Answer:
        """The answer to a JSON request."""
        return self.b.send("POST", path, json.dumps(fields).encode(), JSON)

    def get(self, path: str) -> Answer:
        """The answer to a GET."""
        return self.b.send("GET", path, None)

    def query(self, text: str, **variables: Any) -> Any:
        """The answer to a GraphQL query."""
        return self.post("/graphql", query=text, variables=variables).json()

    def learns_nothing_from(self, answer: Answer) -> bool:
        """Whether an answer has nothing of workspace A."""
        return SECRET not in answer.body.decode(errors="replace")


@pytest.fixture(scope="module")
def attacker(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacker]:
    directory = tmp_path_factory.mktemp("server")
    with ExitStack() as stack:
        uri = stack.enter_context(empty_database(database, request, directory))
        started = headrace(uri, directory, "--enable-workspaces", environment=ENVIRONMENT)
        yield Attacker(uri, stack.enter_context(Wire(stack.enter_context(started).url)))


@pytest.fixture(autouse=True)
def nothing_of_a_changes(attacker: Attacker) -> Iterator[None]:
    attacker.before = attacker.rows_of_a()
    yield
    assert attacker.rows_of_a() == attacker.before


@pytest.mark.parametrize("spelling", ["{}", "0{}", " {} ", "+{}", "{}\n", "00_{}"])
def test_no_spelling_of_an_experiment_helps(attacker: Attacker, spelling: str) -> None:
    number = spelling.format(attacker.foreign["experiment"])
    get = attacker.get(A2 + "experiments/get?experiment_id=" + quote(number))
    assert get.status == 404
    assert attacker.learns_nothing_from(get)
    search = attacker.post(A2 + "runs/search", experiment_ids=[number])
    assert search.json() == {}
    traces = attacker.post(
        A3 + "traces/search",
        locations=[{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": number}}],
    )
    assert traces.json() == {}
    created = attacker.post(A2 + "runs/create", experiment_id=number)
    assert created.status == 404


def test_the_error_names_the_id_that_the_client_sent(attacker: Attacker) -> None:
    experiment, run = attacker.foreign["experiment"], attacker.foreign["run"]
    answer = attacker.get(A2 + f"experiments/get?experiment_id={experiment}")
    assert answer.json()["message"] == f"No Experiment with id={experiment} exists"
    answer = attacker.get(A2 + f"runs/get?run_id={run}")
    assert answer.json()["message"] == f"Run with id={run} not found"


@pytest.mark.parametrize("first", ["own", "foreign"])
def test_two_fields_for_one_run(attacker: Attacker, first: str) -> None:
    runs = {"own": attacker.own["run"], "foreign": attacker.foreign["run"]}
    second = runs["foreign" if first == "own" else "own"]
    for path in ("runs/get", "metrics/get-history", "artifacts/list"):
        query = f"run_id={runs[first]}&run_uuid={second}&metric_key=m"
        answer = attacker.get(f"{A2}{path}?{query}")
        assert attacker.learns_nothing_from(answer)
        assert answer.status == (200 if first == "own" else 404)
        repeated = attacker.get(f"{A2}{path}?run_id={second}&{query}")
        assert attacker.learns_nothing_from(repeated)
    for path in ("runs/update", "runs/log-parameter", "runs/set-tag"):
        body = {"run_id": runs[first], "run_uuid": second, "key": "x", "value": "x"}
        attacker.post(A2 + path, **body)


@pytest.mark.parametrize("file", ["f.txt", "."])
def test_downloads_by_run_and_by_path(attacker: Attacker, file: str) -> None:
    foreign, own = attacker.foreign, attacker.own
    for query in (
        f"run_id={foreign['run']}",
        f"run_uuid={foreign['run']}",
        f"run_id={foreign['run']}&run_id={own['run']}",
        f"run_id=&run_uuid={foreign['run']}",
        f"run_id={foreign['run']}&run_uuid={own['run']}",
    ):
        answer = attacker.get(f"/get-artifact?path={file}&{query}")
        assert attacker.learns_nothing_from(answer)
        assert answer.status == 404, query
        upload = f"/ajax-api/2.0/mlflow/upload-artifact?path=f.txt&{query}"
        assert attacker.b.send("POST", upload, b"overwritten").status == 404
    assert attacker.a.send("GET", attacker.a.file(foreign), None).body == SECRET.encode()


def test_a_batch_has_the_own_ones_only(attacker: Attacker) -> None:
    ids = [attacker.own["trace"], attacker.foreign["trace"], attacker.own["trace"]]
    answer = attacker.post(A3 + "traces/batchGetInfos", trace_ids=ids)
    assert [one["trace_id"] for one in answer.json()["trace_infos"]] == [attacker.own["trace"]]
    experiments = [attacker.foreign["experiment"], attacker.own["experiment"]]
    runs = attacker.post(A2 + "runs/search", experiment_ids=experiments).json()["runs"]
    assert [run["info"]["run_id"] for run in runs] == [attacker.own["run"]]
    models = attacker.post(A2 + "logged-models/search", experiment_ids=experiments).json()
    assert {one["info"]["experiment_id"] for one in models["models"]} == {experiments[1]}
    query = "&".join(f"run_ids={id_}" for id_ in (attacker.own["run"], attacker.foreign["run"]))
    path = f"{A2}metrics/get-history-bulk-interval?metric_key=m&max_results=5&{query}"
    assert attacker.foreign["run"] not in attacker.get(path).body.decode().replace(
        f"id={attacker.foreign['run']} not found", ""
    )


def test_metrics_of_a_model_of_another_workspace(attacker: Attacker) -> None:
    metric = {"key": "m", "value": 7, "timestamp": 1, "model_id": attacker.foreign["logged_model"]}
    foreign, unknown = (
        attacker.post(A2 + "runs/log-batch", run_id=attacker.own["run"], metrics=[one])
        for one in (metric, metric | {"model_id": "m-" + NOWHERE})
    )
    assert foreign.status == unknown.status != 200


def test_a_trace_id_of_another_workspace_is_taken(attacker: Attacker) -> None:
    """Clients choose the ids of traces. They are unique in the database."""
    place = {"experiment_id": attacker.own["experiment"]}
    info = {
        "trace_id": attacker.foreign["trace"],
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": place},
        "request_time": "2026-01-01T00:00:00Z",
        "state": "OK",
        "tags": {"x": "y"},
    }
    answer = attacker.post(A3 + "traces", trace={"trace_info": info})
    assert answer.status == 400
    assert attacker.learns_nothing_from(answer)
    assert attacker.get(A3 + f"traces/{attacker.foreign['trace']}").status == 404


def test_an_assessment_cannot_override_one_of_another_trace(attacker: Attacker) -> None:
    assessment = {
        "assessment_name": "x",
        "feedback": {"value": True},
        "source": {"source_type": "HUMAN", "source_id": "u"},
        "overrides": attacker.foreign["assessment"],
    }
    path = A3 + f"traces/{attacker.own['trace']}/assessments"
    assert attacker.post(path, assessment=assessment).status == 404
    foreign = attacker.foreign["assessment"]
    assert attacker.get(f"{path}/{foreign}").status == 404
    assert attacker.b.send("DELETE", f"{path}/{foreign}", None).status in (200, 404)
    path = A3 + f"traces/{attacker.foreign['trace']}/assessments/{foreign}"
    assert attacker.get(path).status == 404


SPAN = {
    "resourceSpans": [
        {
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "{}",
                            "spanId": "eee19b7ec3c1b174",
                            "name": "s",
                            "startTimeUnixNano": "1544712660000000000",
                            "endTimeUnixNano": "1544712661000000000",
                        }
                    ]
                }
            ]
        }
    ]
}


def _spans(attacker: Attacker, trace: str, **headers: str) -> Answer:
    body = json.dumps(SPAN).replace("{}", trace).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return attacker.b.send("POST", "/v1/traces", body, JSON | sent)


def test_spans_go_to_own_experiments_and_runs_only(attacker: Attacker) -> None:
    own, foreign = attacker.own, attacker.foreign
    answer = _spans(attacker, "1" * 32, x_mlflow_experiment_id=foreign["experiment"])
    assert answer.status == 404
    answer = _spans(attacker, "1" * 32, x_mlflow_experiment_id=f" {foreign['experiment']}")
    assert answer.status == 404
    answer = _spans(
        attacker, "1" * 32, x_mlflow_experiment_id=own["experiment"], x_mlflow_run_id=foreign["run"]
    )
    assert answer.status == 404
    # Spans of a trace that another workspace has.
    mine = attacker.a.send(
        "POST",
        "/v1/traces",
        json.dumps(SPAN).replace("{}", "2" * 32).encode(),
        JSON | {"x-mlflow-experiment-id": own["experiment"]},
    )
    assert mine.status == 404
    assert _spans(attacker, "3" * 32, x_mlflow_experiment_id=own["experiment"]).status == 200
    theirs = attacker.a.send(
        "POST",
        "/v1/traces",
        json.dumps(SPAN).replace("{}", "3" * 32).encode(),
        JSON | {"x-mlflow-experiment-id": foreign["experiment"]},
    )
    assert theirs.status == 400
    attacker.before = attacker.rows_of_a()


def test_traces_are_linked_to_own_runs_only(attacker: Attacker) -> None:
    own, foreign = attacker.own, attacker.foreign
    path = A2 + "traces/link-to-run"
    answer = attacker.post(path, run_id=foreign["run"], trace_ids=[own["trace"]])
    assert answer.status == 404
    assert answer.json()["message"] == f"Run with id={foreign['run']} not found"
    both = [own["trace"], foreign["trace"]]
    assert attacker.post(path, run_id=own["run"], trace_ids=both).status == 200


QUERIES = {
    "experiment": (
        "query Q($data: MlflowGetExperimentInput!) {mlflowGetExperiment(input: $data)"
        " {experiment {name artifactLocation}}}"
    ),
    "run": (
        "query Q($data: MlflowGetRunInput!) {mlflowGetRun(input: $data)"
        " {run {info {artifactUri} data {tags {key value}}}}}"
    ),
}
FIELD = {"experiment": "experimentId", "run": "runId"}


@pytest.mark.parametrize("kind", QUERIES)
def test_queries(attacker: Attacker, kind: str) -> None:
    id_ = attacker.foreign[kind]
    unknown = "987654321" if kind == "experiment" else NOWHERE
    foreign = attacker.query(QUERIES[kind], data={FIELD[kind]: id_})
    expected = attacker.query(QUERIES[kind], data={FIELD[kind]: unknown})
    assert json.dumps(foreign).replace(id_, "ID") == json.dumps(expected).replace(unknown, "ID")
    literal = QUERIES[kind].partition(" ")[2].partition(") ")[2]
    literal = literal.replace("$data", f'{{{FIELD[kind]}: "{id_}"}}')
    assert attacker.query(literal) == foreign
    assert SECRET not in json.dumps(foreign)


def test_queries_that_search(attacker: Attacker) -> None:
    query = (
        "query Q($data: MlflowSearchRunsInput!) {mlflowSearchRuns(input: $data)"
        " {runs {info {runId artifactUri}}}}"
    )
    both = [attacker.foreign["experiment"], attacker.own["experiment"]]
    found = attacker.query(query, data={"experimentIds": both})["data"]["mlflowSearchRuns"]["runs"]
    assert [run["info"]["runId"] for run in found] == [attacker.own["run"]]
    query = (
        "query Q($data: MlflowGetMetricHistoryBulkIntervalInput!)"
        " {mlflowGetMetricHistoryBulkInterval(input: $data) {metrics {runId value}}}"
    )
    data = {"runIds": [attacker.foreign["run"]], "metricKey": "m", "maxResults": 5}
    answer = attacker.query(query, data=data)
    assert answer["data"] == {"mlflowGetMetricHistoryBulkInterval": None}


def test_a_page_token_of_another_workspace(attacker: Attacker) -> None:
    for n in range(3):
        for member, made in ((attacker.a, attacker.foreign), (attacker.b, attacker.own)):
            name = {"experiment_id": made["experiment"], "run_name": f"{made['word']}-{n}"}
            run = member.ask(A2 + "runs/create", name)["run"]["info"]["run_id"]
            execute(attacker.uri, f"UPDATE runs SET end_time = 1 WHERE run_uuid = '{run}'")
    attacker.before = attacker.rows_of_a()
    page = {"experiment_ids": [attacker.foreign["experiment"]], "max_results": 1}
    token = attacker.a.ask(A2 + "runs/search", page)["next_page_token"]
    for ids in ([attacker.foreign["experiment"]], [attacker.own["experiment"]]):
        answer = attacker.post(A2 + "runs/search", experiment_ids=ids, page_token=token)
        assert attacker.learns_nothing_from(answer)
    token = attacker.a.ask(A2 + "experiments/search", {"max_results": 1})["next_page_token"]
    answer = attacker.post(A2 + "experiments/search", max_results=10, page_token=token)
    assert attacker.learns_nothing_from(answer)


def test_a_version_cannot_have_the_files_of_another_workspace(attacker: Attacker) -> None:
    foreign = attacker.foreign
    model = foreign["logged_model"]
    files = f"mlflow-artifacts:/{attacker.a.artifact(foreign)[: -len('/f.txt')]}"
    for fields in (
        {"source": files, "run_id": foreign["run"]},
        {"source": files, "run_id": f" {foreign['run']}"},
        {"source": f"runs:/{foreign['run']}/m", "run_id": foreign["run"]},
        {"source": f"models:/{model}", "model_id": model},
        {"source": f"models:/{model}"},
        {"source": files, "model_id": model},
        {"source": "s3://b/x", "model_id": model},
    ):
        made = attacker.post(A2 + "model-versions/create", name="ma", **fields)
        if made.status == 200:
            version = made.json()["model_version"]["version"]
            path = f"/model-versions/get-artifact?name=ma&version={version}&path=f.txt"
            assert attacker.learns_nothing_from(attacker.get(path)), fields
            uri = attacker.get(f"{A2}model-versions/get-download-uri?name=ma&version={version}")
            assert "team-a" not in uri.body.decode(), fields


def test_equal_searches_of_two_workspaces_are_not_shared(attacker: Attacker) -> None:
    """Although equal searches that run concurrently share their reads."""

    def names(member: Any) -> set[str]:
        with Wire(attacker.b.wire.url) as wire:
            found = set()
            for _ in range(20):
                sent = {HEADER: member.workspace}
                answer = wire.ask("GET", A2 + "experiments/search?max_results=50", None, sent)
                found |= {one["workspace"] for one in answer.json()["experiments"]}
            return found

    with ThreadPoolExecutor(12) as pool:
        members = [attacker.a, attacker.b] * 6
        for member, found in zip(members, pool.map(names, members), strict=True):
            assert found == {member.workspace}


def test_an_experiment_that_moves_is_found_in_its_new_workspace_only(attacker: Attacker) -> None:
    """MLflow moves experiments to `default` when it deletes a workspace."""
    made = attacker.b.ask(A2 + "experiments/create", {"name": "moves"})["experiment_id"]
    run = attacker.b.ask(A2 + "runs/create", {"experiment_id": made})["run"]["info"]["run_id"]
    path = A2 + f"runs/get?run_id={run}"
    assert attacker.get(path).status == 200
    execute(
        attacker.uri, f"UPDATE experiments SET workspace = 'default' WHERE experiment_id = {made}"
    )
    assert attacker.get(path).status == 404
    assert attacker.b.wire.ask("GET", path).status == 200


def test_equal_names_do_not_share_tags_versions_and_aliases(attacker: Attacker) -> None:
    """Both workspaces have a model `ma` with a version 1 and an alias."""
    a = attacker.a
    tag = {"name": "ma", "key": "of-a", "value": SECRET}
    a.ask(A2 + "registered-models/set-tag", tag)
    a.ask(A2 + "model-versions/set-tag", tag | {"version": "1"})
    a.ask(A2 + "registered-models/update", {"name": "ma", "description": SECRET}, "PATCH")
    version = {"name": "ma", "source": "s3://b/" + SECRET}
    for _ in range(3):
        newest = a.ask(A2 + "model-versions/create", version)["model_version"]["version"]
    a.ask(A2 + "registered-models/alias", {"name": "ma", "alias": "of-a", "version": newest})
    a.ask(A2 + "model-versions/set-tag", tag | {"version": newest})
    attacker.before = attacker.rows_of_a()
    for path in (
        "registered-models/get?name=ma",
        "registered-models/search",
        "registered-models/search?filter=" + quote(f"tags.`of-a` = '{SECRET}'"),
        "registered-models/search?filter=" + quote("name LIKE '%'"),
        "registered-models/search?order_by=last_updated_timestamp+DESC",
        "registered-models/get-latest-versions?name=ma",
        "registered-models/alias?name=ma&alias=of-a",
        "model-versions/search",
        "model-versions/search?filter=" + quote(f"tags.`of-a` = '{SECRET}'"),
        "model-versions/search?filter=" + quote("name = 'ma'"),
        "model-versions/get?name=ma&version=1",
        f"model-versions/get?name=ma&version={newest}",
        f"model-versions/get-download-uri?name=ma&version={newest}",
    ):
        answer = attacker.get(A2 + path)
        assert attacker.learns_nothing_from(answer), path
    own = attacker.b.ask(A2 + "model-versions/create", {"name": "ma", "source": "s3://b/x"})
    assert int(own["model_version"]["version"]) < int(newest), "numbers are counted per workspace"
    for path, body in (
        ("registered-models/delete-tag", {"name": "ma", "key": "of-a"}),
        ("model-versions/delete-tag", {"name": "ma", "version": newest, "key": "of-a"}),
        ("registered-models/alias", {"name": "ma", "alias": "of-a"}),
        ("model-versions/delete", {"name": "ma", "version": newest}),
        ("registered-models/delete", {"name": "ma"}),
    ):
        attacker.b.send("DELETE", A2 + path, json.dumps(body).encode(), JSON)


def test_lists_of_names_and_settings(attacker: Attacker) -> None:
    for path in (
        A2 + "experiments/search?max_results=1000&view_type=ALL",
        A2 + "experiments/search?max_results=1000&filter=" + quote(f"name = '{SECRET}'"),
        A2 + "experiments/search?max_results=1000&filter=" + quote(f"tags.`{SECRET}` = '{SECRET}'"),
        A2 + f"experiments/get-by-name?experiment_name={SECRET}x",
        A2 + "webhooks",
        A3 + f"datasets/search?experiment_ids={attacker.foreign['experiment']}",
        A3 + "gateway/secrets/list",
        A3 + "gateway/model-definitions/list",
        A3 + "gateway/endpoints/list",
        A3 + "gateway/guardrails/list",
        A3 + "gateway/budgets/list",
        A3 + f"gateway/endpoints/list?secret_id={attacker.foreign['secret']}",
        A3 + f"gateway/endpoints/bindings/list?endpoint_id={attacker.foreign['endpoint']}",
        A3 + f"gateway/guardrails/list-for-endpoint?endpoint_id={attacker.foreign['endpoint']}",
        A3 + "scorers/list",
    ):
        answer = attacker.get(path)
        text = answer.body.decode().replace(SECRET + "x", "")
        for kind, id_ in attacker.foreign.items():
            sent = id_ in path
            assert sent or f'"{id_}"' not in text, f"{path}: {kind}"
    found = attacker.post("/ajax-api/3.0/jobs/search")
    assert [job["job_id"] for job in found.json()["jobs"]] == [attacker.own["job"]]
