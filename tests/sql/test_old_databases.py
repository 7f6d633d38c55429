"""A server supports core tracking on the database of any MLflow release since 2.9, without a migration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import headrace
from tests.sql.catalog import Catalog, differences, postgres_catalog, sqlite_catalog
from tests.sql.dumps import releases, restore_postgres, restore_sqlite
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_server import Server

API = "/api/2.0/mlflow/"
MODELS_SINCE = (3, 0)  # logged models, and the models of a run
TRACES_SINCE = (3, 17)  # names, sessions, tokens and costs of traces are columns
TRACE_ID = "tr-00000000000000000000000000000007"
A3 = "/api/3.0/mlflow/traces"
PLACE = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
SPAN = {"traceId": TRACE_ID[3:], "spanId": "0000000000000001", "name": "s", "startTimeUnixNano": 1}
FEEDBACK = {"assessment_name": "f", "trace_id": TRACE_ID, "feedback": {"value": 1}}
FEEDBACK |= {"source": {"source_type": "HUMAN", "source_id": "a"}, "assessment_id": "a-1"}
TRACE_INFO = {"trace_id": TRACE_ID, "trace_location": PLACE, "state": "OK"}
# Each is answered with 200 by a server on a newer database.
TRACE_REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}),
    ("POST", A3, {"trace": {"trace_info": TRACE_INFO}}),
    ("POST", f"{API}traces", {"experiment_id": "0", "timestamp_ms": 1}),
    ("GET", f"{A3}/{TRACE_ID}", None),
    ("GET", f"{A3}/get?trace_id={TRACE_ID}", None),
    ("GET", f"{A3}/batchGet?trace_ids={TRACE_ID}", None),
    ("POST", f"{A3}/batchGetInfos", {"trace_ids": [TRACE_ID]}),
    ("GET", f"{API}traces/{TRACE_ID}/info", None),
    ("GET", f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={TRACE_ID}", None),
    ("POST", f"{A3}/search", {"locations": [PLACE]}),
    ("GET", f"{API}traces?experiment_ids=0", None),
    ("PATCH", f"{A3}/{TRACE_ID}/tags", {"key": "k", "value": "v"}),
    ("DELETE", f"{A3}/{TRACE_ID}/tags", {"key": "k"}),
    ("POST", f"{API}traces/link-to-run", {"trace_ids": [TRACE_ID], "run_id": "r"}),
    (
        *("POST", f"{API}traces/link-prompts"),
        {"trace_id": TRACE_ID, "prompt_versions": [{"name": "p", "version": "1"}]},
    ),
    ("POST", f"{A3}/{TRACE_ID}/assessments", {"assessment": FEEDBACK}),
    ("GET", f"{A3}/{TRACE_ID}/assessments/a-1", None),
    ("DELETE", f"{A3}/{TRACE_ID}/assessments/a-1", {}),
    (
        *("POST", f"{A3}/metrics"),
        {
            "experiment_ids": ["0"],
            "view_type": "TRACES",
            "metric_name": "trace_count",
            "aggregations": [{"aggregation_type": "COUNT"}],
        },
    ),
    (
        *("POST", f"{A3}/calculate-filter-correlation"),
        {"experiment_ids": ["0"], "filter_string1": "name = 'a'", "filter_string2": "name = 'b'"},
    ),
    ("POST", f"{A3}/delete-traces", {"experiment_id": "0", "request_ids": [TRACE_ID]}),
)


class Client:
    """Calls of one server."""

    def __init__(self, server: Server, wire: Wire) -> None:
        self._server = server
        self._wire = wire

    def ask(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send one request; its status and decoded answer."""
        headers = {"Content-Type": "application/json"}
        answer = self._wire.ask(method, API + path, json.dumps(body).encode(), headers)
        return answer.status, answer.json()

    def ok(self, path: str, method: str = "POST", **body: object) -> dict[str, Any]:
        """The answer of a request that succeeds."""
        status, answer = self.ask(method, path, body)
        assert status == 200, f"{path}: {status} {answer}\n{self._server.log()}"
        return answer

    def get(self, path_and_query: str) -> dict[str, Any]:
        """The answer of a GET that succeeds."""
        answer = self._wire.ask("GET", API + path_and_query)
        assert answer.status == 200, f"{path_and_query}: {answer}\n{self._server.log()}"
        found: dict[str, Any] = answer.json()
        return found


def track(client: Client) -> str:
    """Use every part of core tracking once; the run's id."""
    experiment = client.ok("experiments/create", name="old", tags=[{"key": "team", "value": "a"}])
    experiment_id = experiment["experiment_id"]
    client.ok("experiments/set-experiment-tag", experiment_id=experiment_id, key="k", value="v")
    client.ok("experiments/update", experiment_id=experiment_id, new_name="older")
    assert client.get("experiments/get-by-name?experiment_name=older")["experiment"]["tags"]
    found = client.ok("experiments/search", max_results=10, filter="tags.team = 'a'")
    assert [one["name"] for one in found["experiments"]] == ["older"]
    run = client.ok("runs/create", experiment_id=experiment_id, start_time=1, run_name="r")["run"]
    run_id: str = run["info"]["run_id"]
    client.ok(
        "runs/log-batch",
        run_id=run_id,
        metrics=[
            {"key": "loss", "value": 1 / step, "timestamp": step, "step": step} for step in (1, 2)
        ],
        params=[{"key": "lr", "value": "0.1"}],
        tags=[{"key": "colour", "value": "red"}],
    )
    client.ok("runs/log-metric", run_id=run_id, key="loss", value="NaN", timestamp=3, step=3)
    data = {"name": "iris", "digest": "d1", "source_type": "local", "source": "{}"}
    context = [{"key": "mlflow.data.context", "value": "train"}]
    client.ok("runs/log-inputs", run_id=run_id, datasets=[{"dataset": data, "tags": context}])
    for text in ("metrics.loss > 0", "params.lr = '0.1'", "dataset.context = 'train'"):
        page = client.ok(
            "runs/search", experiment_ids=[experiment_id], filter=text, order_by=["metrics.loss"]
        )
        expected = (
            [] if text.startswith("metrics") else [run_id]
        )  # the last loss is NaN, stored as 0
        assert [one["info"]["run_id"] for one in page.get("runs", [])] == expected, text
    history = client.get(f"metrics/get-history?run_id={run_id}&metric_key=loss")["metrics"]
    assert [point["step"] for point in history] == [1, 2, 3]
    read = client.get(f"runs/get?run_id={run_id}")["run"]
    assert read["inputs"]["dataset_inputs"][0]["dataset"]["name"] == "iris"
    client.ok("runs/update", run_id=run_id, status="FINISHED", end_time=9)
    client.ok("runs/delete", run_id=run_id)
    client.ok("runs/restore", run_id=run_id)
    client.ok("experiments/delete", experiment_id=experiment_id)
    client.ok("experiments/restore", experiment_id=experiment_id)
    return run_id


def register(client: Client, run_id: str) -> None:
    """Use the model registry once."""
    client.ok("registered-models/create", name="m", tags=[{"key": "k", "value": "v"}])
    client.ok("registered-models/set-tag", name="m", key="k", value="w")
    client.ok("model-versions/create", name="m", source=f"runs:/{run_id}/model", run_id=run_id)
    client.ok("registered-models/alias", name="m", alias="best", version="1")
    client.ok("model-versions/set-tag", name="m", version="1", key="k", value="v")
    found = client.get("registered-models/get?name=m")["registered_model"]
    assert found["aliases"] == [{"alias": "best", "version": "1"}]
    assert client.get("model-versions/search")["model_versions"][0]["tags"]


def log_models(client: Client, run_id: str, release: str) -> None:
    """Use logged models; without their tables the error must say so."""
    version = tuple(int(part) for part in release.split("."))
    model = {"experiment_id": "0", "name": "net", "source_run_id": run_id}
    status, answer = client.ask("POST", "logged-models", model)
    if version < MODELS_SINCE:
        assert 400 <= status < 500 or status == 501, answer
        assert "upgrade" in answer["message"]
        point = {"key": "of_model", "value": 1.0, "timestamp": 1, "model_id": "m-1"}
        client.ok("runs/log-metric", run_id=run_id, **point)
        history = client.get(f"metrics/get-history?run_id={run_id}&metric_key=of_model")
        assert [one["value"] for one in history["metrics"]] == [1.0]
        return
    assert status == 200, answer
    model_id = answer["model"]["info"]["model_id"]
    client.ok("runs/outputs", run_id=run_id, models=[{"model_id": model_id, "step": 1}])
    outputs = client.get(f"runs/get?run_id={run_id}")["run"]["outputs"]["model_outputs"]
    assert [(one["model_id"], one["step"]) for one in outputs] == [(model_id, 1)]


def trace(wire: Wire, release: str) -> None:
    """Use every kind of request for traces. Before MLflow 3.17 the error must say what helps."""
    is_served = tuple(int(part) for part in release.split(".")) >= TRACES_SINCE
    for method, path, body in TRACE_REQUESTS:
        headers = {"Content-Type": "application/json", "x-mlflow-experiment-id": "0"}
        sent = None if body is None else json.dumps(body).encode()
        answer = wire.ask(method, path, sent, headers)
        if is_served:
            assert answer.status == 200, f"{method} {path}: {answer}"
        else:
            assert answer.status == 501, f"{method} {path}: {answer}"
            assert "headrace db upgrade URI" in answer.json()["message"]


def use(uri: str, directory: Path, release: str) -> None:
    """Use all of core tracking on one database."""
    with headrace(uri, directory) as server, Wire(server.url) as wire:
        client = Client(server, wire)
        run_id = track(client)
        register(client, run_id)
        log_models(client, run_id, release)
        trace(wire, release)


def without_rows(catalog: Catalog) -> Catalog:
    """Everything that a migration would change: the schema, and the rows of Alembic's table."""
    return {**catalog, "rows": {"alembic_version": catalog["rows"]["alembic_version"]}}


@pytest.mark.parametrize("release", releases("sqlite"))
def test_core_tracking_on_an_sqlite_file_of_a_release(release: str, tmp_path: Path) -> None:
    path = restore_sqlite(release, tmp_path / "mlflow.db")
    before = sqlite_catalog(path)
    use(f"sqlite:///{path}", tmp_path, release)
    assert differences(without_rows(sqlite_catalog(path)), without_rows(before)) == []


@pytest.mark.parametrize("release", releases("postgres"))
def test_core_tracking_on_a_postgres_database_of_a_release(
    release: str, postgres_empty_uri: str, tmp_path: Path
) -> None:
    restore_postgres(release, postgres_empty_uri)
    before = postgres_catalog(postgres_empty_uri)
    use(postgres_empty_uri, tmp_path, release)
    after = postgres_catalog(postgres_empty_uri)
    before.pop("sequences"), after.pop("sequences")  # ids that were assigned
    assert differences(without_rows(after), without_rows(before)) == []
