"""A small client for API tests: one headrace server per session and database, requests in one line.

run = api.run()
api.ok("runs/delete", run_id=run.id)
api.fails("runs/log-metric", run_id=run.id, key="loss", value=1.0, timestamp=0, says="'active' state")
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from tests.fix_database import empty_database
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

# Everything else is a POST.
GETS = frozenset(
    {
        "experiments/get",
        "experiments/get-by-name",
        "runs/get",
        "metrics/get-history",
        "metrics/get-history-bulk-interval",
    }
)


@dataclass(frozen=True)
class CreatedExperiment:
    """An experiment: the id that experiments/create returned, and the requested name."""

    id: str
    name: str


@dataclass(frozen=True)
class CreatedRun:
    """A run as runs/create returned it."""

    id: str
    experiment_id: str
    info: dict[str, Any]
    tags: dict[str, str]


class Api:
    """A connection to a headrace server, with one method per common request."""

    _numbers = itertools.count()

    def __init__(self, server: Server, uri: str) -> None:
        self.server = server
        self.uri = uri  # of the database, to read rows that the API does not show
        self.wire = Wire(server.url)

    def ok(self, path: str, **fields: Any) -> Any:
        """The JSON of an answer that must be 200."""
        answer = self._ask(path, fields)
        assert answer.status == 200, f"{path} {fields}: {answer}"
        return answer.json()

    def fails(
        self,
        path: str,
        *,
        says: str,
        code: str = "INVALID_PARAMETER_VALUE",
        http: int = 400,
        **fields: Any,
    ) -> None:
        """The request must fail with that status and code, and `says` must be part of the message."""
        answer = self._ask(path, fields)
        assert answer.status == http, f"{path} {fields}: {answer}"
        body = answer.json()
        assert body["error_code"] == code, body
        assert says in body["message"], body

    def _ask(self, path: str, fields: dict[str, Any]) -> Any:
        target = f"/api/2.0/mlflow/{path}"
        if path in GETS:
            return self.wire.ask("GET", f"{target}?{urlencode(fields, doseq=True)}")
        body = json.dumps(fields).encode()
        return self.wire.ask("POST", target, body, {"Content-Type": "application/json"})

    def experiment(self, **fields: Any) -> CreatedExperiment:
        """Create an experiment, with a unique name by default."""
        name = fields.setdefault("name", f"experiment {next(self._numbers)}")
        return CreatedExperiment(self.ok("experiments/create", **fields)["experiment_id"], name)

    def run(self, experiment_id: str | None = None, **fields: Any) -> CreatedRun:
        """Create a run, in a new experiment by default."""
        experiment_id = experiment_id or self.experiment().id
        run = self.ok("runs/create", experiment_id=experiment_id, **fields)["run"]
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        return CreatedRun(run["info"]["run_id"], experiment_id, run["info"], tags)

    def get(self, run_id: str) -> dict[str, Any]:
        """runs/get with params and tags as mappings, metrics by key."""
        run = self.ok("runs/get", run_id=run_id)["run"]
        data = run["data"]
        return {
            "info": run["info"],
            "params": {p["key"]: p["value"] for p in data.get("params", [])},
            "tags": {t["key"]: t["value"] for t in data.get("tags", [])},
            "metrics": {m["key"]: m for m in data.get("metrics", [])},
            "inputs": run["inputs"],
            "outputs": run["outputs"],
        }

    def history(self, run_id: str, key: str, **query: Any) -> list[tuple[int, int, Any]]:
        """(timestamp, step, value) of every point of a metric, in the order answered."""
        answer = self.ok("metrics/get-history", run_id=run_id, metric_key=key, **query)
        return [(m["timestamp"], m["step"], m["value"]) for m in answer.get("metrics", [])]

    def search(self, *experiment_ids: str, **fields: Any) -> list[str]:
        """The ids of the runs that runs/search finds, in its order."""
        found = self.ok("runs/search", experiment_ids=list(experiment_ids), **fields)
        return [run["info"]["run_id"] for run in found.get("runs", [])]


@pytest.fixture(scope="session")
def api_server(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    """A headrace server on a new database, and the URI of the database."""
    directory = tmp_path_factory.mktemp(f"api-{database}")
    with empty_database(database, request, directory) as uri, headrace(uri, directory) as server:
        yield server, uri


@pytest.fixture
def api(api_server: tuple[Server, str]) -> Iterator[Api]:
    """A client of that server. Tests share the server, so each creates its own experiments."""
    client = Api(*api_server)
    yield client
    client.wire.close()
