"""Trainings with the stock mlflow client that continue during faults, and the check of their rows."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.load import eventually
from tests.faults.stored import rows
from tests.fix_server import STOCK_ENVIRONMENT, base_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).parent / "programs" / "train.py"
STARTED_WITHIN_S = 60  # importing mlflow alone takes seconds on a busy machine


class Training:
    """A process that trains through the server at `url`, whose database is `uri`, until `finish`."""

    def __init__(self, url: str, uri: str, directory: Path, name: str = "training") -> None:
        self.name = name
        self._uri = uri
        self._stop = directory / f"{name}.stop"
        environment = base_environment() | STOCK_ENVIRONMENT | {"MLFLOW_TRACKING_URI": url}
        environment["GIT_PYTHON_REFRESH"] = "quiet"
        del environment["PYTHONPATH"]  # the program must not import this repository
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, name, self._stop],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_it_logs(self) -> None:
        """Wait until the database has some of its steps."""
        statement = f"SELECT count(*) FROM metrics m JOIN runs r USING (run_uuid) WHERE r.name = '{self.name}'"

        def logs() -> bool:
            assert self._process.poll() is None, self._process.communicate()[1]
            return int(rows(self._uri, statement)[0][0]) > 10

        eventually(logs, STARTED_WITHIN_S)

    def finish(self, within_s: float = 90) -> None:
        """Let it end; it must have raised nothing, and everything that it logged must be stored once."""
        self._stop.touch()
        out, err = self._process.communicate(timeout=within_s)
        assert self._process.returncode == 0, err[-4000:]
        logged = json.loads(out.splitlines()[-1])
        run_id, steps = logged["run_id"], logged["steps"]
        points = rows(self._uri, f"SELECT key, step FROM metrics WHERE run_uuid = '{run_id}'")
        wanted = [(key, step) for key in ("accuracy", "loss") for step in range(steps)]
        assert sorted(points) == wanted
        names = f"SELECT name FROM runs WHERE name LIKE '{self.name}%'"
        folds = [f"{self.name} fold {n}" for n in range(logged["children"])]
        assert sorted(name for (name,) in rows(self._uri, names)) == sorted([self.name, *folds])
        params = (
            "SELECT count(*) FROM params JOIN runs r USING (run_uuid)"
            f" WHERE r.name LIKE '{self.name} fold%'"
        )
        assert rows(self._uri, params) == [(logged["children"],)]

    def kill(self) -> None:
        """End it now, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def training(url: str, uri: str, directory: Path, name: str = "training") -> Iterator[Training]:
    """Start a training; it is killed at the end of the block unless `finish` was called."""
    one = Training(url, uri, directory, name)
    try:
        yield one
    finally:
        one.kill()
