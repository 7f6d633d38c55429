"""`headrace import` of logged models, traces and the model registry, from what MLflow wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import headrace, stock
from tests.transfer.test_move import _closed, command, run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["_closed"]  # a fixture

READ = """
import json, mlflow, sys
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_registry_uri(sys.argv[1])
client = MlflowClient()
experiment = client.get_experiment_by_name("with models").experiment_id
def contents(uri):
    folder = mlflow.artifacts.download_artifacts(uri)
    import pathlib
    return sorted((str(f.relative_to(folder)), len(f.read_bytes()))
                  for f in pathlib.Path(folder).rglob("*") if f.is_file())
def spans(trace):
    return sorted(json.dumps({**span.to_dict(), "links": None}, sort_keys=True) for span in trace.data.spans)
def without(found, *keys):
    return {key: value for key, value in found.items() if key not in keys}
found = {
    "models": sorted([m.model_id, m.name, m.status.name, m.model_type, m.source_run_id, m.tags, m.params,
                      m.creation_timestamp, m.last_updated_timestamp,
                      # A file store shows only the last point of a metric.
                      sorted((p.key, p.value, p.timestamp, p.step, p.run_id, p.dataset_name, p.dataset_digest)
                             for p in m.metrics or ())[-1:],
                      contents(f"models:/{m.model_id}") if m.status.name == "READY" else []]
                     for m in client.search_logged_models([experiment])),
    "runs": [[[(o.model_id, o.step) for o in r.outputs.model_outputs], [i.model_id for i in r.inputs.model_inputs]]
             for r in [client.get_run(one.info.run_id) for one in client.search_runs([experiment])]],
    "registered": [[m.name, m.description, m.tags, m.aliases, m.creation_timestamp]
                   for m in client.search_registered_models()],
    "versions": [[v.name, int(v.version), v.description, v.current_stage, v.run_id, v.tags, v.status,
                  v.creation_timestamp, v.last_updated_timestamp,
                  contents(f"models:/{v.name}/{v.version}")]
                 for v in sorted(client.search_model_versions("name = 'detector'"), key=lambda v: int(v.version))],
    "prompt": [mlflow.genai.load_prompt("greeting", version=1).template,
               client.get_prompt("greeting").tags],
    "traces": [[t.info.trace_id, t.info.request_time, t.info.execution_duration, t.info.state, t.info.request_preview,
                t.info.response_preview, without(t.info.tags, "mlflow.artifactLocation", "mlflow.trace.spansLocation"),
                without(t.info.trace_metadata, "mlflow.trace.infoFinalized", "mlflow.trace.sizeStats"),
                sorted(json.dumps(without(a.to_dictionary(), "trace_id"), sort_keys=True) for a in t.info.assessments),
                spans(t)]
               for t in sorted(mlflow.search_traces([experiment], return_type="list"),
                               key=lambda t: t.info.trace_id)],
}
print(json.dumps(found, sort_keys=True, default=str))
"""


def seen_by_mlflow(uri: str, cwd: Path) -> dict[str, Any]:
    """All that MLflow's client reads of models and traces, without what names the place."""
    found: dict[str, Any] = json.loads(
        run("-W", "ignore", "-c", READ, uri, cwd=cwd).splitlines()[-1]
    )
    same: dict[str, Any] = _without_none(found)
    return same


def _without_none(found: Any) -> Any:
    """A server's answers have "" for texts that a file store does not have."""
    if isinstance(found, dict):
        return {key: _without_none(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_without_none(value) for value in found]
    return "" if found is None else found


ALL = "2 logged models, 3 traces, 2 registered models, 3 model versions"


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file store that the installed mlflow wrote."""
    directory = tmp_path_factory.mktemp("objects")
    place = directory / "mlruns"
    run("-m", "tests.transfer.fill_objects", str(place), str(directory / "files"), cwd=directory)
    return place


@pytest.mark.timeout(400)
def test_models_and_traces_of_a_file_store_are_imported_completely(
    mlruns: Path, empty_uri: str, tmp_path: Path
) -> None:
    words = ("import", str(mlruns), "--backend-store-uri", empty_uri)
    assert ALL in command(*words, "--dry-run", cwd=tmp_path)
    assert ALL in command(*words, cwd=tmp_path)
    original = seen_by_mlflow(str(mlruns), tmp_path)
    with headrace(empty_uri, tmp_path) as server:
        copy = seen_by_mlflow(server.url, tmp_path)
        assert copy == original
        again = command(*words, cwd=tmp_path)
        # One model is still pending, so it is written again.
        assert "1 logged model; 1 run and 7 models, versions and traces were there" in again
        assert seen_by_mlflow(server.url, tmp_path) == copy


@pytest.mark.parametrize("kind", ["headrace", pytest.param("stock", marks=pytest.mark.compat)])
@pytest.mark.timeout(400)
def test_models_and_traces_of_a_server_are_imported_completely(
    mlruns: Path, tmp_path: Path, kind: str
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    one, two = f"sqlite:///{here}/one.db", f"sqlite:///{there}/two.db"
    command("import", str(mlruns), "--backend-store-uri", one, cwd=here)
    with (
        {"headrace": headrace, "stock": stock}[kind](one, here) as source,
        headrace(two, there) as server,
    ):
        words = ("import", source.url, "--backend-store-uri", two)
        first = command(*words, cwd=there)
        assert ALL in first
        original = seen_by_mlflow(source.url, here)
        copy = seen_by_mlflow(server.url, there)
        assert copy == original
        assert "7 models, versions and traces were there" in command(*words, cwd=there)
        assert seen_by_mlflow(server.url, there) == copy
