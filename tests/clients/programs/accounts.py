"""Calls every method of the client of users, roles and permissions; prints what they return.

The arguments are the version of the API (2: users only) and the name of a new user.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mlflow import MlflowException
from mlflow.server import get_app_client

PASSWORD = "a-long-password"


def users(client: Any, name: str) -> list[Any]:
    """The methods of every release."""
    found: list[Any] = []
    made = client.create_user(name, PASSWORD)
    found.append([made.username, made.is_admin])
    client.update_user_admin(name, True)
    found.append(client.get_user(name).is_admin)
    client.update_user_admin(name, False)
    client.update_user_password(name, "another-password")
    for call in (
        lambda: client.create_user(name, PASSWORD),
        lambda: client.create_user("x", "short"),
        lambda: client.get_user("nobody"),
        lambda: client.delete_user(os.environ["MLFLOW_TRACKING_USERNAME"]),
    ):
        found.append(refusal(call))
    return found


def users_of_old_client(client: Any, name: str) -> list[Any]:
    """The methods of 2.22 whose routes exist.

    It cannot read the answers that have a user, of stock 3.17 neither, but the requests are the same.
    """
    found: list[Any] = []
    for call in (client.create_user, lambda name, _: client.get_user(name)):
        try:
            call(name, PASSWORD)
        except KeyError as error:
            found.append(str(error))
    client.update_user_admin(name, True)
    client.update_user_admin(name, False)
    client.update_user_password(name, "another-password")
    found.append(refusal(lambda: client.create_user(name, PASSWORD)))
    found.append(refusal(lambda: client.get_user("nobody")))
    found.append(refusal(lambda: client.delete_user("nobody")))
    return found


def permissions(client: Any, name: str) -> list[Any]:
    """The methods of 3.13 and later."""
    found: list[Any] = []
    role = client.create_role("default", f"role of {name}", "d")
    found.append([role.name, role.workspace, role.description, role.permissions])
    found.append(client.get_role(role.id).name)
    found.append(client.update_role(role.id, description="e").description)
    found.append(role.id in [one.id for one in client.list_roles("default")])
    found.append(role.id in [one.id for one in client.list_all_roles()])
    made = client.add_role_permission(role.id, "experiment", "*", "READ")
    found.append(shown(made))
    found.append(shown(client.update_role_permission(made.id, "EDIT")))
    found.append([shown(one) for one in client.list_role_permissions(role.id)])
    assignment = client.assign_role(name, role.id)
    found.append(assignment.role_id == role.id)
    found.append([one.name for one in client.list_user_roles(name)])
    found.append([one.id == assignment.id for one in client.list_role_users(role.id)])
    found.append(effective(client.get_user_permission(name, "experiment", "7")))
    client.grant_user_permission(name, "experiment", "7", "MANAGE")
    found.append(effective(client.get_user_permission(name, "experiment", "7")))
    found.append(refusal(lambda: client.grant_user_permission(name, "experiment", "7", "READ")))
    client.revoke_user_permission(name, "experiment", "7")
    found.append(refusal(lambda: client.revoke_user_permission(name, "experiment", "7")))
    client.unassign_role(name, role.id)
    client.remove_role_permission(made.id)
    found.append(refusal(lambda: client.remove_role_permission(2**31 - 1)))
    client.delete_role(role.id)
    found.append(refusal(lambda: client.get_role(2**31 - 1)))
    return found


def shown(permission: Any) -> list[str]:
    """A permission without its ids."""
    return [permission.resource_type, permission.resource_pattern, permission.permission]


def effective(result: Any) -> list[Any]:
    """The permissions of a user."""
    return [result.allowed, result.permission]


def refusal(call: Any) -> list[str]:
    """The code and the message of an error."""
    try:
        call()
    except MlflowException as error:
        return [error.error_code, str(error).partition(" Error: ")[0]]
    raise AssertionError("the call succeeded")


if __name__ == "__main__":
    version, username = sys.argv[1:]
    app = get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    result = users_of_old_client(app, username) if version == "2" else users(app, username)
    if version != "2":
        result += permissions(app, username)
    app.delete_user(username)
    sys.stdout.write(json.dumps(result) + "\n")
