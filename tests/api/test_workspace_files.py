"""The artifact proxy of a server with workspaces: each has the files below its own directory."""

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

    from tests.fix_server import Server

ROUTE = "/api/2.0/mlflow-artifacts"
FILE = b"of team-a"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path, "--enable-workspaces") as running:
        make(uri, "team-a", "team-b")
        yield running


def ask(wire: Wire, workspace: str, method: str, path: str, body: bytes | None = None) -> Any:
    headers = {"X-MLFLOW-WORKSPACE": workspace, "Content-Type": "application/json"}
    return wire.ask(method, ROUTE + path, body, headers)


def test_a_path_is_below_the_directory_of_the_workspace(server: Server) -> None:
    with Wire(server.url) as wire:
        for workspace in ("team-a", "team-b", "default"):
            assert ask(wire, workspace, "PUT", "/artifacts/d/f", workspace.encode()).status == 200
        root = server.directory / "mlartifacts"
        found = sorted(str(p.relative_to(root)) for p in root.rglob("f"))
        assert found == ["d/f", "workspaces/team-a/d/f", "workspaces/team-b/d/f"]
        for workspace in ("team-a", "team-b", "default"):
            for path in ("d/f", f"workspaces/{workspace}/d/f"):
                answer = ask(wire, workspace, "GET", f"/artifacts/{path}")
                is_old = workspace == "default" and path != "d/f"
                assert answer.status == (404 if is_old else 200)
                assert is_old or answer.body == workspace.encode()
        assert ask(wire, "team-a", "DELETE", "/artifacts/d").status == 200
        assert sorted(str(p.relative_to(root)) for p in root.rglob("f")) == found[::2]


def test_a_file_may_be_named_like_a_route_without_workspaces(server: Server) -> None:
    """The route server-info alone is the same in every workspace."""
    path = "/artifacts/d/mlflow/server-info"
    with Wire(server.url) as wire:
        assert ask(wire, "team-a", "PUT", path, FILE).status == 200
        assert ask(wire, "team-a", "GET", path).body == FILE
        for other in ("team-b", "default"):
            assert ask(wire, other, "GET", path).status == 404
        assert ask(wire, "gone", "GET", path).status == 404


PATHS = (
    "workspaces/team-a/f",
    "workspaces%2Fteam-a%2Ff",
    "/workspaces/team-a/f",
    "./workspaces/team-a/f",
)


@pytest.mark.parametrize("other", ["team-b", "default"])
def test_no_route_reaches_the_files_of_another_workspace(server: Server, other: str) -> None:
    parts = json.dumps({"path": "f", "num_parts": 1}).encode()
    with Wire(server.url) as wire:
        assert ask(wire, "team-a", "PUT", "/artifacts/f", FILE).status == 200
        for path in PATHS:
            for method, route, body in (
                ("GET", "/artifacts", None),
                ("HEAD", "/artifacts", None),
                ("PUT", "/artifacts", b"changed"),
                ("DELETE", "/artifacts", None),
                ("GET", "/presigned", None),
                ("POST", "/mpu/create", parts),
                ("POST", "/mpu/complete", parts),
                ("POST", "/mpu/abort", parts),
            ):
                answer = ask(wire, other, method, f"{route}/{path}", body)
                is_own = path.startswith("./") and other != "default"  # workspaces/team-b/./…
                assert answer.status >= 400 or (is_own and method in ("PUT", "DELETE")), (
                    method,
                    path,
                )
                assert FILE not in answer.body
            listed = ask(wire, other, "GET", f"/artifacts?path={path.removesuffix('f')}")
            assert b'"f"' not in listed.body, path
        for path in ("workspaces", "./workspaces", "workspaces/"):
            assert ask(wire, "default", "DELETE", f"/artifacts/{path}").status == 400, path
            assert ask(wire, "default", "GET", f"/artifacts?path={path}").status == 400, path
        kept = ask(wire, "team-a", "GET", "/artifacts/f")
        assert (kept.status, kept.body) == (200, FILE)
