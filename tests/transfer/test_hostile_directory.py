"""`headrace import` from broken and hostile directories: `mlruns` and exports."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
from tests.faults.stored import rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transfer.conftest import Imported

RUN = "a" * 32
GOOD_RUN = "b" * 32


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
    imported: Imported, mlruns: Path, file: str, text: str, message: str
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
    imported: Imported, uri: str, mlruns: Path, tmp_path: Path
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
    assert rows(uri, "SELECT DISTINCT status FROM runs") == [("FINISHED",)]
    code, output = imported(str(mlruns), "--artifact-root", str(secret), "--again")
    assert (code, "2 runs, 2 points, 4 files (14 bytes)" in output) == (0, True), output


def test_a_param_that_is_a_symbolic_link_is_not_read(
    imported: Imported, mlruns: Path, tmp_path: Path
) -> None:
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
    imported: Imported, tmp_path: Path, line: str, message: str, runs: int
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


def test_a_parquet_file_that_is_none_is_reported(imported: Imported, tmp_path: Path) -> None:
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
def test_an_event_at_no_time_is_reported(imported: Imported, tmp_path: Path, time: float) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    event = b"\x09" + struct.pack("<d", time)
    record = struct.pack("<Q4x", len(event)) + event + bytes(4)
    (logs / "events.out.tfevents.1.host").write_bytes(record)
    code, output = imported(str(logs))
    assert (code, f"the time {time} is none" in output) == (1, True), output


def test_an_event_whose_summary_is_a_number_is_reported(imported: Imported, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    event = b"\x09" + struct.pack("<d", 1.0) + b"\x28\x01"
    record = struct.pack("<Q4x", len(event)) + event + bytes(4)
    (logs / "events.out.tfevents.1.host").write_bytes(record)
    code, output = imported(str(logs))
    assert (code, "'logs': a number instead of a message" in output) == (1, True), output


TRACE = "tr-" + "c" * 32
SPAN = {
    "name": "f",
    "span_id": "AAAAAAAAAAE=",
    "start_time_unix_nano": 10**18,
    "end_time_unix_nano": 10**18 + 5_000_000,
    "status": {"code": "STATUS_CODE_OK"},
    "attributes": {"mlflow.spanInputs": '{"x": 1}'},
}
TRACE_INFO = "state: OK\nrequest_time: '2025-01-01T00:00:00Z'\nexecution_duration_ms: 5\n"
MODEL = "name: m\ncreation_timestamp: 5\nlast_updated_timestamp: 6\nstatus: 2\n"
VERSION = "version: 1\ncreation_timestamp: 5\nsource: s3://b/m\n"


@pytest.fixture
def objects(mlruns: Path) -> Path:
    """`mlruns` with a logged model, a trace and a registered model with a version."""
    files = {
        "7/models/m-1/meta.yaml": MODEL,
        "7/models/m-1/metrics/acc": f"5 0.5 1 {RUN}\n",
        "7/models/m-1/params/p": "1",
        "7/models/m-1/artifacts/MLmodel": "x",
        f"7/traces/{TRACE}/trace_info.yaml": TRACE_INFO,
        f"7/traces/{TRACE}/tags/t": "1",
        f"7/traces/{TRACE}/artifacts/traces.json": json.dumps({"spans": [SPAN]}),
        "models/reg/meta.yaml": "name: reg\ncreation_timestamp: 5\n",
        "models/reg/aliases/prod": "1",
        "models/reg/version-1/meta.yaml": VERSION,
    }
    for name, text in files.items():
        (mlruns / name).parent.mkdir(parents=True, exist_ok=True)
        (mlruns / name).write_text(text)
    return mlruns


ALL = "1 logged model, 1 trace, 1 registered model, 1 model version"
NO_MODEL = "1 trace, 1 registered model, 1 model version"
NO_TRACE = "1 logged model, 1 registered model, 1 model version"
NO_VERSION = "1 logged model, 1 trace, 1 registered model; "
NO_REGISTERED = "1 logged model, 1 trace; "


@pytest.mark.parametrize(
    ("file", "text", "message", "rest"),
    [
        ("7/models/m-1/meta.yaml", "status: 9", "there is no status 9", NO_MODEL),
        ("7/models/m-1/meta.yaml", MODEL + "model_type: [1]", "model_type", NO_MODEL),
        ("7/models/m-1/meta.yaml", "name: a/b", "Invalid model name", NO_MODEL),
        ("7/models/m-1/meta.yaml", MODEL + f"creation_timestamp: {10**30}", "creation", NO_MODEL),
        ("7/models/m-1/metrics/acc", "5 0.5\n", "it is not a line of a metric", NO_MODEL),
        ("7/models/m-1/params/p", "a\0b", "must not contain NUL", NO_MODEL),
        (f"7/traces/{TRACE}/trace_info.yaml", "request_time: soon", "RFC 3339", NO_TRACE),
        (f"7/traces/{TRACE}/trace_info.yaml", "state: [1]", "state", NO_TRACE),
        (f"7/traces/{TRACE}/tags/t", "a\0b", "must not contain NUL", NO_TRACE),
        (f"7/traces/{TRACE}/artifacts/traces.json", "{", "it is not JSON", NO_TRACE),
        (f"7/traces/{TRACE}/artifacts/traces.json", "[]", "no list of spans", NO_TRACE),
        (f"7/traces/{TRACE}/artifacts/traces.json", '{"spans": [{}]}', "malformed", NO_TRACE),
        (
            f"7/traces/{TRACE}/artifacts/traces.json",
            json.dumps({"spans": [SPAN, SPAN | {"span_id": "zzz", "attributes": [1]}]}),
            "The span 1 of the trace",
            NO_TRACE,
        ),
        (
            f"7/traces/{TRACE}/artifacts/traces.json",
            json.dumps({"spans": [SPAN | {"start_time_unix_nano": 2**80}]}),
            "malformed",
            NO_TRACE,
        ),
        ("models/reg/meta.yaml", "a: [", "registered model reg: ", NO_REGISTERED),
        ("models/reg/aliases/prod", "soon", "aliases", NO_REGISTERED),
        ("models/reg/version-1/meta.yaml", "version: 0", "There is no version 0", NO_VERSION),
        ("models/reg/version-1/meta.yaml", f"version: {2**40}", "There is no version", NO_VERSION),
        (
            "models/reg/version-1/meta.yaml",
            VERSION + "current_stage: x",
            "no stage 'x'",
            NO_VERSION,
        ),
        ("models/reg/version-1/meta.yaml", VERSION + "run_id: ../../x", "run_id", NO_VERSION),
    ],
)
def test_a_broken_file_concerns_one_object(
    imported: Imported, objects: Path, file: str, text: str, message: str, rest: str
) -> None:
    good = (objects / file).read_text()
    (objects / file).write_text(text)
    for words in (("--dry-run",), ()):
        code, output = imported(str(objects), *words)
        assert (code, rest in output) == (1, True), output
        assert output.count("NOT IMPORTED: ") == 1, output
        assert message in output
    (objects / file).write_text(good)
    code, output = imported(str(objects))
    assert (code, "NOT IMPORTED" in output) == (0, False), output
    code, output = imported(str(objects), "--again")
    assert (code, "1 logged model, 1 trace; 0 runs and 1 model, version or trace" in output) == (
        0,
        True,
    ), output


def test_spans_are_read_below_the_source_only(
    imported: Imported, objects: Path, tmp_path: Path
) -> None:
    file = objects / f"7/traces/{TRACE}/artifacts/traces.json"
    file.rename(tmp_path / "secret.json")
    file.symlink_to(tmp_path / "secret.json")
    code, output = imported(str(objects))
    assert (code, NO_TRACE in output) == (1, True), output
    assert "it lies outside of the directories that may be read" in output


def test_a_version_that_the_target_has_otherwise_is_reported(
    imported: Imported, objects: Path
) -> None:
    assert imported(str(objects))[0] == 0
    (objects / "models/reg/version-1/meta.yaml").write_text(VERSION.replace("5", "77"))
    code, output = imported(str(objects))
    assert code == 1
    assert "the target has another version of this number" in output


def test_a_run_id_of_a_version_reads_no_other_file(imported: Imported, objects: Path) -> None:
    """It would name a file outside of the experiments."""
    outside = objects.parent / "outside"
    outside.mkdir()
    (outside / "meta.yaml").write_text("artifact_uri: s3://b\n")
    (objects / "models/reg/version-1/meta.yaml").write_text(VERSION + "run_id: ../../outside\n")
    code, output = imported(str(objects))
    assert (code, "run_id" in output) == (1, True), output


def test_a_trace_of_mlflow_2_keeps_its_id_and_its_spans(
    imported: Imported, uri: str, objects: Path, tmp_path: Path
) -> None:
    """Its id is not that of its spans, so they stay a file."""
    id_ = "d" * 32
    trace = objects / "7/traces" / id_
    (trace / "artifacts").mkdir(parents=True)
    (trace / "trace_info.yaml").write_text(
        f"request_id: {id_}\nexperiment_id: '7'\ntimestamp_ms: 5\nexecution_time_ms: 7\nstatus: OK\n"
    )
    old = {"name": "f", "context": {"span_id": "0x1", "trace_id": "0x2"}, "start_time": 1}
    (trace / "artifacts/traces.json").write_text(json.dumps({"spans": [old]}))
    code, output = imported(str(objects))
    assert (code, "2 traces" in output) == (0, True), output
    found = rows(
        uri,
        f"SELECT timestamp_ms, execution_time_ms, status FROM trace_info WHERE request_id = '{id_}'",
    )
    assert found == [(5, 7, "OK")]
    (file,) = (tmp_path / "mlartifacts").rglob("traces.json")
    assert json.loads(file.read_text()) == {"spans": [old]}
    code, output = imported(str(objects))
    assert (code, "0 runs, 0 points, 0 files (0 bytes); " in output) == (0, True), output
