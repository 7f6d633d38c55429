"""`headrace import` and `headrace export` with sources that MLflow and MLflow's server wrote."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import ROOT, STOCK_ENVIRONMENT, headrace, stock

from headrace.client import engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 100
ENVIRONMENT = (
    os.environ
    | STOCK_ENVIRONMENT
    | {"PYTHONPATH": f"{ROOT}/src{os.pathsep}{ROOT}", "MLFLOW_ALLOW_FILE_STORE": "true"}
)


def run(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        env=ENVIRONMENT,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def refused(*words: str, cwd: Path) -> str:
    """Return the output of a command whose exit code is 1."""
    done = subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", *words],
        env=ENVIRONMENT, cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def command(*words: str, cwd: Path) -> str:
    return run("-m", "headrace.commands.cli", *words, cwd=cwd)


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file store that the installed mlflow wrote."""
    directory = tmp_path_factory.mktemp("store")
    place = directory / "mlruns"
    run("-m", "tests.transfer.fill", str(place), str(directory / "files"), cwd=directory)
    return place


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    engine.close_all()


READ = """
import json, sys
from mlflow import MlflowClient
from mlflow.entities import ViewType
client = MlflowClient(sys.argv[1])
found = {}
for experiment in client.search_experiments(view_type=ViewType.ALL):
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    found[experiment.name] = {
        "stage": experiment.lifecycle_stage, "tags": experiment.tags,
        "times": [experiment.creation_time, experiment.last_update_time],
        "runs": {
            run.info.run_id: {
                "info": [run.info.run_name, run.info.status, run.info.start_time, run.info.end_time,
                         run.info.user_id, run.info.lifecycle_stage],
                "params": run.data.params, "tags": run.data.tags,
                "datasets": [[one.dataset.to_dictionary(), sorted((t.key, t.value) for t in one.tags)]
                             for one in run.inputs.dataset_inputs],
                "metrics": {key: sorted((m.step, m.timestamp, repr(m.value))
                                        for m in client.get_metric_history(run.info.run_id, key))
                            for key in run.data.metrics},
            } for run in runs
        },
    }
print(json.dumps(found, sort_keys=True))
"""


def seen_by_mlflow(uri: str, cwd: Path) -> dict[str, Any]:
    """All that MLflow's client reads from a store, with the ids that an import must keep."""
    found: dict[str, Any] = json.loads(run("-W", "ignore", "-c", READ, uri, cwd=cwd))
    return found


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes()
        for file in directory.rglob("*")
        if file.is_file()
    }


def exported(uri: str, directory: Path, *options: str) -> dict[str, bytes]:
    """The files of an export."""
    command("export", str(directory), "--backend-store-uri", uri, *options, cwd=directory.parent)
    return files_below(directory)


def test_a_file_store_is_imported_completely(mlruns: Path, empty_uri: str, tmp_path: Path) -> None:
    to = ("--backend-store-uri", empty_uri)
    counted = command("import", str(mlruns), *to, "--dry-run", cwd=tmp_path)
    assert counted.startswith(
        "Would import 3 experiments, 5 runs, 13,004 points, 2 files (300,003 bytes)"
    )
    first = command("import", str(mlruns), *to, cwd=tmp_path)
    assert first.startswith(
        "Imported 3 experiments, 5 runs, 13,004 points, 2 files (300,003 bytes)"
    )
    original = seen_by_mlflow(str(mlruns), tmp_path)
    sqlalchemy = empty_uri.replace("postgresql://", "postgresql+psycopg2://")
    copy = seen_by_mlflow(sqlalchemy, tmp_path)
    for name, experiment in original.items():
        assert copy[name] == experiment or name == "Default", name
    names = {*files_below(mlruns.parent / "files").values()}
    assert {*files_below(tmp_path / "mlartifacts").values()} == names
    again = command("import", str(mlruns), *to, cwd=tmp_path)
    assert "; 4 runs were there already" in again
    assert seen_by_mlflow(sqlalchemy, tmp_path) == copy


def test_an_interrupted_import_continues(mlruns: Path, tmp_path: Path) -> None:
    """Killed in the middle, again and again; in the end nothing is missing."""
    uri = f"sqlite:///{tmp_path}/cut.db"
    whole = f"sqlite:///{tmp_path}/whole.db"
    words = [sys.executable, "-m", "headrace.commands.cli", "import", str(mlruns)]
    for seconds in (0.6, 0.8, 1.0):
        process = subprocess.Popen(
            [*words, "--backend-store-uri", uri], env=ENVIRONMENT, cwd=tmp_path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for one in (uri, whole):
        command("import", str(mlruns), "--backend-store-uri", one, cwd=tmp_path)
    cut, complete = (exported(one, tmp_path / one[-5:]) for one in (uri, whole))
    without_times(cut), without_times(complete)
    assert cut == complete


def without_times(files: dict[str, bytes]) -> None:
    """Remove the experiment 0 of an export: each database has its own."""
    for name in [name for name in files if name.startswith(("0/", "headrace"))]:
        del files[name]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_export_comes_back_equal(
    mlruns: Path, empty_uri: str, tmp_path: Path, kind: str
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    one = f"sqlite:///{here}/one.db"
    command("import", str(mlruns), "--backend-store-uri", one, cwd=here)
    before = exported(one, here / "export", "--format", kind)
    command("import", str(here / "export"), "--backend-store-uri", empty_uri, cwd=there)
    shutil.rmtree(here / "mlartifacts")
    after = exported(empty_uri, there / "export", "--format", kind)
    assert before.keys() == after.keys()
    assert len(before) == 1 + 3 * 5 + 2
    for name in before:
        if not name.startswith(("0/", "headrace")):
            assert before[name] == after[name], name
    manifests = [json.loads(files["headrace-export.json"]) for files in (before, after)]
    assert manifests[0]["runs"] == manifests[1]["runs"]


@pytest.mark.parametrize("kind", ["headrace", pytest.param("stock", marks=pytest.mark.compat)])
@pytest.mark.timeout(400)
def test_a_server_is_imported_completely(mlruns: Path, tmp_path: Path, kind: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    one, two = f"sqlite:///{here}/one.db", f"sqlite:///{there}/two.db"
    command("import", str(mlruns), "--backend-store-uri", one, cwd=here)
    with {"headrace": headrace, "stock": stock}[kind](one, here) as server:
        words = ("import", server.url, "--backend-store-uri", two)
        first = command(*words, cwd=there)
        assert first.startswith("Imported 3 experiments, 5 runs, 13,004 points, 2 files"), first
        assert "; 4 runs were there already" in command(*words, cwd=there)
    before, after = exported(one, here / "export"), exported(two, there / "export")
    without_times(before), without_times(after)
    assert before == after


def test_a_run_of_an_old_mlflow_without_name_and_tags_is_imported(
    empty_uri: str, tmp_path: Path
) -> None:
    """MLflow before 1.30 gave runs no names; its metrics have no steps, and the store was moved."""
    run = tmp_path / "mlruns/3" / ("0123456789abcdef" * 2)
    (run / "metrics").mkdir(parents=True)
    (run / "artifacts").mkdir()
    (run.parent / "meta.yaml").write_text("experiment_id: 3\nname: old\nlifecycle_stage: active\n")
    (run / "meta.yaml").write_text(
        f"run_uuid: {run.name}\nexperiment_id: 3\nstatus: 3\nstart_time: 5\nend_time: 9\n"
        "user_id: ann\nartifact_uri: file:///moved/away\nname: ''\n"
    )
    (run / "metrics/loss").write_text("7 0.5\n")
    (run / "artifacts/a.txt").write_text("a")
    for expected in ("1 run, 1 point, 1 file (", "0 runs, 0 points, 0 files"):
        words = ("import", str(tmp_path / "mlruns"), "--backend-store-uri", empty_uri)
        assert expected in command(*words, cwd=tmp_path)
    files = exported(empty_uri, tmp_path / "export", "--experiment", "old")
    assert json.loads(files["3/runs.jsonl"]) == {
        "run_id": run.name, "name": "", "user_id": "ann", "status": "FINISHED", "start_time": 5,
        "end_time": 9, "lifecycle_stage": "active",
        "artifact_uri": f"mlflow-artifacts:/3/{run.name}/artifacts",
    }  # fmt: skip
    assert json.loads(files["3/metrics.jsonl"])["step"] == 0
    assert files[f"3/artifacts/{run.name}/a.txt"] == b"a"


def test_artifacts_may_stay_where_they_are(mlruns: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/kept.db"
    words = ("import", str(mlruns), "--backend-store-uri", uri, "--artifacts", "keep")
    assert "0 files" in command(*words, "--experiment", "one", cwd=tmp_path)
    assert not (tmp_path / "mlartifacts").exists()
    with closing(sqlite3.connect(tmp_path / "kept.db")) as file:
        rows = file.execute("SELECT artifact_uri FROM runs").fetchall()
    assert len(rows) == 4
    assert all(str(mlruns) in uri for (uri,) in rows)


def test_what_cannot_be_imported_is_reported_and_the_rest_goes_on(
    mlruns: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(mlruns, copy)
    broken = next(copy.glob("*/*/metrics/loss"))
    with broken.open("a") as lines:
        lines.write("what is this\n")
    done = subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", "import", str(copy),
         "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"],
        env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "it is not a line of a metric" in done.stdout
    assert "Imported 3 experiments, 4 runs" in done.stdout
    nothing = subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", "import", str(tmp_path / "none")],
        env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (nothing.returncode, "does not exist" in nothing.stderr) == (1, True)


def test_what_does_not_exist_is_neither_exported_nor_imported(mlruns: Path, tmp_path: Path) -> None:
    missing = ("--backend-store-uri", f"sqlite:///{tmp_path}/missing.db")
    assert "does not exist" in refused("export", str(tmp_path / "out"), *missing, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
    words = ("import", str(mlruns), "--dry-run", *missing)
    assert "'nope': the source has none" in refused(*words, "--experiment", "nope", cwd=tmp_path)
    words = ("import", str(tmp_path), "--from", "tensorboard", *missing)
    assert "has no event files of TensorBoard" in refused(*words, cwd=tmp_path)
