"""log_batch of the Python API on a database: MLflow's own store against headrace's.

Runs logBatch.py in this environment with the plugin disabled and enabled (HEADRACE=0 and 1),
alternately.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks import figures
from benchmarks.load import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.databases import Databases

SWITCH: Final = "HEADRACE"
INHERITED: Final = f"MLFLOW_TRACKING_URI,{SWITCH},PYTHONPATH,MLFLOW_DISABLE_TELEMETRY"
TIMEOUT_S: Final = 600


@dataclass(frozen=True)
class ApiSample:
    """Milliseconds per call of log_batch: the mean of each process."""

    database: str
    store: str
    round: int
    mean_ms: float
    error: str = ""


def measure(kind: str, store: str, number: int, uri: str, output: Path) -> ApiSample:
    """Run log_batch(10 metrics) once in pyperf."""
    output.unlink(missing_ok=True)
    switch = "1" if store == "headrace" else "0"
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        SWITCH: switch,
    }
    command = [sys.executable, "logBatch.py", "--inherit-environ", INHERITED, "--quiet"]
    command += ["--processes", "2", "--values", "3", "--warmups", "1", "-o", os.fspath(output)]
    done = subprocess.run(
        command,
        cwd=SCRIPTS,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0 or not output.exists():
        last = (done.stderr.strip().splitlines() or [""])[-1]
        return ApiSample(kind, store, number, 0.0, last or f"ended with {done.returncode}")
    import pyperf  # type: ignore[import-not-found,import-untyped,unused-ignore]

    values = pyperf.Benchmark.load(os.fspath(output)).get_values()
    return ApiSample(kind, store, number, statistics.mean(values) * 1000)


def measure_all(
    databases: Databases, rounds: int, work: Path, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measure with a new database each time; the order of stock and headrace alternates."""
    stores = ("mlflow", "headrace")
    found = []
    for number, turn in enumerate(figures.pairs(rounds), start=1):
        for store in (stores[side] for side in turn):
            tell(f"{databases.kind} {number}/{rounds} Python API, {store}")
            name = f"api_{store}"
            uri = databases.create(name)
            sample = measure(databases.kind, store, number, uri, work / "pyperf.json")
            found.append(asdict(sample))
            databases.drop(name)
    return found
