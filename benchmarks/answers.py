"""Answers of the null server: as long as the real ones, correct where scripts check them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks import seeds

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 100
SAMPLE = 320


def _run(index: int) -> dict[str, object]:
    key = seeds.run_id(seeds.SMALL_SET, index)
    metrics = [
        {"key": f"metric_{k}", "value": index / (k + 1), "timestamp": seeds.START_MS, "step": 7}
        for k in range(seeds.METRICS_PER_RUN)
    ]
    params = [
        {"key": f"param_{k}", "value": f"value {index % 17} of param {k}"}
        for k in range(seeds.PARAMS_PER_RUN)
    ]
    tags = [{"key": f"tag_{k}", "value": f"value of tag {k}"} for k in range(5)]
    info = {
        "run_uuid": key,
        "experiment_id": str(seeds.SMALL_EXPERIMENT),
        "run_name": f"run-{index}",
        "user_id": "seed",
        "status": "RUNNING",
        "start_time": seeds.START_MS + index,
        "artifact_uri": f"mlflow-artifacts:/{seeds.SMALL_EXPERIMENT}/{key}/artifacts",
        "lifecycle_stage": "active",
        "run_id": key,
    }
    data = {"metrics": metrics, "params": params, "tags": tags}
    return {"info": info, "data": data, "inputs": {}, "outputs": {}}


def _experiment(index: int) -> dict[str, object]:
    return {
        "experiment_id": str(seeds.LISTED_EXPERIMENTS + index),
        "name": f"{seeds.LISTED_PREFIX}{index}",
        "artifact_location": f"mlflow-artifacts:/{seeds.LISTED_EXPERIMENTS + index}",
        "lifecycle_stage": "active",
        "last_update_time": seeds.START_MS,
        "creation_time": seeds.START_MS,
    }


def _points(count: int, **more: str) -> list[dict[str, object]]:
    return [
        {"key": "loss", "value": 1 / (i + 1), "timestamp": seeds.START_MS + i, "step": i} | more
        for i in range(count)
    ]


def write_answers(folder: Path) -> None:
    """Write one file per route, with the names that null_server.c expects."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = {
        "experiments_create": {"experiment_id": "1"},
        "experiments_search": {"experiments": [_experiment(i) for i in range(PAGE)]},
        "metrics_get-history": {"metrics": _points(seeds.HISTORY_POINTS)},
        "metrics_get-history-bulk-interval": {"metrics": _points(SAMPLE, run_id=seeds.LONG_RUN)},
        "runs_create": {"run": _run(0)},
        "runs_get": {"run": _run(0)},
        "runs_search": {"runs": [_run(i) for i in range(PAGE)]},
    }
    for name, answer in answers.items():
        (folder / name).write_text(json.dumps(answer))
