"""Jobs that run in stock MLflow behind the bridge, while headrace itself reads and cancels them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bridge.test_bridge import ask
from tests.fix_server import headrace
from tests.processes import has_ended
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.fix_server import Server

ROOT = Path(__file__).parents[2]
# MLflow takes further jobs from these.
ENVIRONMENT = {
    "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": "tests.bridge.jobs_of_tests.tick",
    "_MLFLOW_ALLOWED_JOB_NAME_LIST": "tick",
    "PYTHONPATH": str(ROOT),
}
JOBS = "/ajax-api/3.0/jobs/"
START_S = 90.0


class Ticking:
    """A job, and the file that it writes when it begins."""

    def __init__(self, server: Server, directory: Path, name: str) -> None:
        self._server = server
        self._file = directory / name
        body = {"job_name": "tick", "params": {"file": str(self._file)}}
        self.id = ask(server, "POST", JOBS, body).json()["job_id"]

    def has_begun(self) -> bool:
        """Whether it runs or has run."""
        return self._file.exists() and bool(self._file.read_text())

    def has_ended(self) -> bool:
        """Whether its process has ended."""
        return has_ended(int(self._file.read_text()))

    def status(self) -> Any:
        """Its status, as headrace answers."""
        return ask(self._server, "GET", JOBS + self.id).json()["status"]

    def cancel(self) -> None:
        """Cancel it."""
        answer = ask(self._server, "PATCH", f"{JOBS}cancel/{self.id}")
        assert (answer.status, answer.json()["status"]) == (200, "CANCELED")


def test_canceling_ends_the_process_of_a_job_and_keeps_others_from_starting(
    tmp_path: Path,
) -> None:
    """The runner has one worker, so the second and third job wait for the first."""
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, environment=ENVIRONMENT) as server:
        first, second, third = (Ticking(server, tmp_path, name) for name in ("1", "2", "3"))
        eventually(first.has_begun, START_S, what="the first job begins")
        assert [job.status() for job in (first, second, third)] == ["RUNNING", "PENDING", "PENDING"]
        second.cancel()
        first.cancel()
        eventually(first.has_ended, START_S, what="the process of the first job ends")
        eventually(third.has_begun, START_S, what="the third job begins")
        assert not second.has_begun()
        third.cancel()
        eventually(third.has_ended, START_S, what="the process of the third job ends")
        assert [job.status() for job in (first, second, third)] == ["CANCELED"] * 3
