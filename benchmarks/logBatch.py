"""Calls of the Python API, measured with pyperf, on a server or a database.

    MLFLOW_TRACKING_URI=sqlite:////tmp/test.db python logBatch.py --inherit-environ MLFLOW_TRACKING_URI
    MLFLOW_TRACKING_URI=postgresql://postgres:postgres@localhost:5432/postgres python logBatch.py …
    MLFLOW_TRACKING_URI=http://localhost:5000 python logBatch.py …

Options: those of pyperf.Runner; the operation: --operation log_batch (default), log_metric (one at
a time) or search_runs (one page of 1,000 runs); and the sizes of a batch: --metrics 10 --params 0
--tags 0 (or METRICS, PARAMS, TAGS in the environment). Each size may be a list, such as
10,100,1000; then there is one benchmark per combination.
"""

from __future__ import annotations

import itertools
import os
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

import pyperf  # type: ignore[import-not-found,import-untyped,unused-ignore]

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

OPERATIONS: Final = ("log_batch", "log_metric", "search_runs")
SIZES: Final = {"metrics": "10", "params": "0", "tags": "0"}
PARAMS_PER_RUN: Final = 200
EXPERIMENT: Final = "logBatch"
SEARCHED_RUNS: Final = 1000
SEARCHED_EXPERIMENT: Final = (
    f"searched-{SEARCHED_RUNS}"  # created by seeds.py, or here if it does not exist
)


def _add_arguments(command: list[str], args: argparse.Namespace) -> None:
    """Pass the sizes by command line, since pyperf starts its workers with an empty environment."""
    for name in ("operation", *SIZES):
        command += [f"--{name}", getattr(args, name)]


def _parse(runner: pyperf.Runner) -> tuple[str, list[tuple[int, int, int]]]:
    """Return the operation and the requested combinations of (tags, params, metrics)."""
    runner.argparser.add_argument(
        "--operation", default="log_batch", choices=OPERATIONS, help="what is called"
    )
    for name, default in SIZES.items():
        value = os.environ.get(name.upper(), default)
        runner.argparser.add_argument(f"--{name}", default=value, help=f"{name} per batch")
    args = runner.parse_args()

    def sizes(name: str) -> list[int]:
        return [int(size) for size in getattr(args, name).split(",")]

    combinations = itertools.product(sizes("tags"), sizes("params"), sizes("metrics"))
    return args.operation, list(combinations)


def _client(uri: str) -> MlflowClient:
    """Return a client of `uri`; fail if HEADRACE=1 is set and its store is not headrace's."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    store = type(client._tracking_client.store)
    if os.environ.get("HEADRACE") == "1" and not store.__module__.startswith("headrace"):
        raise SystemExit(
            f"HEADRACE=1, but mlflow uses {store.__module__}: the plugin is not installed"
        )
    return client


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


class Batches:
    """Batches of one size, each with different rows, logged to runs of realistic size."""

    def __init__(self, client: MlflowClient, tags: int, params: int, metrics: int) -> None:
        self._client = client
        self._sizes = tags, params, metrics
        self._batches_per_run = max(1, PARAMS_PER_RUN // params) if params else 1 << 60
        self._experiment_id = _experiment(client, EXPERIMENT)

    def _batch(self, number: int) -> tuple[list[Metric], list[Param], list[RunTag]]:
        from mlflow.entities import Metric, Param, RunTag

        tags, params, metrics = self._sizes
        now = int(time.time() * 1000)
        return (
            [Metric(f"metric_{i}", number + i / 1000, now, number) for i in range(metrics)],
            [Param(f"param_{number}_{i}", f"value of param {i}") for i in range(params)],
            [RunTag(f"tag_{i}", f"tag {i} at {number}") for i in range(tags)],
        )

    def log(self, loops: int) -> float:
        """Return the seconds of `loops` calls of log_batch, without creating runs and batches."""
        spent = 0.0
        log_batch = self._client.log_batch
        for number in range(loops):
            if number % self._batches_per_run == 0:
                run_id = self._client.create_run(self._experiment_id).info.run_id
            metrics, params, tags = self._batch(number)
            began = time.perf_counter()
            log_batch(run_id, metrics, params, tags)
            spent += time.perf_counter() - began
        self._verify(run_id, loops)
        return spent

    def _verify(self, run_id: str, loops: int) -> None:
        """Check that the last batch is stored."""
        data = self._client.get_run(run_id).data
        tags, params, metrics = self._sizes
        last = f"param_{loops - 1}_{params - 1}"
        if metrics and data.metrics.get("metric_0") != float(loops - 1):
            raise RuntimeError("the last logged metrics are missing")
        if params and last not in data.params:
            raise RuntimeError("the last logged params are missing")
        if tags and data.tags.get("tag_0") != f"tag 0 at {loops - 1}":
            raise RuntimeError("the last logged tags are missing")


class Points:
    """One point after another, as a training loop logs its loss."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._experiment_id = _experiment(client, EXPERIMENT)

    def log(self, loops: int) -> float:
        """Return the seconds of `loops` calls of log_metric, without creating the run."""
        run_id = self._client.create_run(self._experiment_id).info.run_id
        log_metric = self._client.log_metric
        now = int(time.time() * 1000)
        began = time.perf_counter()
        for step in range(loops):
            log_metric(run_id, "loss", 1 / (step + 1), now + step, step)
        spent = time.perf_counter() - began
        if len(self._client.get_metric_history(run_id, "loss")) != loops:
            raise RuntimeError("logged points are missing")
        return spent


class Searches:
    """A page of 1,000 runs, each with metrics, params and tags."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._experiment_id = _experiment(client, SEARCHED_EXPERIMENT)
        for number in range(self._found(), SEARCHED_RUNS):
            self._make(number)

    def _found(self) -> int:
        return len(self._client.search_runs([self._experiment_id], max_results=SEARCHED_RUNS))

    def _make(self, number: int) -> None:
        from mlflow.entities import Metric, Param, RunTag

        run_id = self._client.create_run(self._experiment_id).info.run_id
        metrics = [Metric(f"metric_{i}", number / (i + 1), 0, 0) for i in range(10)]
        params = [Param(f"param_{i}", f"value {number}") for i in range(10)]
        self._client.log_batch(run_id, metrics, params, [RunTag(f"tag_{i}", "") for i in range(4)])

    def search(self, loops: int) -> float:
        """Return the seconds of `loops` searches."""
        began = time.perf_counter()
        for _ in range(loops):
            if self._found() != SEARCHED_RUNS:
                raise RuntimeError("the runs are missing")
        return time.perf_counter() - began


def main() -> None:
    runner = pyperf.Runner(add_cmdline_args=_add_arguments)
    operation, combinations = _parse(runner)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise SystemExit("set MLFLOW_TRACKING_URI and add --inherit-environ MLFLOW_TRACKING_URI")
    warnings.simplefilter("ignore")
    made: dict[str, Any] = {}

    def timed(loops: int, name: str, kind: Callable[..., Any], verb: str, *sizes: int) -> float:
        if name not in made:  # only in a worker, because importing mlflow takes seconds
            made[name] = kind(_client(uri), *sizes)
        return float(getattr(made[name], verb)(loops))

    if operation == "log_metric":
        runner.bench_time_func("log_metric", timed, "log_metric", Points, "log")
    elif operation == "search_runs":
        name = f"search_runs: {SEARCHED_RUNS:,} runs"
        runner.bench_time_func(name, timed, name, Searches, "search")
    else:
        for tags, params, metrics in combinations:
            name = f"log_batch: {tags} tags, {params} params, {metrics} metrics"
            runner.bench_time_func(name, timed, name, Batches, "log", tags, params, metrics)


if __name__ == "__main__":
    main()
