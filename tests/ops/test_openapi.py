"""/openapi.json describes exactly the route table."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_logins import ADMIN, Client, with_users
from tests.fix_server import headrace
from tests.wire import Wire

from headrace.api import openapi
from headrace.api.routes import ROUTES, USER_ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def document() -> Any:
    """The description."""
    return json.loads(openapi.document(ROUTES + USER_ROUTES))


def references(node: Any) -> Iterator[str]:
    """Every $ref in it."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_native_route_is_described(document: Any) -> None:
    """And no other."""
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert described == {
        (route.method, openapi.template(route.path)[0]) for route in ROUTES + USER_ROUTES
    }
    assert len(described) == len({(route.method, route.path) for route in ROUTES + USER_ROUTES})


def test_every_reference_leads_to_a_schema(document: Any) -> None:
    """Client generators need this."""
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known
    assert all(re.fullmatch(r"[\w.-]+", name) for name in document["components"]["schemas"])


def test_every_argument_of_a_path_is_described_once(document: Any) -> None:
    """As a required string."""
    for path, item in document["paths"].items():
        for operation in item.values():
            given = [(p["in"], p["name"]) for p in operation.get("parameters", [])]
            assert len(given) == len(set(given)), path
            arguments = [name for place, name in given if place == "path"]
            assert arguments == re.findall(r"\{(.+?)\}", path)


def test_a_request_has_its_limits(document: Any) -> None:
    """They come from the types that the decoder enforces."""
    schemas = document["components"]["schemas"]
    assert "name" in schemas["CreateExperiment"]["required"]
    get = document["paths"]["/api/2.0/mlflow/experiments/get"]["get"]
    (parameter,) = get["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == (
        "experiment_id",
        "query",
        True,
    )
    run = schemas["RunInfo"]
    assert "end_time" in run["properties"]
    assert "end_time" not in run["required"]


def test_it_is_served(tmp_path: Path) -> None:
    """As JSON. Without users, the server has no routes of users."""
    with headrace(f"sqlite:///{tmp_path}/m.db", tmp_path) as server, Wire(server.url) as wire:
        answer = wire.ask("GET", "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(openapi.document(ROUTES))


def test_it_is_served_with_users(tmp_path: Path, document: Any) -> None:
    """With all routes."""
    with (
        with_users(f"sqlite:///{tmp_path}/m.db", tmp_path) as server,
        closing(Client(server.url)) as client,
    ):
        assert client.ok(ADMIN, "GET", "/openapi.json") == document
