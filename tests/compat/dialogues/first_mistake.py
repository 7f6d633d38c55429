"""Requests with several mistakes: the one that is reported. And invalid run ids."""

from __future__ import annotations

import json
from typing import Any

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run

LONG = "x" * 501
BAD_TAG = [{"key": "a?b", "value": "1"}]
TWO_NAMES = {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}
BAD_LOCATION = "http://h/x"
LONG_LOCATION = "s3://" + "b" * 2100
BAD_DATASET = [{"dataset": {"name": "n", "digest": "d" * 37, "source_type": "s", "source": "x"}}]
MODEL = json.dumps({"artifact_path": "m", "flavors": {}, "utc_time_created": "x", "run_id": "y"})

EXPERIMENTS = Dialogue(
    "the first mistake, experiments",
    (
        experiment(keep="gone"),
        post("delete it", "experiments/delete", {"experiment_id": "$gone"}),
        *(
            post(f"create: {label}", "experiments/create", body)
            for label, body in {
                "long name, bad location": {"name": LONG, "artifact_location": BAD_LOCATION},
                "long name, long location": {"name": LONG, "artifact_location": LONG_LOCATION},
                "long name, bad tag": {"name": LONG, "tags": BAD_TAG},
                "taken name, bad location": {"name": "Default", "artifact_location": BAD_LOCATION},
                "taken name, bad tag": {"name": "Default", "tags": BAD_TAG},
                "bad location, bad tag": {"name": "q", "artifact_location": BAD_LOCATION, "tags": BAD_TAG},
                "long location, bad tag": {"name": "q", "artifact_location": LONG_LOCATION, "tags": BAD_TAG},
            }.items()
        ),
        *(
            post(f"rename {number} to a long name", "experiments/update", {"experiment_id": number, "new_name": LONG})
            for number in ("abc", "999999", "$gone")
        ),
        *(
            post(f"bad tag of {number}", "experiments/set-experiment-tag", {"experiment_id": number, "key": "a?b"})
            for number in ("abc", "999999", "$gone")
        ),
        *(
            post(f"two names in {number}", "runs/create", {"experiment_id": number} | TWO_NAMES)
            for number in ("abc", "999999", "$gone", "99999999999999999999")
        ),
        post("two names, no experiment", "runs/create", TWO_NAMES),
        *(
            post(f"search runs of {number}: {label}", "runs/search", {"experiment_ids": [number]} | fields)
            for number in ("abc", "2147483648", "99999999999999999999")
            for label, fields in {
                "bad filter": {"filter": "bogus"},
                "bad order": {"order_by": ["bogus"]},
                "bad token": {"page_token": "!!"},
                "no results": {"max_results": 0},
            }.items()
        ),
    ),
)  # fmt: skip

WRITES: dict[str, list[dict[str, Any]]] = {
    "runs/set-tag": [{"key": "k", "value": "v"}, {"key": "a?b", "value": "v"}],
    "runs/delete-tag": [{"key": "k"}, {"key": "a?b"}],
    "runs/log-metric": [
        {"key": "m", "value": 1, "timestamp": 1},
        {"key": "?", "value": 1, "timestamp": -1},
    ],
    "runs/log-parameter": [{"key": "p", "value": "1"}, {"key": "?", "value": "1"}],
    "runs/log-batch": [{}, {"params": [{"key": "?", "value": "1"}]}],
    "runs/log-inputs": [{}, {"datasets": BAD_DATASET}, {"models": [{"model_id": "m"}]}],
    "runs/outputs": [{"models": [{"model_id": "m"}]}],
    "runs/log-model": [{"model_json": MODEL}, {"model_json": "x"}],
    "runs/delete": [{}],
    "runs/restore": [{}],
    "runs/update": [{"status": "FINISHED"}],
}


def to(label: str, **whose: Any) -> list[Ask]:
    """Every write to a run that the request names in that way."""
    return [
        post(f"{label}: {path} {n}", path, whose | fields)
        for path, bodies in WRITES.items()
        for n, fields in enumerate(bodies)
    ]


RUNS = Dialogue(
    "the first mistake, runs",
    (
        experiment(),
        run(),
        run("a deleted one", keep="gone"),
        post("delete it", "runs/delete", {"run_id": "$gone"}),
        *(
            ask
            for run_id in ("nope", "$gone", "!bad", "a/b", "é", "a b", "x" * 300)
            for ask in to(run_id[:10], run_id=run_id)
        ),
        *to("by run_uuid", run_uuid="$run"),
        *(
            post(f"{path}, run_uuid of no text", path, {"run_id": "$run", "run_uuid": 5} | fields)
            for path, fields in {
                "runs/delete": {},
                "runs/restore": {},
                "runs/delete-tag": {"key": "nope"},
                "runs/log-batch": {},
                "runs/log-inputs": {},
                "runs/outputs": {"models": [{"model_id": "m-2"}]},
                "runs/log-model": {"model_json": MODEL},
            }.items()
        ),
        get("the run", "runs/get", {"run_id": "$run"}, unordered=("tags", "params", "metrics")),
    ),
)

DIALOGUES = (EXPERIMENTS, RUNS)
