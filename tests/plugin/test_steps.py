"""Steps that are no integers: refused or converted when they are written, read as integers, repaired."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.plugin.conftest import SCRIPT_TIMEOUT_S, output

import headrace
from headrace.client import engine

if TYPE_CHECKING:
    from collections.abc import Callable

# MLflow's own store, then headrace's, log steps of numpy and a fraction to a run each.
LOG = """
import sys, warnings
warnings.simplefilter("ignore")
import headrace, mlflow, numpy as np
for switch in (headrace.disable, headrace.enable):
    switch()
    client = mlflow.MlflowClient(sys.argv[1])
    run_id = client.create_run("0").info.run_id
    for n, step in enumerate((np.int64(300), np.int32(2), np.int16(4), np.uint8(5), 6.0, 1.5)):
        try:
            client.log_metric(run_id, f"m{n}", np.float32(0.5), timestamp=1, step=step)
        except mlflow.MlflowException as error:
            assert error.error_code == "INVALID_PARAMETER_VALUE", error
            assert "Step must be a valid long" in error.message
            print("refused", step)
    print(run_id)
"""


@pytest.fixture
def logged(script: Callable[..., subprocess.Popen[str]], sqlite_uri: str) -> tuple[str, str, str]:
    """The database, the run of MLflow's store, the run of headrace's."""
    plain, refused, ours = output(script(LOG, sqlite_uri, headrace="0")).splitlines()
    assert refused == "refused 1.5"
    return sqlite_uri, plain, ours


def steps(uri: str, run_id: str) -> dict[str, object]:
    """The steps of a run as the file holds them, by key."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as file:
        return dict(file.execute("SELECT key, step FROM metrics WHERE run_uuid = ?", (run_id,)))


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace.commands.cli", *words],
        capture_output=True,
        text=True,
        timeout=SCRIPT_TIMEOUT_S,
        check=False,
    )


def test_steps_of_numpy_are_integers_however_they_were_stored(logged: tuple[str, str, str]) -> None:
    uri, plain, ours = logged
    assert isinstance(steps(uri, plain)["m0"], bytes)
    meant = {"m0": 300, "m1": 2, "m2": 4, "m3": 5, "m4": 6}
    assert steps(uri, ours) == meant
    with headrace.connect(uri) as tracking:
        data = tracking.run(plain).data.metrics
        assert {metric.key: metric.step for metric in data} == meant | {"m5": 1}
        assert tracking.metric_history(plain, "m0") == [(300, 1, 0.5)]
        found = tracking.search_runs(["0"])
        assert {m.step for run in found for m in run.data.metrics} == {300, 2, 4, 5, 6, 1}


def test_the_doctor_counts_them_and_a_command_repairs_them(logged: tuple[str, str, str]) -> None:
    uri, plain, _ = logged
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as file, file:
        file.execute(  # the point exists with the integer too
            "INSERT INTO metrics SELECT key, value, timestamp, run_uuid, 300, is_nan"
            " FROM metrics WHERE key = 'm0' AND run_uuid = ?",
            (plain,),
        )
        file.execute(
            "INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step,"
            " metric_value, experiment_id, run_id) VALUES ('m-1', 'm0', 1, x'2c01', 0.5, 0, ?)",
            (plain,),
        )
    sick = command("doctor", uri)
    assert sick.returncode == 1
    assert "11 points have a step or a time that is no integer" in sick.stdout
    assert f"headrace db repair-steps {uri}" in sick.stdout
    repaired = command("db", "repair-steps", uri)
    assert repaired.returncode == 0, repaired.stderr
    assert repaired.stdout == "6 steps were no integers and were corrected.\n"
    assert steps(uri, plain) == {"m0": 300, "m1": 2, "m2": 4, "m3": 5, "m4": 6, "m5": 1}
    healthy = command("doctor", uri)
    assert (healthy.returncode, "No problems found." in healthy.stdout) == (0, True)
    with closing(sqlite3.connect(Path(uri.removeprefix("sqlite:///")))) as file:
        latest = file.execute(
            "SELECT DISTINCT typeof(step) FROM latest_metrics WHERE run_uuid = ?", (plain,)
        )
        assert latest.fetchall() == [("integer",)]
        of_model = file.execute("SELECT metric_step FROM logged_model_metrics").fetchall()
        assert of_model == [(300,)]
    engine.close_all()
