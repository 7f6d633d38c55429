"""Real mlflow clients, each in an environment of its own, run as separate processes.

mlflow 3.17.2 is in the environment of the tests, mlflow 2.22 in .venv-mlflow2, 3.4 in .venv-mlflow304, 3.10 in
.venv-mlflow310 and 3.18 in .venv-mlflow318 (`make clients` creates them). HEADRACE_TEST_MLFLOW2,
HEADRACE_TEST_MLFLOW304 and so on name other Python executables.
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

    @staticmethod
    def _environment(uri: str) -> dict[str, str]:
        environment = base_environment() | STOCK_ENVIRONMENT
        # The program must not import this repository.
        del environment["PYTHONPATH"]
        return environment | {"MLFLOW_TRACKING_URI": stock_uri(uri), "GIT_PYTHON_REFRESH": "quiet"}

    def begin(
        self, program: str, *args: str | Path, uri: str, directory: Path
    ) -> subprocess.Popen[str]:
        """Start a program of tests/clients/programs with the client's default settings."""
        return subprocess.Popen(
            [self.python, PROGRAMS / program, *args],
            cwd=directory,
            env=self._environment(uri),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        program: str,
        *args: str,
        uri: str,
        directory: Path,
        environment: dict[str, str] | None = None,
    ) -> Any:
        """Run a program of tests/clients/programs; the JSON that it prints. `uri` is a server or a database."""
        # Retries would hide errors.
        variables = self._environment(uri) | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
        done = subprocess.run(
            [self.python, PROGRAMS / program, *args],
            cwd=directory,
            env=variables | (environment or {}),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, f"{program} under {self.name}:\n{done.stderr[-4000:]}"
        return json.loads(done.stdout.splitlines()[-1])


def mlflow3() -> Client:
    """The client of the release whose API headrace serves."""
    return Client("mlflow 3.17", Path(sys.executable))


def installed_apart(version: str, directory: str) -> Client:
    """A client in its own environment; skips the test if the environment does not exist."""
    given = os.environ.get(f"HEADRACE_TEST_{directory.upper()}")
    python = Path(given) if given else ROOT / f".venv-{directory}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no mlflow {version} at {python}: `make clients` installs it")
    return Client(f"mlflow {version}", python)


def beside(client: Client) -> dict[str, str]:
    """Variables with which headrace finds the mlflow of a client in place of the installed one."""
    show = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    argv = [client.python, "-c", show]
    site = subprocess.run(argv, capture_output=True, text=True, check=True)
    return {"PYTHONPATH": os.pathsep.join([base_environment()["PYTHONPATH"], site.stdout.strip()])}


def mlflow2() -> Client:
    """The last client of the 2.x line."""
    return installed_apart("2.22", "mlflow2")


def mlflow318() -> Client:
    """The first client that does not repeat a POST that creates something, except after 429."""
    return installed_apart("3.18", "mlflow318")


def mlflow304() -> Client:
    """The first client that sends spans to /v1/traces."""
    return installed_apart("3.4", "mlflow304")


def mlflow310() -> Client:
    """A client between 3.4 and 3.17."""
    return installed_apart("3.10", "mlflow310")


CLIENTS = {"mlflow3": mlflow3, "mlflow2": mlflow2, "mlflow318": mlflow318}


TRACING_CLIENTS = {
    "mlflow304": mlflow304,
    "mlflow310": mlflow310,
    "mlflow3": mlflow3,
    "mlflow318": mlflow318,
}


@pytest.fixture(params=TRACING_CLIENTS)
def tracing_client(request: pytest.FixtureRequest) -> Client:
    """Each client of MLflow 3 that sends spans while it traces, in turn."""
    return TRACING_CLIENTS[request.param]()


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    """Each of the clients in turn."""
    return CLIENTS[request.param]()
