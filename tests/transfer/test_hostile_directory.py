"""`headrace import` from broken and hostile directories: `mlruns` and exports."""

from __future__ import annotations

import json
import sqlite3
import struct
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from headrace.client import engine
from headrace.commands.transfer import import_

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = "a" * 32
GOOD_RUN = "b" * 32


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    engine.close_all()


def imported(*words: str) -> tuple[int, str]:
    """Import into the database of this test; return the exit code and the output."""
    words = (*words, "--backend-store-uri", "sqlite:///mlflow.db")
    found = CliRunner().invoke(import_, words)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exc_info
    return found.exit_code, found.output


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    """Two experiments: `7` has a run with all kinds of files, `8` a good one."""
    root = tmp_path / "mlruns"
    for experiment, run_id in (("7", RUN), ("8", GOOD_RUN)):
        run = root / experiment / run_id
        for name in ("metrics", "params", "artifacts"):
            (run / name).mkdir(parents=True)
        (root / experiment / "meta.yaml").write_text(f"name: e{experiment}\n")
        (run / "meta.yaml").write_text(f"run_id: {run_id}\nstatus: 3\nstart_time: 5\nend_time: 9\n")
        (run / "metrics/loss").write_text("7 0.5 1\n")
        (run / "params/p").write_text("1")
        (run / "artifacts/a.txt").write_text("a")
    return root


META = "run_id: {}\nstatus: {}\nstart_time: {}\n"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (f"{RUN}/metrics/loss", "9999999999999999999999 1 0\n", "more than 64 bits"),
        (f"{RUN}/metrics/loss", f"1 1 {2**70}\n", "more than 64 bits"),
        (f"{RUN}/meta.yaml", META.format(RUN, 3, 10**30), "start_time"),
        (f"{RUN}/meta.yaml", META.format(RUN, 3, "abc"), "start_time"),
        (f"{RUN}/meta.yaml", META.format(RUN, 99, 5), "there is no status 99"),
        (f"{RUN}/meta.yaml", META.format("../../../../x", 3, 5), "../../../../x"),
        (f"{RUN}/meta.yaml", "a: [", "cannot be imported"),
        (f"{RUN}/params/p", "a\0b", "must not contain NUL"),
        ("meta.yaml", "a: [", "NOT IMPORTED: experiment 7: "),
        ("meta.yaml", "just text", "it is not a mapping"),
        ("meta.yaml", f"name: e7\ncreation_time: {10**30}", "creation_time"),
    ],
)
def test_a_broken_file_concerns_one_run_or_experiment(
    mlruns: Path, file: str, text: str, message: str
) -> None:
    (mlruns / "7" / file).write_text(text)
    number = "1 experiment" if file == "meta.yaml" else "2 experiments"
    for words in (("--dry-run",), ()):
        code, output = imported(str(mlruns), *words)
        assert code == 1
        assert f"{number}, 1 run, 1 point, 1 file (1 byte); 0 runs" in output
        assert output.count("NOT IMPORTED: ") == 1
        assert message in output


def test_artifacts_are_read_below_the_source_or_a_root_that_is_named(
    mlruns: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "s.txt").write_text("secret")
    with (mlruns / "7" / RUN / "meta.yaml").open("a") as meta:
        meta.write(f"artifact_uri: {secret.as_uri()}\n")
    artifacts = mlruns / "8" / GOOD_RUN / "artifacts"
    (artifacts / "leak").symlink_to(secret / "s.txt")
    (artifacts / "leaks").symlink_to(secret)
    (artifacts / "again.txt").symlink_to("a.txt")
    start = f"NOT IMPORTED: artifacts of run {RUN} lie in {secret}, outside of {mlruns}; "
    for words in (("--dry-run",), ()):
        code, output = imported(str(mlruns), *words)
        assert (code, "2 runs, 2 points, 2 files (2 bytes)" in output) == (1, True), output
        assert f"{start}--artifact-root allows it" in output
        assert f"lie in {artifacts}/leak (a link to {secret}/s.txt), outside of" in output
        assert f"lie in {artifacts}/leaks (a link to {secret}), outside of" in output
    assert not [file for file in (tmp_path / "mlartifacts").rglob("*") if file.name == "s.txt"]
    with closing(sqlite3.connect("mlflow.db")) as opened:
        assert opened.execute("SELECT DISTINCT status FROM runs").fetchall() == [("FINISHED",)]
    code, output = imported(str(mlruns), "--artifact-root", str(secret), "--again")
    assert (code, "2 runs, 2 points, 4 files (14 bytes)" in output) == (0, True), output


def test_a_param_that_is_a_symbolic_link_is_not_read(mlruns: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (mlruns / "7" / RUN / "params/q").symlink_to(tmp_path / "secret")
    code, output = imported(str(mlruns))
    assert (code, "1 run, 1 point" in output) == (1, True)
    assert "it is a symbolic link" in output


GOOD_ROW = {
    "run_id": GOOD_RUN, "name": "n", "user_id": "u", "status": "FINISHED", "start_time": 1,
    "end_time": 2, "lifecycle_stage": "active", "artifact_uri": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message", "runs"),
    [
        ("[1]", "runs.jsonl:1 cannot be imported: it is not a row of the table runs", 0),
        ("{}", "runs.jsonl:1 cannot be imported: it is not a row of the table runs", 0),
        ("{", "runs.jsonl:1 cannot be imported: it is not JSON", 0),
        (json.dumps(GOOD_ROW | {"run_id": RUN, "start_time": 2**70}), "start_time", 1),
    ],
)
def test_a_broken_line_of_an_export_is_reported(
    tmp_path: Path, line: str, message: str, runs: int
) -> None:
    place = tmp_path / "export/1"
    place.mkdir(parents=True)
    for name in ("params", "tags", "metrics", "datasets"):
        (place / f"{name}.jsonl").touch()
    (place / "runs.jsonl").write_text(f"{line}\n{json.dumps(GOOD_ROW)}\n")
    (place.parent / "headrace-export.json").write_text(
        json.dumps(
            {"version": 1, "format": "jsonl", "runs": {"1": 2},
             "experiments": [{"experiment_id": "1", "name": "one"}]}
        )
    )  # fmt: skip
    for words in (("--dry-run",), ()):
        code, output = imported(str(place.parent), *words)
        assert (code, message in output) == (1, True), output
        assert f"{runs} run{'' if runs == 1 else 's'}, 0 points" in output


def test_a_parquet_file_that_is_none_is_reported(tmp_path: Path) -> None:
    place = tmp_path / "export/1"
    place.mkdir(parents=True)
    for name in ("runs", "params", "tags", "metrics", "datasets"):
        (place / f"{name}.parquet").write_text("this is no table")
    (place.parent / "headrace-export.json").write_text(
        json.dumps(
            {"version": 1, "format": "parquet", "runs": {"1": 2},
             "experiments": [{"experiment_id": "1", "name": "one"}]}
        )
    )  # fmt: skip
    code, output = imported(str(place.parent))
    assert (code, "NOT IMPORTED: experiment 'one': " in output) == (1, True), output


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1e300])
def test_an_event_at_no_time_is_reported(tmp_path: Path, time: float) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    event = b"\x09" + struct.pack("<d", time)
    record = struct.pack("<Q4x", len(event)) + event + bytes(4)
    (logs / "events.out.tfevents.1.host").write_bytes(record)
    code, output = imported(str(logs))
    assert (code, f"the time {time} is none" in output) == (1, True), output


def test_an_event_whose_summary_is_a_number_is_reported(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    event = b"\x09" + struct.pack("<d", 1.0) + b"\x28\x01"
    record = struct.pack("<Q4x", len(event)) + event + bytes(4)
    (logs / "events.out.tfevents.1.host").write_bytes(record)
    code, output = imported(str(logs))
    assert (code, "'logs': a number instead of a message" in output) == (1, True), output
