"""A training that continues during faults of its server, with the client's default settings.

Arguments: name, directory. Files in the directory tell it what to do: with `hold` it sends nothing, with `calm` only
requests that every client repeats when no answer comes; it says that it has heard with `NAME.hold`, `NAME.calm`. `stop`
ends it. `NAME.rounds` grows by a byte with each round of everything. Prints as JSON what it logged; an error of the
client ends it, too.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag
from mlflow.models import Model

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_S = 0.02


class Story:
    """One run, and what was logged to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = MlflowClient()
        self.run_id = ""
        self.last_fold = self.new_fold = ""
        self.steps = 0
        self.rounds = 0
        self.has_logged_models = hasattr(self.client, "create_logged_model")

    def step(self) -> None:
        """Requests that may be repeated: a metric, a batch of metrics, params, a tag, a read of the run."""
        n = self.steps
        self.client.log_metric(self.run_id, "loss", 1 / (1 + n), step=n, timestamp=1 + n)
        mlflow.log_metrics({"accuracy": n / 1000, "epoch": n}, step=n, run_id=self.run_id)
        mlflow.log_params({f"param {n}": n})
        mlflow.set_tag("step", n)
        assert self.client.get_run(self.run_id).data.tags["step"] == str(n)
        self.steps += 1

    def round(self) -> None:
        """Requests that must not take effect twice, each kind in its own thread, so that all of them meet an outage."""
        kinds: list[Callable[[int], None]] = [
            self.fold,
            self.dataset,
            self.model_history,
            self.logged_model,
            self.experiment,
            self.tag,
            self.registered_model,
        ]
        with ThreadPoolExecutor(len(kinds)) as pool:
            for done in [pool.submit(kind, self.rounds) for kind in kinds]:
                done.result()
        self.last_fold = self.new_fold
        self.rounds += 1

    def fold(self, n: int) -> None:
        """A run, finished."""
        run = self.client.create_run("0", run_name=f"{self.name} fold {n}")
        self.client.log_param(run.info.run_id, "fold", n)
        self.client.set_terminated(run.info.run_id)
        self.new_fold = run.info.run_id

    def dataset(self, n: int) -> None:
        """An input of the run."""
        data = mlflow.data.from_numpy(np.array([n]), name=f"{self.name} data {n}")
        tags = [InputTag("mlflow.data.context", "training")]
        found = DatasetInput(data._to_mlflow_entity(), tags)
        self.client.log_inputs(self.run_id, [found])

    def model_history(self, n: int) -> None:
        """A model as clients logged it before MLflow had logged models; a run has room for few of them."""
        run_id = self.last_fold or self.run_id
        model = Model(artifact_path=f"model {n}", run_id=run_id)
        self.client._record_logged_model(run_id, model)

    def logged_model(self, n: int) -> None:
        """A logged model, ready."""
        if self.has_logged_models:
            name, params = f"{self.name} model {n}", {"n": str(n)}
            model = self.client.create_logged_model("0", name=name, params=params)
            self.client.finalize_logged_model(model.model_id, "READY")

    def experiment(self, n: int) -> None:
        """An experiment."""
        self.client.create_experiment(f"{self.name} experiment {n}")

    def tag(self, n: int) -> None:
        """A tag that is set and deleted."""
        self.client.set_tag(self.run_id, "gone", n)
        self.client.delete_tag(self.run_id, "gone")

    def registered_model(self, n: int) -> None:
        """A registered model with one version."""
        name = f"{self.name} registered {n}"
        self.client.create_registered_model(name)
        version = self.client.create_model_version(name, "s3://bucket/model", await_creation_for=0)
        self.client.set_registered_model_alias(name, "best", version.version)


class Orders:
    """The files that control the program."""

    def __init__(self, name: str, directory: Path) -> None:
        self._name = name
        self._directory = directory

    def heard(self, word: str) -> bool:
        """Whether a control file exists; `hold` and `calm` are acknowledged."""
        there = (self._directory / word).exists()
        answer = self._directory / f"{self._name}.{word}"
        if there:
            answer.touch()
        else:
            answer.unlink(missing_ok=True)
        return there

    def note_round(self) -> None:
        """Count a round."""
        with (self._directory / f"{self._name}.rounds").open("a") as text:
            text.write(".")


def main() -> None:
    name, directory = sys.argv[1], Path(sys.argv[2])
    story, orders = Story(name), Orders(name, directory)
    mlflow.set_experiment("outages")
    with mlflow.start_run(run_name=name) as run:
        story.run_id = run.info.run_id
        while not orders.heard("stop"):
            if not orders.heard("hold"):
                if not orders.heard("calm"):
                    story.round()
                    orders.note_round()
                story.step()
            time.sleep(PAUSE_S)
    models = story.rounds if story.has_logged_models else 0
    told = {"run_id": story.run_id, "steps": story.steps, "rounds": story.rounds, "models": models}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
