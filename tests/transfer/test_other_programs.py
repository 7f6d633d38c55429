"""Imports of what TensorBoard's writers and W&B wrote, and of damaged files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import headrace
from headrace.client import engine
from headrace.settings.table import Settings
from headrace.transfer.importing import Import, Report, Request
from headrace.transfer.protobuf import fields
from headrace.transfer.sources import kind_of, open_source
from headrace.transfer.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

TENSORBOARD = Path(__file__).parent / "tensorboard"
WANDB = Path(__file__).parent / "wandb"  # written by wandb 0.31.0, offline


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    engine.close_all()


def imported(source: Path, directory: Path, request: Request | None = None) -> tuple[Report, str]:
    """Import into a file in the directory; return the report and the database."""
    uri = f"sqlite:///{directory}/mlflow.db"
    settings = Settings(
        backend_store_uri=uri,
        default_artifact_root=f"{directory}/artifacts",
        artifacts_destination=f"{directory}/unused",
    )
    target = Target(settings)
    opened = open_source(str(source))
    try:
        asked = request or Request()
        return Import(opened, target, asked, lambda _: None).run(), uri
    finally:
        opened.close()
        target.close()


def runs(uri: str, experiment: str) -> dict[str, headrace.Connection]:
    """The runs of an experiment, by name."""
    with headrace.connect(uri) as tracking:
        number = tracking.experiment_id(experiment)
        return {run.info.run_name: run for run in tracking.search_runs([number])}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory that tensorboardX wrote: see write_logs.py."""
    return Path(shutil.copytree(TENSORBOARD / "logs", tmp_path / "logs"))


def test_tensorboard_runs_keep_times_nesting_and_parameters(logs: Path, tmp_path: Path) -> None:
    assert kind_of(str(logs)) == "tensorboard"
    report, uri = imported(logs, tmp_path)
    assert (report.runs, report.points, report.files, report.failures) == (4, 61, 4, [])
    found = runs(uri, "logs")
    assert found.keys() == {"logs", "train", "train/fold 1", "train/tuned"}
    parents = {
        name: {tag.key: tag.value for tag in run.data.tags}.get("mlflow.parentRunId")
        for name, run in found.items()
    }
    ids = {name: run.info.run_id for name, run in found.items()}
    train = ids["train"]
    assert parents == {
        "logs": None,
        "train": ids["logs"],
        "train/fold 1": train,
        "train/tuned": train,
    }
    params = {param.key: param.value for param in found["train/tuned"].data.params}
    assert params == {"lr": "0.1", "layers": "3", "norm": "True", "opt": "sgd"}
    assert found["train"].info.status == "FINISHED"
    with headrace.connect(uri) as tracking:
        history = tracking.metric_history(train, "loss/a_b_")
        assert [step for step, _, _ in history] == list(range(20))
        assert history[4] == (4, 1_700_000_004_000, pytest.approx(0.2))
    kept = sorted(Path(found["logs"].info.artifact_uri).iterdir())
    assert [file.read_bytes() for file in kept] == [
        file.read_bytes() for file in sorted(logs.glob("events*"))
    ]
    again, _ = imported(logs, tmp_path)
    assert (again.runs, again.present) == (0, 4)


def test_scalars_may_be_tensors(tmp_path: Path) -> None:
    """As TensorFlow 2 writes them; a tensor of another plugin is no scalar."""
    report, uri = imported(TENSORBOARD / "tensors", tmp_path)
    assert report.failures == []
    run = runs(uri, "tensors")["tensors"]
    found = {metric.key: (metric.value, metric.step) for metric in run.data.metrics}
    largest = 1.7976931348623157e308
    assert found == {
        "float": (0.5, 3),
        "content": (0.25, 3),
        "double": (largest, 3),
        "int": (-300.0, 3),
        "zero": (0.0, 3),
        "x_1_": (1.0, 3),
        "x_1__2": (2.0, 3),
    }
    with headrace.connect(uri) as tracking:
        assert tracking.metric_history(run.info.run_id, "float") == [
            (3, 5500, 0.5),
            (-1, 6000, 0.5),
        ]


def test_a_file_whose_writer_was_killed_is_read_to_its_last_event(
    logs: Path, tmp_path: Path
) -> None:
    (file,) = logs.glob("events*")
    file.write_bytes(file.read_bytes()[:-30])
    report, _ = imported(logs, tmp_path)
    assert (report.runs, report.failures) == (4, [])
    file.write_bytes(b"\xff" * 100)
    (tmp_path / "second").mkdir()
    report, _ = imported(logs, tmp_path / "second")
    assert len(report.failures) == 1
    assert "it is damaged" in report.failures[0]


@pytest.fixture
def wandb(tmp_path: Path) -> Path:
    """A directory of W&B with a run that has a file."""
    place = tmp_path / "wandb"
    shutil.copytree(WANDB, place)
    (run,) = place.iterdir()
    (run / "files").mkdir()
    (run / "files/out.txt").write_text("out")
    (place / "latest-run").symlink_to(run)
    return place


def test_a_run_of_wandb_is_imported(wandb: Path, tmp_path: Path) -> None:
    assert kind_of(str(wandb)) == "wandb"
    report, uri = imported(wandb, tmp_path)
    assert (report.runs, report.points, report.files, report.failures) == (1, 10, 1, [])
    run = runs(uri, "demo")["first"]
    assert (run.info.run_id, run.info.status) == ("run-1", "FINISHED")
    assert run.info.start_time < run.info.end_time < run.info.start_time + 60_000  # type: ignore[union-attr]
    assert {param.key: param.value for param in run.data.params} == {
        "lr": "0.1", "nested.layers": "3", "big": "x" * 10,
    }  # fmt: skip
    tags = {tag.key: tag.value for tag in run.data.tags}
    assert tags == {
        "mlflow.note.content": "some notes",
        "mlflow.runName": "first",
        "wandb.group": "g",
        "wandb.tags": "a, b",
    }
    with headrace.connect(uri) as tracking:
        assert [(s, v) for s, _, v in tracking.metric_history("run-1", "loss")] == [
            (0, 1.0), (1, 0.5), (2, 1 / 3),
        ]  # fmt: skip
        assert tracking.metric_history("run-1", "best")[0][2] == 0.9
        assert len(tracking.metric_history("run-1", "val.acc")) == 3
    assert (Path(run.info.artifact_uri) / "out.txt").read_text() == "out"


def test_a_run_of_wandb_that_was_killed_is_still_running(wandb: Path, tmp_path: Path) -> None:
    (file,) = (path for path in wandb.rglob("*.wandb") if not path.parent.is_symlink())
    whole = file.read_bytes()
    file.write_bytes(whole[:-60])
    report, uri = imported(wandb, tmp_path)
    assert (report.runs, report.failures) == (1, [])
    assert runs(uri, "demo")["first"].info.status == "RUNNING"
    file.write_bytes(whole)
    report, _ = imported(wandb, tmp_path)  # the rest of the run is added
    assert (report.runs, report.present) == (1, 0)
    assert runs(uri, "demo")["first"].info.status == "FINISHED"


@pytest.mark.parametrize("cut", [1, 5])
def test_a_message_that_is_cut_off_is_recognised(cut: int) -> None:
    whole = b"\x09" + bytes(8) + b"\x10\xac\x02\x1a\xc8\x01" + b"x" * 200
    assert dict(fields(whole)) == {1: bytes(8), 2: 300, 3: b"x" * 200}
    with pytest.raises(ValueError, match="cut off"):
        list(fields(whole[:-cut]))


def test_a_directory_of_nothing_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", "import", str(tmp_path), "--dry-run"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is none of these" in done.stderr
