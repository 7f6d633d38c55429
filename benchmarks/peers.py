"""The peers, each in an environment of its own under .venv-peers/, created on first use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ENVIRONMENTS: Final = ROOT / ".venv-peers"


@dataclass(frozen=True)
class Peer:
    """A server to compare with; `package` is the distribution whose version is reported."""

    name: str
    package: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return ENVIRONMENTS / self.name

    @property
    def binaries(self) -> Path:
        return self.folder / "bin"

    @property
    def stamp(self) -> Path:
        return self.folder / ".installed"

    def is_installed(self) -> bool:
        asked = json.dumps(self.requirements)
        return self.stamp.exists() and self.stamp.read_text() == asked

    def version(self) -> str:
        """Return the installed version."""
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        run = [os.fspath(self.binaries / "python"), "-c", code]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    def install(self) -> None:
        """Create the environment again unless it exists with the same requirements."""
        if self.is_installed():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        venv.create(self.folder, with_pip=True)
        python = os.fspath(self.binaries / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *self.requirements], check=True, stdout=sys.stderr)
        _link_go_library(self.folder)
        self.stamp.write_text(json.dumps(self.requirements))


def _link_go_library(folder: Path) -> None:
    """Link the library: the wheel of mlflow-go-backend 0.2.0 contains .dylib but loads .so."""
    for library in folder.glob("lib/python*/site-packages/mlflow_go_backend/*.dylib"):
        wanted = library.with_suffix(".so")
        if sys.platform == "linux" and not wanted.exists():
            wanted.symlink_to(library.name)


# SQLAlchemy 2.1 uses psycopg for postgresql://, 2.0 uses psycopg2.
MLFLOW: Final = Peer("mlflow", "mlflow", ("mlflow[auth]", "psycopg[binary]", "psycopg2-binary"))
# 2.20.4 is the last MLflow with which log-batch of metrics works in the Go server. Its
# requirements allow SQLAlchemy 2.1, with which it does not start.
MLFLOW_GO: Final = Peer(
    "mlflow-go",
    "mlflow-go-backend",
    ("mlflow-go-backend==0.2.0", "mlflow==2.20.4", "psycopg2-binary", "sqlalchemy<2.1"),
)
FASTTRACKML: Final = Peer("fasttrackml", "fasttrackml", ("fasttrackml==0.6.0",))
# headrace as a user installs it, only for the size on disk; the servers run from the source tree.
HEADRACE: Final = Peer("headrace", "headrace", (os.fspath(ROOT),))
PEERS: Final = (MLFLOW, MLFLOW_GO, FASTTRACKML)
