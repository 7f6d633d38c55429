"""Everything the client can read of an experiment, as JSON: runs, data, inputs, histories, a DataFrame.

Runs under mlflow 2.22 and 3.17; MLFLOW_TRACKING_URI is a server or a database that is read directly.
"""

import json
import sys
from typing import Any

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient


def experiment_of(client: MlflowClient, experiment_id: str) -> dict[str, Any]:
    """The experiment's columns and tags."""
    found = client.get_experiment(experiment_id)
    by_name = client.get_experiment_by_name(found.name)
    assert by_name.experiment_id == experiment_id
    return {
        "name": found.name,
        "artifact_location": found.artifact_location,
        "lifecycle_stage": found.lifecycle_stage,
        "creation_time": found.creation_time,
        "last_update_time": found.last_update_time,
        "tags": dict(found.tags),
    }


def run_of(client: MlflowClient, run: Run) -> dict[str, Any]:
    """A run as the client shows it, whatever of it both releases know."""
    inputs = [
        {
            "tags": sorted((tag.key, tag.value) for tag in item.tags),
            "name": item.dataset.name,
            "digest": item.dataset.digest,
            "source_type": item.dataset.source_type,
            "source": item.dataset.source,
            "schema": item.dataset.schema,
            "profile": item.dataset.profile,
        }
        for item in run.inputs.dataset_inputs
    ]
    return {
        "info": {key: value for key, value in dict(run.info).items() if key != "run_uuid"},
        "params": dict(run.data.params),
        "metrics": {key: repr(value) for key, value in run.data.metrics.items()},
        "tags": dict(run.data.tags),
        "inputs": sorted(inputs, key=json.dumps),
        "histories": {
            key: [
                (repr(m.value), m.timestamp, m.step)
                for m in client.get_metric_history(run.info.run_id, key)
            ]
            for key in run.data.metrics
        },
    }


def models_of(run: Run) -> dict[str, Any]:
    """Model inputs and outputs, which only mlflow 3 knows."""
    outputs = getattr(run, "outputs", None)
    return {
        "in": sorted(m.model_id for m in getattr(run.inputs, "model_inputs", None) or []),
        "out": sorted((m.model_id, m.step) for m in outputs.model_outputs) if outputs else [],
    }


def main() -> None:
    experiment_id = sys.argv[1]
    client = MlflowClient()
    pages = []
    token = None
    while True:
        page = client.search_runs([experiment_id], run_view_type=ViewType.ALL, max_results=3,
                                  order_by=["attributes.run_name ASC"], page_token=token)  # fmt: skip
        pages += [run.info.run_id for run in page]
        token = page.token
        if not token:
            break
    runs = [client.get_run(run_id) for run_id in pages]
    found = client.search_runs(
        [experiment_id], "metrics.r2 > 0.1 and params.depth != '9'", order_by=["metrics.r2 DESC"]
    )
    frame = mlflow.search_runs([experiment_id], order_by=["attributes.run_name"])
    json.dump(
        {
            "experiment": experiment_of(client, experiment_id),
            "order": pages,
            "runs": {run.info.run_id: run_of(client, run) for run in runs},
            "models": {run.info.run_id: models_of(run) for run in runs},
            "found": [run.info.run_id for run in found],
            "frame": json.loads(
                frame.reindex(sorted(frame.columns), axis=1).to_json(date_format="iso")
            ),
        },
        sys.stdout,
        sort_keys=True,
        default=str,
    )


if __name__ == "__main__":
    main()
