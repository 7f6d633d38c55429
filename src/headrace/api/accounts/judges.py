"""The callers of the routes of users, roles and grants, besides admins: the judges of `Judged` rules.

The conditions are those of MLflow's basic-auth app, judged on the id that the handler acts on. An
admin of a workspace has the permission MANAGE on it through a role.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from headrace.api.accounts.fields import given, is_id, resource_id, text, whole
from headrace.auth import effective, roles, users
from headrace.auth.access import Access
from headrace.auth.decide import WORKSPACE, Level
from headrace.contract.errors import invalid
from headrace.db.base import Tx


def _user_id(access: Access) -> int:
    assert access.user_id is not None, "a judge is asked about users"
    return access.user_id


async def workspace_admin(tx: Tx, access: Access, req: Any) -> bool:
    """Admins of any workspace."""
    return bool(await roles.administered(tx, _user_id(access)))


async def self_only(tx: Tx, access: Access, req: Any) -> bool:
    """The user that the request names."""
    return bool(given(req.username, "username") == access.username)


async def self_or_workspace_admin(tx: Tx, access: Access, req: Any) -> bool:
    """The user that the request names, and admins of workspaces in which that user has a role."""
    username = text(req.username, "username")
    if username == access.username:
        return True
    found = await users.find(tx, username)
    if found is None:
        return False
    administered = await roles.administered(tx, _user_id(access))
    return bool(administered) and bool(administered & await roles.present(tx, found.id))


async def admin_of_new_role(tx: Tx, access: Access, req: Any) -> bool:
    """Admins of the workspace that the request names."""
    return await _administers(tx, access, _workspace(req.workspace))


def _workspace(value: Any) -> str:
    if not isinstance(_named(value), str) or not value.strip():
        raise invalid("Parameter 'workspace' must be a non-empty string.")
    return text(value, "workspace")


async def admin_of_role(tx: Tx, access: Access, req: Any) -> bool:
    """Admins of the workspace of the role that the request names."""
    workspace = await _workspace_of_role(tx, req.role_id)
    return workspace is not None and await _administers(tx, access, workspace)


async def admin_of_permission(tx: Tx, access: Access, req: Any) -> bool:
    """Admins of the workspace of the role of the permission that the request names."""
    permission_id = whole(_named(req.role_permission_id), "role_permission_id")
    permission = await roles.find_permission(tx, permission_id) if is_id(permission_id) else None
    if permission is None:
        return False
    workspace = await _workspace_of_role(tx, permission.role_id)
    return workspace is not None and await _administers(tx, access, workspace)


async def member_of_role(tx: Tx, access: Access, req: Any) -> bool:
    """Users with any role in the workspace of the role that the request names."""
    workspace = await _workspace_of_role(tx, req.role_id)
    return workspace is not None and workspace in await roles.present(tx, _user_id(access))


async def member_of_workspaces(tx: Tx, access: Access, req: Any) -> bool:
    """Users with a role in each workspace that the request names, at least one."""
    named = set(filter(None, map(str.strip, req.workspace)))
    return bool(named) and named <= await roles.present(tx, _user_id(access))


async def manager_of_resource(tx: Tx, access: Access, req: Any) -> bool:
    """Users with the permission MANAGE on the resource; for `*`, admins of the workspace."""
    resource_type = text(req.resource_type, "resource_type")
    id_ = resource_id(req.resource_id, "resource_id", resource_type)
    effective.check_type(resource_type)
    if id_ == "*":
        return await _administers(tx, access, access.workspace)
    effective.check_id(resource_type, id_)
    level = await effective.level(
        tx, _user_id(access), access.workspace, resource_type, id_, access.defaults
    )
    return level is Level.MANAGE


async def viewer_of_grant(tx: Tx, access: Access, req: Any) -> bool:
    """The user that the request names, and admins of the workspace."""
    resource_type = given(req.resource_type, "resource_type")
    if resource_type == WORKSPACE:
        effective.check_type(WORKSPACE)
    username = text(req.username, "username")
    if username == access.username:
        return True
    if await users.find(tx, username) is None:
        return False
    id_ = resource_id(req.resource_id, "resource_id", resource_type)
    return effective.has_workspace(resource_type, id_) and await _administers(
        tx, access, access.workspace
    )


def _named(value: Any) -> Any:
    if value is UNSET:
        raise invalid("Request must include one of: role_id, role_permission_id, workspace.")
    return value


async def _workspace_of_role(tx: Tx, value: Any) -> str | None:
    role_id = whole(_named(value), "role_id")
    role = await roles.find(tx, role_id) if is_id(role_id) else None
    return None if role is None else role.workspace


async def _administers(tx: Tx, access: Access, workspace: str) -> bool:
    return workspace in await roles.administered(tx, _user_id(access))
