"""set_experiment and one run from many processes at once; prints the experiment ids they got, as JSON."""

import json
import multiprocessing
import sys
from typing import Any

import mlflow


def join(name: str, barrier: Any, answers: Any) -> None:
    """One process: wait for the others, then set the experiment and log to it."""
    barrier.wait(60)
    try:
        experiment = mlflow.set_experiment(name)
        with mlflow.start_run():
            mlflow.log_metric("m", 1.0)
        answers.put(experiment.experiment_id)
    except Exception as error:  # noqa: BLE001 - the test shows whatever a client met
        answers.put(f"{type(error).__name__}: {error}")


def main() -> None:
    name, count = sys.argv[1], int(sys.argv[2])
    # Forked, so that mlflow is imported once and the processes really start together.
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)
    answers = context.Queue()
    processes = [context.Process(target=join, args=(name, barrier, answers)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=90) for _ in processes]
    for process in processes:
        process.join(30)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
