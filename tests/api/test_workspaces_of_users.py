"""The routes of workspaces on a server with users: roles come and go with a workspace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import headrace
from tests.fix_users import PASSWORD, Person, auth_environment

if TYPE_CHECKING:
    from pathlib import Path

CRUD = "3.0/mlflow/workspaces"
OPTIONS = ("--app-name", "basic-auth", "--enable-workspaces")


@pytest.mark.parametrize("apart", [False, True])
def test_roles_come_and_go_with_a_workspace(apart: bool, tmp_path: Path) -> None:
    """Whether users have a database of their own or not."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    users_uri = f"sqlite:///{tmp_path}/users.db" if apart else uri
    environment = auth_environment(tmp_path, users_uri)
    with headrace(uri, tmp_path, *OPTIONS, environment=environment) as server:
        root = Person(server.url)
        root.ok("POST", "2.0/mlflow/users/create", username="ann", password=PASSWORD)
        ann = Person(server.url, "ann")
        for name in ("team-a", "team-b"):
            assert root.call("POST", CRUD, name=name).status == 201
            assert ann.call("POST", CRUD, name=f"{name}-of-ann").status == 403
        listed = root.ok("GET", "3.0/mlflow/roles/list", workspace="team-a")["roles"]
        assert {role["name"] for role in listed} == {"admin", "user"}
        assert ann.ok("GET", CRUD) == {}
        (user,) = (role for role in listed if role["name"] == "user")
        root.ok("POST", "3.0/mlflow/roles/assign", username="ann", role_id=user["id"])
        assert [one["name"] for one in ann.ok("GET", CRUD)["workspaces"]] == ["team-a"]
        assert ann.ok("GET", f"{CRUD}/team-a")["workspace"]["name"] == "team-a"
        for path, fields in (
            ("experiments/create", {"name": "e"}),
            ("registered-models/create", {"name": "m"}),
            ("registered-models/rename", {"name": "m", "new_name": "n"}),
            ("registered-models/set-tag", {"name": "n", "key": "k", "value": "it is hers"}),
        ):
            body = json.dumps(fields).encode()
            answer = ann.send("POST", f"/api/2.0/mlflow/{path}", body, x_mlflow_workspace="team-a")
            assert answer.status == 200, str(answer)
        for name in ("team-b", "nobody"):
            assert ann.call("GET", f"{CRUD}/{name}").status == 403
        assert ann.call("PATCH", f"{CRUD}/team-a", description="mine").status == 403
        assert ann.call("DELETE", f"{CRUD}/team-a").status == 403
        assert root.call("DELETE", f"{CRUD}/team-a?mode=CASCADE").status == 204
        assert root.call("POST", CRUD, name="team-a").status == 201
        assert ann.ok("GET", CRUD) == {}
        for person in (root, ann):
            person.close()
