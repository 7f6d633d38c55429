"""A server without workspaces says so with stock's messages."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import headrace, stock
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

Servers = tuple[Wire, Wire]
WORKSPACES = "api/3.0/mlflow/workspaces"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        wires = []
        for name, start in (("ours", headrace), ("stock", stock)):
            directory = tmp_path_factory.mktemp(name)
            server = stack.enter_context(start(f"sqlite:///{directory}/mlflow.db", directory))
            wires.append(stack.enter_context(Wire(server.url)))
        yield wires[0], wires[1]


@pytest.mark.parametrize("prefix", ["/", "/ajax-"])
@pytest.mark.parametrize(
    ("method", "below"),
    [("GET", ""), ("POST", ""), ("GET", "/one"), ("PATCH", "/one"), ("DELETE", "/one")],
)
def test_there_are_none(servers: Servers, prefix: str, method: str, below: str) -> None:
    body = b"{}" if method in ("POST", "PATCH") else None
    path = f"{prefix}{WORKSPACES}{below}"
    headers = {"content-type": "application/json"}
    mine, its = (wire.ask(method, path, body, headers) for wire in servers)
    assert (mine.status, mine.body) == (its.status, its.body)
    assert mine.status == 503
    assert mine.headers["content-type"] == its.headers["content-type"]


@pytest.mark.parametrize("name", ["team", "default", " ", ""])
@pytest.mark.parametrize(
    "path",
    [
        "/api/2.0/mlflow/experiments/search?max_results=1",
        "/api/3.0/mlflow/server-info",
        "/ajax-api/3.0/mlflow/server-info",
        "/health",
        "/",
        "/nowhere",
    ],
)
def test_a_request_for_one_is_refused(servers: Servers, path: str, name: str) -> None:
    mine, its = (wire.ask("GET", path, headers={"X-MLFLOW-WORKSPACE": name}) for wire in servers)
    assert mine.status == its.status
    if mine.status == 500:
        assert mine.json() == its.json()


def test_the_page_is_told_to_report_nothing(servers: Servers) -> None:
    path = "/ajax-api/3.0/mlflow/ui-telemetry"
    for method, body in (("GET", None), ("POST", b"{}")):
        headers = {"content-type": "application/json"}
        mine, its = (wire.ask(method, path, body, headers) for wire in servers)
        assert (mine.status, mine.body) == (its.status, its.body) == (200, its.body)
        assert mine.headers["content-type"] == its.headers["content-type"]


def test_there_is_no_current_user(servers: Servers) -> None:
    mine, its = (wire.ask("GET", "/ajax-api/2.0/mlflow/users/current") for wire in servers)
    assert (mine.status, mine.body) == (its.status, its.body)
    assert mine.status == 404
