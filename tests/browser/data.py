"""Fills a server with typical data through the real client; as a script, it prints the ids."""

from __future__ import annotations

import json
import math
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

RUNS = 20
START_MS = 1_700_000_000_000
# The files of mlflow.<flavor>.log_model that the page reads.
MLMODEL = """
artifact_path: model-1
flavors: {}
signature:
  inputs: '[{"type": "double", "name": "pixel", "required": true}]'
  outputs: '[{"type": "string", "name": "label", "required": true}]'
"""


def main(url: str) -> dict[str, Any]:
    """Experiment, runs, artifacts, model versions, a logged model, a prompt, a trace."""
    mlflow.set_tracking_uri(url)
    client = MlflowClient(url)
    experiment = client.create_experiment("image classifier")
    runs = [log_run(client, experiment, number) for number in range(RUNS)]
    log_report(client, runs[0])
    register(client, runs[0])
    model = client.create_logged_model(
        experiment, name="resnet", source_run_id=runs[0], params={"depth": "50"}
    )
    client.finalize_logged_model(model.model_id, "READY")
    accuracy = Metric("val_accuracy", 0.91, START_MS, 0, model_id=model.model_id)
    client.log_batch(runs[0], metrics=[accuracy])
    mlflow.genai.register_prompt("greeting", "Say hello to {{name}} in {{language}}.")
    mlflow.genai.register_prompt("greeting", "Greet {{name}} warmly in {{language}}.")
    client.create_webhook("deploys", "https://8.8.8.8/x", ["registered_model.created"])
    client.update_webhook(client.list_webhooks()[0].webhook_id, status="DISABLED")
    trace(experiment)
    return {"experiment": experiment, "runs": runs, "model": model.model_id}


def log_run(client: MlflowClient, experiment: str, number: int) -> str:
    tags = {"team": "vision", "seed": str(number)}
    run = client.create_run(experiment, run_name=f"run-{number:02d}", tags=tags)
    points = [
        Metric(key, value, START_MS + 1000 * step, step)
        for step in range(100)
        for key, value in (
            ("loss", math.exp(-step / 20) * (1 + number / RUNS)),
            ("accuracy", 1 - math.exp(-step / 30) * (1 + number / RUNS)),
        )
    ]
    params = [
        Param("lr", str(0.1 / (number + 1))),
        Param("optimizer", "adam" if number % 2 else "sgd"),
    ]
    run_id: str = run.info.run_id
    client.log_batch(run_id, metrics=points, params=params)
    client.set_terminated(run_id)
    return run_id


def log_report(client: MlflowClient, run_id: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "gradient.png").write_bytes(png(200, 120))
        (directory / "notes.txt").write_text("the learning rate was halved\n" * 20)
        client.log_artifacts(run_id, name, "report")


def png(width: int, height: int) -> bytes:
    """A colour gradient."""
    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (x * 255 // width, y * 255 // height, 128))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def register(client: MlflowClient, run_id: str) -> None:
    client.create_registered_model("classifier", tags={"owner": "vision"}, description="Sorts.")
    client.log_text(run_id, MLMODEL, "model-1/MLmodel")
    root = client.get_run(run_id).info.artifact_uri
    for number in (1, 2):
        client.create_model_version("classifier", f"{root}/model-{number}", run_id)
    client.set_registered_model_alias("classifier", "champion", "2")


def trace(experiment: str) -> None:
    mlflow.set_experiment(experiment_id=experiment)
    with mlflow.start_span("answer") as span:
        span.set_inputs({"question": "what is it?"})
        with mlflow.start_span("look") as inner:
            inner.set_inputs({"image": "gradient.png"})
        span.set_outputs({"answer": "a cat"})
    mlflow.flush_trace_async_logging()


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201
