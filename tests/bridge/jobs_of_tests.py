"""A job that stock MLflow's runners can carry out without an LLM."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mlflow.server.jobs import job


@job(name="tick", max_workers=1)
def tick(file: str) -> None:
    """Write the id of this process to the file, and run for a minute."""
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)
