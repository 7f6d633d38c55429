"""The routes that only headrace has, and the switch for GraphQL, on a server with users."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.compat.users_matrix import OWN
from tests.fix_server import headrace
from tests.fix_users import PASSWORD, Person, auth_environment
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_server import Server

APP = ("--app-name", "basic-auth")
OPEN = (200, 200, 200, 200, 200)
ANYONE = (401, 401, 200, 200, 200)
# For an anonymous caller, a wrong password, a user, an admin of the workspace, and an admin. No
# OpenID provider is set, so its routes are unknown ones.
UNKNOWN = (401, 401, 403, 403, 404)
STATUSES = {
    "/livez": OPEN,
    "/readyz": OPEN,
    "/metrics": ANYONE,
    "/openapi.json": ANYONE,
    "/headrace/api": ANYONE,
    "/oidc/login": UNKNOWN,
    "/oidc/callback": UNKNOWN,
    "/oidc/logout": UNKNOWN,
    "/signup": (401, 401, 403, 200, 200),
}
QUERY = {
    "query": 'query { mlflowGetExperiment(input: {experimentId: "0"}) { experiment { name } } }'
}


@pytest.fixture
def server(uri: str, tmp_path: Path) -> Iterator[Server]:
    environment = auth_environment(tmp_path, uri, default_permission="NO_PERMISSIONS")
    with headrace(uri, tmp_path, *APP, environment=environment) as server:
        with Person(server.url) as root:
            for name in ("ann", "chief"):
                root.ok("POST", "2.0/mlflow/users/create", username=name, password=PASSWORD)
            role = {"name": "chiefs", "workspace": "default"}
            made = root.ok("POST", "3.0/mlflow/roles/create", **role)["role"]["id"]
            grant = {"resource_type": "workspace", "resource_pattern": "*", "permission": "MANAGE"}
            root.ok("POST", "3.0/mlflow/roles/permissions/add", role_id=made, **grant)
            root.ok("POST", "3.0/mlflow/roles/assign", username="chief", role_id=made)
        yield server


def test_every_own_route_has_a_row() -> None:
    assert set(OWN) | {"/signup"} == set(STATUSES)


def test_own_routes_answer_whom_their_rule_names(server: Server) -> None:
    found: dict[str, list[int]] = {path: [] for path in STATUSES}
    with Wire(server.url) as wire:
        for path, statuses in found.items():
            statuses.append(wire.ask("GET", path).status)
    people = (("ann", "a wrong password"), ("ann", PASSWORD), ("chief", PASSWORD))
    for name, password in (*people, ("root", PASSWORD)):
        with Person(server.url, name, password) as person:
            for path, statuses in found.items():
                statuses.append(person.send("GET", path).status)
    assert {path: tuple(statuses) for path, statuses in found.items()} == STATUSES


@pytest.mark.parametrize("is_checked", [True, False])
def test_fields_of_graphql_are_judged_unless_that_is_switched_off(
    is_checked: bool, uri: str, tmp_path: Path
) -> None:
    """As in MLflow, MLFLOW_SERVER_ENABLE_GRAPHQL_AUTH=false lets every user read everything there."""
    environment = auth_environment(tmp_path, uri, default_permission="NO_PERMISSIONS")
    if not is_checked:
        environment["MLFLOW_SERVER_ENABLE_GRAPHQL_AUTH"] = "false"
    with headrace(uri, tmp_path, *APP, environment=environment) as server:
        with Person(server.url) as root:
            root.ok("POST", "2.0/mlflow/users/create", username="ann", password=PASSWORD)
        body, sent = json.dumps(QUERY).encode(), {"content-type": "application/json"}
        with Person(server.url, "ann") as ann:
            answer = ann.send("POST", "/graphql", body)
            refused = ann.send("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")
        with Wire(server.url) as stranger:
            assert stranger.ask("POST", "/graphql", body, sent).status == 401
    assert refused.status == 403
    seen = {"experiment": {"name": "Default"}}
    assert answer.json() == {
        "data": {"mlflowGetExperiment": None if is_checked else seen},
        "errors": None,
    }
