"""Stock MLflow's store, opened in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

_OPEN = """
import json, logging, sys
messages = []
class Keep(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
logging.getLogger("mlflow").addHandler(Keep())
found = []
for uri in sys.argv[1:]:
    messages.clear()
    store = SqlAlchemyStore(uri, "mlflow-artifacts:/")
    experiments = [[e.experiment_id, e.name, e.artifact_location] for e in store.search_experiments()]
    found.append([experiments, " ".join(messages)])
print(json.dumps(found))
"""


@dataclass
class Opened:
    """The content of a database as stock MLflow reads it, and its log output while it opened the database."""

    experiments: list[list[str]]
    log: str


def open_stores(*uris: str) -> list[Opened]:
    """Let stock MLflow open databases; it creates tables in an empty one and migrates none."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _OPEN]
        + [uri.replace("postgresql:", "postgresql+psycopg2:") for uri in uris],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Opened(*pair) for pair in json.loads(done.stdout)]
