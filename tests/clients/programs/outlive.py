"""A training that goes on through whatever happens to its server, with the client's own settings.

Arguments: name, directory. While a file `calm` is there it sends only what clients repeat after an answer that never
came, and a file `NAME.calm` says so. `NAME.rounds` grows by a byte with each round of everything. A file `stop` ends
it. Prints as JSON what it logged; an error of the client ends it, too.
"""

import json
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.models import Model

PAUSE_S = 0.02


class Story:
    """One run, and what was logged to it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = MlflowClient()
        self.steps = 0
        self.rounds = 0

    def step(self, run_id: str) -> None:
        """What may be sent again: a metric, a batch of metrics, params, a tag, a look at the run."""
        n = self.steps
        self.client.log_metric(run_id, "loss", 1 / (1 + n), step=n, timestamp=1 + n)
        mlflow.log_metrics({"accuracy": n / 1000, "epoch": n}, step=n, run_id=run_id)
        mlflow.log_params({f"param {n}": n})
        mlflow.set_tag("step", n)
        assert self.client.get_run(run_id).data.tags["step"] == str(n)
        self.steps += 1

    def round(self, run_id: str) -> None:
        """What must not be sent again when it was written: runs, inputs, models; and an experiment."""
        n = self.rounds
        with mlflow.start_run(run_name=f"{self.name} fold {n}", nested=True) as fold:
            mlflow.log_param("fold", n)
        assert self.client.get_run(fold.info.run_id).info.status == "FINISHED"
        data = mlflow.data.from_numpy(np.array([n]), name=f"{self.name} data {n}")
        mlflow.log_input(data, context="training")
        self.client._record_logged_model(run_id, Model(artifact_path=f"model {n}", run_id=run_id))
        if hasattr(self.client, "create_logged_model"):
            model = self.client.create_logged_model(
                "0", name=f"{self.name} model {n}", params={"n": str(n)}
            )
            self.client.finalize_logged_model(model.model_id, "READY")
        self.client.create_experiment(f"{self.name} experiment {n}")
        self.client.set_tag(run_id, "gone", n)
        self.client.delete_tag(run_id, "gone")
        self.rounds += 1


def main() -> None:
    name, directory = sys.argv[1], Path(sys.argv[2])
    story = Story(name)
    progress = directory / f"{name}.rounds"
    mlflow.set_experiment("outages")
    with mlflow.start_run(run_name=name) as run:
        while not (directory / "stop").exists():
            story.step(run.info.run_id)
            if (directory / "calm").exists():
                (directory / f"{name}.calm").touch()
            else:
                (directory / f"{name}.calm").unlink(missing_ok=True)
                story.round(run.info.run_id)
                with progress.open("a") as text:
                    text.write(".")
            time.sleep(PAUSE_S)
    has_models = hasattr(story.client, "create_logged_model")
    told = {"run_id": run.info.run_id, "steps": story.steps, "rounds": story.rounds}
    json.dump(told | {"models": story.rounds if has_models else 0}, sys.stdout)


if __name__ == "__main__":
    main()
