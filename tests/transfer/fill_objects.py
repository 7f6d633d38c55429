"""Logs models, versions and traces with MLflow: `python -m tests.transfer.fill_objects URI DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import (
    AssessmentSource,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    SpanType,
)

TRACES = 3


def fill(uri: str, directory: Path) -> None:
    """Log everything."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    client = MlflowClient()
    experiment = client.create_experiment("with models")
    run = client.create_run(experiment).info.run_id
    directory.mkdir()
    (directory / "MLmodel").write_text("flavors: {}\n")
    (directory / "deep").mkdir()
    (directory / "deep/weights.bin").write_bytes(b"w" * 100_000)
    model = client.create_logged_model(
        experiment, "net", run, {"team": "blue"}, {"depth": "3"}, "keras"
    )
    client.log_model_artifacts(model.model_id, str(directory))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.create_logged_model(experiment, "pending")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, 7)])
    client.log_inputs(run, models=[LoggedModelInput(model.model_id)])
    points = [Metric("acc", n / 2, 1000 + n, n, model.model_id, "d", "1", run) for n in range(3)]
    client.log_batch(run, points)
    client.log_artifacts(run, str(directory), "old style")
    client.set_terminated(run)
    client.create_registered_model("detector", {"k": "v"}, "finds things")
    uri_of_run = client.get_run(run).info.artifact_uri
    client.create_model_version("detector", f"models:/{model.model_id}", run, {"vk": "vv"})
    client.create_model_version("detector", f"{uri_of_run}/old style", run, description="old")
    client.create_model_version("detector", f"models:/{model.model_id}")
    client.delete_model_version("detector", "3")
    client.set_registered_model_alias("detector", "best", "2")
    client.transition_model_version_stage("detector", "1", "Staging")
    mlflow.genai.register_prompt("greeting", "Hello {{name}}", tags={"lang": "en"})
    trace(experiment)


def trace(experiment: str) -> None:
    """Log traces with nested spans, events, an error and assessments."""
    mlflow.set_experiment(experiment_id=experiment)
    for number in range(TRACES):
        try:
            with mlflow.start_span("root", SpanType.CHAIN, {"n": number}) as root:
                root.set_inputs({"question": "ü?"})
                with mlflow.start_span("child", SpanType.LLM) as child:
                    child.set_outputs([1, 2.5, None])
                mlflow.update_current_trace(tags={"turn": str(number)})
                if number == 1:
                    raise ValueError("no answer")
                root.set_outputs("an answer")
        except ValueError:
            continue
    mlflow.flush_trace_async_logging()
    (found,) = mlflow.search_traces(
        [experiment], filter_string="tags.turn = '0'", return_type="list"
    )
    source = AssessmentSource("HUMAN", "ann")
    id_ = found.info.trace_id
    mlflow.log_feedback(trace_id=id_, name="good", value=True, source=source, rationale="it is")
    mlflow.log_expectation(trace_id=id_, name="answer", value={"a": [1]}, source=source)


if __name__ == "__main__":
    fill(sys.argv[1], Path(sys.argv[2]))
