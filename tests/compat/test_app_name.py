"""`mlflow server --app-name headrace`: stock's command line and ASGI server, our application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import ROOT, STOCK_ENVIRONMENT, base_environment, free_port, stock
from tests.fix_users import Person, auth_environment
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path


def installed_beside(directory: Path) -> str:
    """A PYTHONPATH with our entry points on it, whether the package is installed or not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = directory / f"headrace-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: headrace\nVersion: {project['version']}\n"
    )
    app = project["entry-points"]["mlflow.app"]["headrace"]
    (metadata / "entry_points.txt").write_text(f"[mlflow.app]\nheadrace = {app}\n")
    return os.pathsep.join([str(directory), base_environment()["PYTHONPATH"]])


def test_stock_runs_our_application_with_its_options(tmp_path: Path) -> None:
    """Database, artifact root and prefix of its command line are those that we use."""
    options = ["--app-name", "headrace", "--default-artifact-root", "s3://bucket/root"]
    environment = {"PYTHONPATH": installed_beside(tmp_path / "site")}
    with (
        stock("sqlite:///mlflow.db", tmp_path, *options, environment=environment) as server,
        Wire(server.url) as wire,
    ):
        assert wire.ask("GET", "/headrace/api").status == 200  # a page that stock does not have
        made = wire.ask(
            "POST",
            "/api/2.0/mlflow/experiments/create",
            json.dumps({"name": "through uvicorn"}).encode(),
            {"Content-Type": "application/json"},
        )
        number = made.json()["experiment_id"]
        read = wire.ask("GET", f"/api/2.0/mlflow/experiments/get?experiment_id={number}").json()
        assert read["experiment"]["artifact_location"] == f"s3://bucket/root/{number}"
    assert (tmp_path / "mlflow.db").exists()


def test_users_are_asked_for_passwords(tmp_path: Path) -> None:
    """A configuration of users switches them on, in each of the workers."""
    environment = {
        "PYTHONPATH": installed_beside(tmp_path / "site"),
        **auth_environment(tmp_path, f"sqlite:///{tmp_path}/users.db"),
    }
    options = ("--app-name", "headrace")
    path = "2.0/mlflow/experiments/get"
    with (
        stock("sqlite:///mlflow.db", tmp_path, *options, environment=environment) as server,
        Person(server.url) as root,
        Wire(server.url) as nobody,
    ):
        root.ok("GET", path, experiment_id="0")
        assert nobody.ask("GET", f"/api/{path}?experiment_id=0").status == 401


KEY = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "a long random text"}
CONFIG = "[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///users.db\n"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"HEADRACE_APP_NAME": "basic-auth"}, "MLFLOW_FLASK_SERVER_SECRET_KEY"),
        ({"HEADRACE_APP_NAME": "basic-auth", **KEY}, "MLFLOW_AUTH_ADMIN_PASSWORD"),
        ({"MLFLOW_AUTH_CONFIG_PATH": "users.ini", **KEY}, "MLFLOW_AUTH_ADMIN_USERNAME"),
        ({"MLFLOW_AUTH_CONFIG_PATH": "none.ini", **KEY}, "cannot be read"),
    ],
)
def test_the_command_ends_when_users_cannot_be_served(
    tmp_path: Path, environment: dict[str, str], says: str
) -> None:
    """Before it starts workers, with one sentence that says what to set."""
    (tmp_path / "users.ini").write_text(CONFIG)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mlflow", "server", "--app-name", "headrace"),
            *("--port", str(free_port()), "--backend-store-uri", "sqlite:///mlflow.db"),
        ],
        cwd=tmp_path,
        env=base_environment()
        | STOCK_ENVIRONMENT
        | {"PYTHONPATH": installed_beside(tmp_path / "site")}
        | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr
