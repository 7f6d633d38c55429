"""A sequence of three acts through the mlflow client: each act reads the data and writes more.

MLFLOW_TRACKING_URI is a server, or a database that stock MLflow opens itself. Every time and name is fixed, so
that two runs leave the same rows except for random ids. Prints the data that the act read, as JSON.
"""

import json
import math
import sys
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

START = 1_700_000_000_000


def series(key: str, first: int, count: int) -> list[Metric]:
    """Points of a wave, in a shuffled order."""
    order = sorted(range(count), key=lambda n: n * 7919 % 101)
    return [Metric(key, math.sin(first + n), START + first + n, first + n) for n in order]


def dataset(name: str, digest: str, context: str) -> DatasetInput:
    """A dataset as the input of a run."""
    found = Dataset(name, digest, "local", '{"uri": "x"}', '{"columns": []}', '{"rows": 1}')
    return DatasetInput(found, [InputTag("mlflow.data.context", context)])


def act_1(client: MlflowClient) -> None:
    """Act 1: two experiments, three runs, some of every kind of data."""
    one = client.create_experiment("story", artifact_location="s3://bucket/story", tags={"a": "1"})
    two = client.create_experiment("side story", artifact_location="s3://bucket/side")
    client.set_experiment_tag(one, "b", "2")
    for n, name in enumerate(("first", "second", "third")):
        run = client.create_run(one, START + n, {"mlflow.source.name": "story.py"}, name)
        client.log_batch(
            run.info.run_id,
            [*series("wave", 0, 50), Metric("nan", math.nan, START, 0), Metric("inf", math.inf, START, 0)],
            [Param("p", str(n)), Param("long", "x" * 7000)],
            [RunTag("t", "1"), RunTag("unicode", "значение 🚀")],
        )  # fmt: skip
        client.log_metric(run.info.run_id, "single", 0.5, START, 3)
        client.log_param(run.info.run_id, "q", "")
        client.set_tag(run.info.run_id, "u", "")
        client.log_inputs(run.info.run_id, [dataset("iris", "d1", "train")])
    client.create_run(two, START, None, "aside")


def act_2(client: MlflowClient) -> None:
    """Act 2: overwritten and deleted tags, older and newer points, renamed and deleted objects."""
    first, second, third = (named(client, name) for name in ("first", "second", "third"))
    run_id = first.info.run_id
    client.log_batch(run_id, [*series("wave", 30, 40), Metric("single", 9.0, START - 1, 2)])
    client.log_metric(run_id, "nan", 1.0, START, 0)
    client.log_metric(run_id, "single", 0.25, START + 5, 3)
    client.log_param(run_id, "p", "0")
    refused(lambda: client.log_param(run_id, "p", "changed"))
    refused(
        lambda: client.log_batch(
            run_id, [Metric("no", 1, 1, 1)], [Param("p", "9")], [RunTag("no", "1")]
        )
    )
    client.set_tag(run_id, "t", "2")
    client.delete_tag(run_id, "u")
    client.set_tag(run_id, "mlflow.runName", "first, renamed")
    client.set_terminated(run_id, "FINISHED", START + 1000)
    client.update_run(second.info.run_id, status="FAILED", name="second, renamed")
    client.log_inputs(
        second.info.run_id,
        [dataset("iris", "d1", "test"), dataset("wine", "d2", "test")],
        [LoggedModelInput("m-in")],
    )
    client.log_outputs(second.info.run_id, [LoggedModelOutput("m-out", 4)])
    client.delete_run(third.info.run_id)
    experiment = client.get_experiment_by_name("side story")
    client.rename_experiment(experiment.experiment_id, "side story, renamed")
    client.delete_experiment(experiment.experiment_id)
    refused(lambda: client.create_experiment("story"))


def act_3(client: MlflowClient) -> None:
    """Act 3: deleted objects are restored, and everything is written to once more."""
    first = named(client, "first, renamed")
    client.restore_run(named(client, "third", ViewType.DELETED_ONLY).info.run_id)
    experiment = client.get_experiment_by_name("side story, renamed")
    client.restore_experiment(experiment.experiment_id)
    client.set_experiment_tag(experiment.experiment_id, "restored", "yes")
    client.log_batch(
        first.info.run_id,
        [Metric("nan", math.nan, START + 1, 1), *series("wave", 10, 100)],
        [Param("p", "0"), Param("late", "1")],
        [RunTag("t", "3"), RunTag("mlflow.runName", "first, twice renamed")],
    )
    parent = {"mlflow.parentRunId": first.info.run_id}
    fourth = client.create_run(first.info.experiment_id, START + 9, parent, "fourth")
    client.log_batch(fourth.info.run_id, series("wave", 0, 10))
    client.delete_experiment_tag(first.info.experiment_id, "a")


def named(client: MlflowClient, name: str, view: int = ViewType.ACTIVE_ONLY) -> Run:
    """The one run of that name."""
    experiment = client.get_experiment_by_name("story")
    [run] = client.search_runs([experiment.experiment_id], f"run_name = '{name}'", view)
    return run


def refused(write: Any) -> None:
    """The write must fail like an invalid request."""
    try:
        write()
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS"):
            raise
    else:
        raise AssertionError("a wrong write was accepted")


def seen(client: MlflowClient) -> list[Any]:
    """The client's view of every run, in an order that does not depend on random ids."""
    found = []
    for experiment in client.search_experiments(ViewType.ALL, order_by=["experiment_id"]):
        runs = client.search_runs(
            [experiment.experiment_id], "", ViewType.ALL, order_by=["start_time", "run_name"]
        )
        found.append([experiment.name, experiment.lifecycle_stage, dict(experiment.tags)])
        found += [
            {
                "name": run.info.run_name,
                "status": run.info.status,
                "stage": run.info.lifecycle_stage,
                "end": run.info.end_time,
                "metrics": {k: repr(v) for k, v in run.data.metrics.items()},
                "params": run.data.params,
                "tags": {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"},
                "inputs": sorted(i.dataset.name for i in run.inputs.dataset_inputs),
                "wave": [
                    (m.step, m.timestamp, repr(m.value))
                    for m in client.get_metric_history(run.info.run_id, "wave")
                ],
            }
            for run in runs
        ]
    return found


def main() -> None:
    client = MlflowClient()
    {"1": act_1, "2": act_2, "3": act_3}[sys.argv[1]](client)
    json.dump(seen(client), sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
