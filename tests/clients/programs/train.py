"""A typical training: scikit-learn with its own data sets, autolog, nested runs.

Runs under mlflow 2.22 and 3.17; MLFLOW_TRACKING_URI says where to. Prints the values that the test needs, as JSON.
"""

import json
import math
import sys

import mlflow
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split


def autologged() -> str:
    """A classifier, everything logged by autolog: params, metrics, model, dataset, tags."""
    data = load_breast_cancer(as_frame=True)
    train_x, test_x, train_y, test_y = train_test_split(data.data, data.target, random_state=0)
    mlflow.sklearn.autolog(log_input_examples=False, silent=True)
    with mlflow.start_run(run_name="classifier") as run:
        model = LogisticRegression(max_iter=200, solver="liblinear").fit(train_x, train_y)
        model.score(test_x, test_y)
    mlflow.sklearn.autolog(disable=True)
    return run.info.run_id


def searched() -> str:
    """A grid search: autolog makes a child run for each of the best candidates."""
    data = load_breast_cancer(as_frame=True)
    mlflow.sklearn.autolog(log_models=False, max_tuning_runs=3, silent=True)
    with mlflow.start_run(run_name="grid") as run:
        grid = {"C": [0.01, 0.1, 1.0], "solver": ["liblinear"]}
        GridSearchCV(LogisticRegression(max_iter=200), grid, cv=2).fit(data.data, data.target)
    mlflow.sklearn.autolog(disable=True)
    return run.info.run_id


def by_hand() -> str:
    """A regressor in nested runs, logged by hand, with some awkward values."""
    data = load_diabetes(as_frame=True)
    with mlflow.start_run(run_name="forest", tags={"team": "été", "empty": ""}) as parent:
        dataset = mlflow.data.from_pandas(data.frame, targets="target", name="diabetes")
        mlflow.log_input(dataset, context="training")
        mlflow.log_params({"trees": 5, "long": "x" * 5000, "unicode": "значение 🚀"})
        for depth in (1, 2, 3):
            with mlflow.start_run(run_name=f"depth {depth}", nested=True):
                mlflow.log_param("depth", depth)
                for step in range(5):
                    forest = RandomForestRegressor(5, max_depth=depth, random_state=step)
                    forest.fit(data.data, data.target)
                    mlflow.log_metric("r2", forest.score(data.data, data.target), step=step)
        mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "zero": 0.0})
        mlflow.log_metrics({f"many/{n}": n / 7 for n in range(150)}, step=3)
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_dict({"a": [1, 2]}, "config.json")
        mlflow.set_tag("mlflow.note.content", "# A note")
    return parent.info.run_id


def in_batches(client: MlflowClient, experiment_id: str) -> str:
    """A long series through the client's own batches, a failed run, a deleted run, a renamed run."""
    from mlflow.entities import Metric, Param, RunTag

    run = client.create_run(experiment_id, run_name="series")
    metrics = [Metric("wave", math.sin(n / 50), 1_700_000_000_000 + n, n) for n in range(1000)]
    client.log_batch(run.info.run_id, metrics, [Param("a", "1")], [RunTag("b", "2")])
    client.set_terminated(run.info.run_id, "FAILED")
    deleted = client.create_run(experiment_id, run_name="deleted")
    client.log_param(deleted.info.run_id, "p", "v")
    client.delete_run(deleted.info.run_id)
    renamed = client.create_run(experiment_id)
    client.update_run(renamed.info.run_id, status="RUNNING", name="renamed")
    client.delete_tag(renamed.info.run_id, "mlflow.runName")
    return run.info.run_id


def main() -> None:
    name = sys.argv[1]
    client = MlflowClient()
    experiment = mlflow.set_experiment(name)
    mlflow.set_experiment_tag("purpose", "proof")
    runs = {
        "autologged": autologged(),
        "searched": searched(),
        "by_hand": by_hand(),
        "in_batches": in_batches(client, experiment.experiment_id),
    }
    json.dump({"experiment_id": experiment.experiment_id, "runs": runs}, sys.stdout)


if __name__ == "__main__":
    main()
