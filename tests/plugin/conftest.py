"""Fixtures of the plugin tests: databases, and scripts in separate processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests import fix_clients

from headrace.client import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SCRIPT_TIMEOUT_S = 100


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with MLflow's tables, to be copied, because MLflow takes seconds to create them."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    engine.engine_of(f"sqlite:///{path}")
    engine.close_all()
    return path


@pytest.fixture
def uri(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of the kind under test, with MLflow's tables."""
    if database == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "mlflow.db")
        yield f"sqlite:///{tmp_path}/mlflow.db"
    else:
        yield request.getfixturevalue("postgres_uri")


@pytest.fixture
def sqlite_uri(sqlite_template: Path, tmp_path: Path) -> str:
    """A file with MLflow's tables."""
    shutil.copyfile(sqlite_template, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with metadata that makes headrace an installed package with its entry points."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    directory = tmp_path_factory.mktemp("installed")
    info = directory / "headrace-0.1.0.dist-info"
    info.mkdir()
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headrace\nVersion: 0.1.0\n")
    return directory


@pytest.fixture
def mlflow2(tmp_path: Path) -> tuple[str, list[str]]:
    """The Python of the environment with mlflow 2, and the paths from which it can import headrace."""
    python = fix_clients.mlflow2().python
    # That environment has no headrace; links give it headrace's dependencies.
    farm = tmp_path / "packages"
    farm.mkdir()
    for name in ("asyncpg", "msgspec", "uvloop"):
        (farm / name).symlink_to(Path(__import__(name).__file__ or "").parent)
    return str(python), [str(ROOT / "src"), str(ROOT), str(farm)]


Script = "Callable[..., subprocess.Popen[str]]"


@pytest.fixture
def script(installed: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `python -c TEXT ARGUMENTS…` with headrace installed; `HEADRACE=1` by default."""
    started: list[subprocess.Popen[str]] = []

    def start(text: str, *arguments: str, headrace: str = "1") -> subprocess.Popen[str]:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), str(installed)]),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "HEADRACE": headrace,
            "PYTHONWARNINGS": "error::ResourceWarning",
        }
        environment.pop("PYTEST_CURRENT_TEST", None)
        process = subprocess.Popen(
            [sys.executable, "-c", text, *arguments],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def output(process: subprocess.Popen[str]) -> str:
    """The output of a script; fails with its stderr if its exit code is not 0."""
    out, err = process.communicate(timeout=SCRIPT_TIMEOUT_S)
    assert process.returncode == 0, err[-4000:]
    return out
