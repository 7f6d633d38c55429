"""On a server with workspaces, each request finds and writes the rows of one workspace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import headrace
from tests.wire import Wire
from tests.workspaces import make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.wire import Answer


class Team:
    """A client of one workspace."""

    def __init__(self, wire: Wire, name: str) -> None:
        self.wire = wire
        self.name = name

    def ask(self, method: str, path: str, **body: Any) -> Answer:
        """The answer to a request below /api/2.0/mlflow."""
        headers = {"X-MLFLOW-WORKSPACE": self.name, "content-type": "application/json"}
        data = json.dumps(body).encode() if method != "GET" else None
        return self.wire.ask(method, f"/api/2.0/mlflow/{path}", data, headers)

    def ok(self, method: str, path: str, **body: Any) -> Any:
        """The JSON of an answer with the status 200."""
        answer = self.ask(method, path, **body)
        assert answer.status == 200, answer.body
        return answer.json()


@pytest.fixture
def wire(uri: str, tmp_path: Path) -> Iterator[Wire]:
    options = ("--enable-workspaces",)
    with headrace(uri, tmp_path, *options) as server:
        make(uri, "team-a", "team-b")
        with Wire(server.url) as wire:
            yield wire


def test_names_are_those_of_the_workspace(wire: Wire) -> None:
    """Experiments, models, versions, tags and aliases of the same names do not meet."""
    one, two = Team(wire, "team-a"), Team(wire, "team-b")
    ids = []
    for team in (one, two):
        created = team.ok("POST", "experiments/create", name="e")
        ids.append(created["experiment_id"])
        found = team.ok("GET", "experiments/get-by-name?experiment_name=e")["experiment"]
        assert found["experiment_id"] == ids[-1]
        assert found["workspace"] == team.name
        assert found["artifact_location"].endswith(f"/workspaces/{team.name}/{ids[-1]}")
        listed = team.ok("POST", "experiments/search", max_results=9)["experiments"]
        assert [item["experiment_id"] for item in listed] == [ids[-1]]
        tags = [{"key": "of", "value": team.name}]
        team.ok("POST", "registered-models/create", name="m", tags=tags)
        made = team.ok("POST", "model-versions/create", name="m", source="s3://a/b", tags=tags)
        assert made["model_version"]["version"] == "1"
        team.ok("POST", "registered-models/alias", name="m", alias="best", version="1")
        team.ok("POST", "registered-models/set-tag", name="m", key="more", value=team.name)
    two.ok("DELETE", "registered-models/alias", name="m", alias="best")
    two.ok("DELETE", "registered-models/delete", name="m")
    (model,) = one.ok("GET", "registered-models/search")["registered_models"]
    assert {tag["key"]: tag["value"] for tag in model["tags"]} == {"of": "team-a", "more": "team-a"}
    assert model["aliases"] == [{"alias": "best", "version": "1"}]
    assert two.ok("GET", "registered-models/search") == {}
    assert two.ask("GET", f"experiments/get?experiment_id={ids[0]}").status == 404
    assert two.ask("POST", "experiments/delete", experiment_id=ids[0]).status == 404
    assert one.ok("GET", f"experiments/get?experiment_id={ids[0]}")["experiment"]["name"] == "e"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("", 200),
        (" ", 200),
        ("default", 200),
        (" team-a ", 200),
        ("gone", 404),
        ("A", 400),
        ("a", 400),
    ],
)
def test_the_header_names_a_workspace_that_exists(wire: Wire, name: str, status: int) -> None:
    """Every path asks for one, except server-info, which tells that there are workspaces."""
    headers = {"X-MLFLOW-WORKSPACE": name}
    assert wire.ask("GET", "/version", headers=headers).status == status
    info = wire.ask("GET", "/api/3.0/mlflow/server-info", headers=headers)
    assert info.status == 200
    assert info.json()["workspaces_enabled"] is True


def test_a_client_cannot_choose_the_location(wire: Wire) -> None:
    answer = Team(wire, "team-a").ask(
        "POST", "experiments/create", name="x", artifact_location="s3://a/b"
    )
    assert answer.status == 400
    assert (
        answer.json()["message"]
        == "artifact_location cannot be specified when workspaces are enabled"
    )
