"""Stock MLflow's archiver of traces, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.fix_server import stock_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

_ARCHIVE = """
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore(sys.argv[1], "mlflow-artifacts:/")
print(store.archive_traces(resolved_trace_archival_location=sys.argv[2], broader_retention="1m"))
"""


def archive(uri: str, place: str, environment: Mapping[str, str] | None = None) -> int:
    """Move the spans of all finished traces of a database to files below a URI; return the number of traces."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ARCHIVE, stock_uri(uri), place],
        capture_output=True,
        text=True,
        timeout=110,
        env={
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            **(environment or {}),
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
