"""Logs experiments with MLflow's client: nested, deleted and failed runs, datasets, artifacts, odd metrics.

`python -m tests.transfer.fill URI DIRECTORY`; the artifacts are made in the directory.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

PARENT = "mlflow.parentRunId"
POINTS = 12_000  # more than one page of a history


def fill(uri: str, directory: Path) -> None:
    """Log everything."""
    client = MlflowClient(uri)
    one = client.create_experiment("one", tags={"team": "blue", "deep/key": "ü"})
    parent = client.create_run(one, start_time=1_700_000_000_000, run_name="parent").info.run_id
    client.log_batch(
        parent, [Metric("loss", 1 / (n + 1), 1_700_000_000_000 + n, n) for n in range(1000)]
    )
    odd = (math.nan, 1e308, -0.5)
    client.log_batch(
        parent,
        [Metric("odd/nan", value, 5, n - 1) for n, value in enumerate(odd)],
        [Param(f"p{n}", f"v{n}\nü") for n in range(100)],
        [RunTag("note", "line 1\nline 2\n"), RunTag("long", "x" * 5000)],
    )
    for start in range(0, POINTS, 1000):
        client.log_batch(parent, [Metric("long", n, n, n) for n in range(start, start + 1000)])
    source = Dataset("data", "d1", "local", '{"uri": "x"}', '{"s": 1}', '{"p": 2}')
    client.log_inputs(parent, [DatasetInput(source, [InputTag("mlflow.data.context", "train")])])
    (directory / "deep").mkdir(parents=True)
    (directory / "deep/ü b.bin").write_bytes(os.urandom(300_000))
    (directory / "top.txt").write_text("top")
    client.log_artifacts(parent, str(directory), "files")
    client.set_terminated(parent, "FINISHED", end_time=1_700_000_100_000)
    child = client.create_run(one, tags={PARENT: parent, "mlflow.user": "ann"}).info.run_id
    client.log_metric(child, "loss", 0.25, step=3)
    client.set_terminated(child, "FAILED")
    client.delete_run(client.create_run(one, run_name="deleted").info.run_id)
    client.create_run(one, run_name="running")
    two = client.create_experiment("two")
    client.set_terminated(client.create_run(two, run_name="in two").info.run_id, "KILLED")
    client.delete_experiment(two)


if __name__ == "__main__":
    fill(sys.argv[1], Path(sys.argv[2]))
