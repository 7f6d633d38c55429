"""Real mlflow clients, each in an environment of its own, run as separate processes.

mlflow 3.17.2 is in the environment of the tests; mlflow 2.22 in .venv-mlflow2 (`make clients` makes it) or where
HEADRACE_TEST_MLFLOW2 says its Python is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fix_server import ROOT, STOCK_ENVIRONMENT, base_environment, stock_uri

PROGRAMS = ROOT / "tests" / "clients" / "programs"
TIMEOUT_S = 240


@dataclass(frozen=True)
class Client:
    """An environment with an mlflow client in it."""

    name: str
    python: Path

    def run(self, program: str, *args: str, uri: str, directory: Path) -> Any:
        """What a program of tests/clients/programs prints as JSON. `uri` is a server or a database."""
        environment = base_environment() | STOCK_ENVIRONMENT
        environment |= {
            "MLFLOW_TRACKING_URI": stock_uri(uri),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # an error must not hide behind retries
            "GIT_PYTHON_REFRESH": "quiet",
        }
        # The program sees its own environment only, not this repository.
        del environment["PYTHONPATH"]
        done = subprocess.run(
            [self.python, PROGRAMS / program, *args],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, f"{program} under {self.name}:\n{done.stderr[-4000:]}"
        return json.loads(done.stdout.splitlines()[-1])


def mlflow3() -> Client:
    """The client of the release whose API headrace serves."""
    return Client("mlflow 3.17", Path(sys.executable))


def mlflow2() -> Client:
    """The last client of the 2.x line."""
    given = os.environ.get("HEADRACE_TEST_MLFLOW2")
    python = Path(given) if given else ROOT / ".venv-mlflow2" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no mlflow 2.22 at {python}: `make clients` installs it")
    return Client("mlflow 2.22", python)


@pytest.fixture(params=["mlflow3", "mlflow2"])
def client(request: pytest.FixtureRequest) -> Client:
    """Each of the clients in turn."""
    return mlflow3() if request.param == "mlflow3" else mlflow2()
