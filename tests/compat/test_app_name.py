"""`mlflow server --app-name headrace`: stock's command line and ASGI server, our application."""

from __future__ import annotations

import json
import os
import tomllib
from typing import TYPE_CHECKING

from tests.fix_server import ROOT, base_environment, stock
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
