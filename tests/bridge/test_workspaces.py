"""The bridge of a server with workspaces: MLflow gets the workspace of each request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import headrace
from tests.wire import Wire
from tests.workspaces import make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wire import Answer

SERVERS = "/api/3.0/mlflow/mcp-servers"


def ask(wire: Wire, method: str, workspace: str | None, path: str = "", **body: object) -> Answer:
    """Ask a route that only MLflow has."""
    headers = {"Content-Type": "application/json"}
    if workspace is not None:
        headers["X-MLFLOW-WORKSPACE"] = workspace
    return wire.ask(method, SERVERS + path, json.dumps(body).encode() if body else None, headers)


@pytest.mark.timeout(300)  # stock MLflow starts
def test_a_bridged_request_is_of_its_workspace(uri: str, tmp_path: Path) -> None:
    with headrace(uri, tmp_path, "--enable-workspaces") as server:
        make(uri, "team-a", "team-b")
        with Wire(server.url) as wire:
            assert ask(wire, "GET", "nowhere").status == 404
            assert "starting MLflow" not in server.log()
            made = ask(wire, "POST", "team-a", name="com.example/one")
            assert made.status == 200, str(made)
            for workspace, count in (("team-a", 1), ("team-b", 0), (None, 0)):
                found = ask(wire, "GET", workspace)
                assert found.status == 200, str(found)
                assert found.body.count(b"com.example/one") == count, workspace
            assert ask(wire, "GET", "team-b", "/com.example/one").status == 404
