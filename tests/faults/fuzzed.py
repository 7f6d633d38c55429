"""A server for fuzz tests, and the check that every answer must pass. A report has the slowest answers."""

from __future__ import annotations

import heapq
import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.faults.load import Once

if TYPE_CHECKING:
    from tests.wire import Answer

OPTIONS: Final = ("--no-bridge",)
# No webhook can have this scheme, so nothing is sent to generated addresses.
ENVIRONMENT: Final = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "nowhere"}
RUNS: Final = 20
SLOWEST: Final = 5
LONGEST_ANSWER_S: Final = 1.0
# The same requests every time, except with HYPOTHESIS_PROFILE=random; the report names the seed.
FIRST_SEED: Final = (
    random.randrange(10**9) if os.environ.get("HYPOTHESIS_PROFILE") == "random" else 0
)
# Messages that MLflow sends with 500 or 503 on purpose, and clients know. 501 means not implemented.
MEANT: Final = (
    "Cannot rename a non-active experiment.",
    "`order_by` contains duplicate fields",
    "disabled because the server is running without workspaces support",
)


def populate(url: str) -> dict[str, list[str]]:
    """Create active and deleted runs, models and experiments; the values that find them, by field name."""
    with Once(url) as wire:
        made: dict[str, list[str]] = {"experiment_id": ["0"], "run_id": [], "model_id": []}
        for n in range(3):
            body = {"name": f"experiment {n}"}
            made["experiment_id"].append(wire.made("experiments/create", body)["experiment_id"])
        for n in range(RUNS):
            run_id = wire.new_run(made["experiment_id"][n % 4], f"run {n}")
            points = [
                {"key": k, "value": s, "timestamp": s, "step": s} for k in "ab" for s in (1, 2)
            ]
            body = {"run_id": run_id, "metrics": points, "params": [{"key": "p", "value": "1"}]}
            wire.made("runs/log-batch", body)
            made["run_id"].append(run_id)
            model = {"experiment_id": made["experiment_id"][n % 4], "source_run_id": run_id}
            model_id = wire.made("logged-models", model)["model"]["info"]["model_id"]
            made["model_id"].append(model_id)
        wire.made("registered-models/create", {"name": "registered"})
        for run_id in made["run_id"][:3]:
            version = {"name": "registered", "source": f"runs:/{run_id}/m", "run_id": run_id}
            wire.made("model-versions/create", version)
        wire.made("runs/delete", {"run_id": made["run_id"][-1]})
        wire.made("experiments/delete", {"experiment_id": made["experiment_id"][-1]})
    return made | {
        "run_uuid": made["run_id"],
        "experiment_ids": made["experiment_id"],
        "name": ["registered", "experiment 0"],
        "version": ["1", "2"],
        "key": ["a", "p"],
        "metric_key": ["a"],
        "metric_keys": ["a", "b"],
    }


def with_known(fields: Any, known: dict[str, list[str]], choose: random.Random) -> Any:
    """The fields, some of them with an existing value in place of a generated one."""
    if not isinstance(fields, dict):
        return fields
    return {
        name: choose.choice(known[name])
        if name in known and not isinstance(value, list | dict) and choose.random() < 0.7
        else [choose.choice(known[name])]
        if name in known and isinstance(value, list) and choose.random() < 0.7
        else value
        for name, value in fields.items()
    }


def is_meant(status: int, body: bytes) -> bool:
    """Whether MLflow also sends this 5xx on purpose."""
    text = body.decode(errors="replace")
    if status == 501:
        return json.loads(body)["error_code"] == "NOT_IMPLEMENTED"
    return any(words in text for words in MEANT)


@dataclass
class Report:
    """The number of answers by status, and the slowest answers in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest: list[tuple[float, str]] = field(default_factory=list)

    def note(self, status: int, body: bytes, what: str, elapsed_s: float) -> None:
        """Count an answer. Raises AssertionError for an unexpected 5xx."""
        self.statuses[status] += 1
        add = heapq.heappush if len(self.slowest) < SLOWEST else heapq.heappushpop
        add(self.slowest, (elapsed_s, what))
        assert status < 500 or is_meant(status, body), f"{what}: {status} {body[:2000]!r}"

    def note_answer(self, answer: Answer, what: str, elapsed_s: float) -> None:
        """The same."""
        self.note(answer.status, answer.body, what, elapsed_s)

    def check_slowest(self) -> None:
        """No answer took longer than promised; only for a long run on an otherwise idle machine."""
        assert max(self.slowest)[0] < LONGEST_ANSWER_S, str(self)

    def __str__(self) -> str:
        counts = ", ".join(
            f"{number} of {status}" for status, number in sorted(self.statuses.items())
        )
        lines = [
            f"{s * 1000:9.1f} ms  {what[:150]}" for s, what in sorted(self.slowest, reverse=True)
        ]
        return "\n".join(
            [
                f"{sum(self.statuses.values())} answers from seed {FIRST_SEED}: {counts}; the slowest:",
                *lines,
            ]
        )
