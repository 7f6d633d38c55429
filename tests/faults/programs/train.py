"""A typical training with the stock mlflow client and its default settings, until a file appears.

Arguments: name of the run, path of the file. Prints as JSON what it logged; an error of the client ends it.
"""

import json
import sys
import time
from pathlib import Path

import mlflow


def main() -> None:
    name, stop = sys.argv[1], Path(sys.argv[2])
    mlflow.set_experiment("training")
    steps, children = 0, 0
    with mlflow.start_run(run_name=name) as run:
        mlflow.log_params({"layers": 3, "optimizer": "adam"})
        while not stop.exists():
            mlflow.log_metrics({"loss": 1 / (1 + steps), "accuracy": steps / 1000}, step=steps)
            steps += 1
            if steps % 10 == 0:
                with mlflow.start_run(run_name=f"{name} fold {children}", nested=True):
                    mlflow.log_param("fold", children)
                    mlflow.set_tag("step", steps)
                children += 1
            time.sleep(0.02)
    found = mlflow.get_run(run.info.run_id)
    assert found.info.status == "FINISHED"
    json.dump({"run_id": run.info.run_id, "steps": steps, "children": children}, sys.stdout)


if __name__ == "__main__":
    main()
