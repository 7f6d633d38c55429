"""Handlers of the routes of roles."""

from __future__ import annotations

from typing import Any, Final

from headrace.api.accounts import listing
from headrace.api.accounts.fields import (
    MAX_DESCRIPTION,
    MAX_ROLE_NAME,
    MAX_WORKSPACE,
    given,
    is_id,
    limited,
    resource_id,
    storable,
    text,
    whole,
)
from headrace.api.accounts.roles.types import (
    AddPermission,
    Assignee,
    Assignment,
    AssignmentAnswer,
    AssignmentList,
    CreateRole,
    ListRoles,
    PermissionAnswer,
    PermissionId,
    PermissionList,
    RoleAnswer,
    RoleId,
    RoleList,
    UpdatePermission,
    UpdateRole,
)
from headrace.api.context import Context
from headrace.api.results import Chunks, Line
from headrace.auth import grantable, roles, users
from headrace.auth.roles import Role
from headrace.contract.errors import invalid
from headrace.contract.scalars import Empty

EMPTY: Final = Line(Empty())


def role_id_of(value: Any) -> int:
    """The role's id. Raises INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (beyond all ids)."""
    number = whole(value, "role_id")
    if not is_id(number):
        raise roles.no_role(number)
    return number


def permission_id_of(value: Any) -> int:
    """As `role_id_of`, for a permission."""
    number = whole(value, "role_permission_id")
    if not is_id(number):
        raise roles.no_permission(number)
    return number


async def _one(ctx: Context, role: Role) -> Line[RoleAnswer] | Chunks:
    return await listing.answer(RoleAnswer, listing.one_role(ctx.accounts.db, role))


async def create(req: CreateRole, ctx: Context) -> Line[RoleAnswer] | Chunks:
    """POST /3.0/mlflow/roles/create

    Errors: INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS.
    """
    name, workspace = given(req.name, "name"), given(req.workspace, "workspace")
    if not isinstance(name, str) or not name.strip():
        raise invalid("Role name cannot be empty.")
    if not isinstance(workspace, str) or not workspace.strip():
        raise invalid("Workspace cannot be empty.")
    description = req.description
    if description is not None:
        if not isinstance(description, str):
            raise invalid("Role description must be a string or null.")
        limited(description, "description", MAX_DESCRIPTION)
    limited(name, "name", MAX_ROLE_NAME)
    limited(workspace, "workspace", MAX_WORKSPACE)
    role = await ctx.accounts.db.write(roles.create, name, workspace, description)
    ctx.changed("role.create", role=role.id)
    return await _one(ctx, role)


async def get(req: RoleId, ctx: Context) -> Line[RoleAnswer] | Chunks:
    """GET /3.0/mlflow/roles/get. Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST."""
    return await _one(ctx, await ctx.accounts.db.read_point(roles.get, role_id_of(req.role_id)))


async def list_roles(req: ListRoles, ctx: Context) -> Line[RoleList] | Chunks:
    """GET /3.0/mlflow/roles/list: the roles of the named workspaces, or all, with permissions.

    The roles that hold the users' own grants are among them. Long answers are sent in parts.
    """
    for workspace in req.workspace:
        if not workspace.strip():
            raise invalid("Parameter 'workspace' must be a non-empty string when provided.")
        storable(workspace, "workspace")
    db = ctx.accounts.db
    pages = listing.roles_of_workspaces(db, req.workspace or None)
    return await listing.answer(RoleList, listing.list_of_roles(pages, db))


async def update(req: UpdateRole, ctx: Context) -> Line[RoleAnswer] | Chunks:
    """PATCH /3.0/mlflow/roles/update: change the name, the description, or both.

    Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, RESOURCE_ALREADY_EXISTS.
    """
    role_id, name, description = whole(req.role_id, "role_id"), req.name, req.description
    if name is None and description is None:
        raise invalid("At least one of 'name' or 'description' must be provided to update a role.")
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise invalid("Role name cannot be empty.")
    if description is not None and not isinstance(description, str):
        raise invalid("Role description must be a string.")
    if name is not None:
        grantable.check_role_name(limited(name, "name", MAX_ROLE_NAME))
    if description is not None:
        limited(description, "description", MAX_DESCRIPTION)
    role_id = role_id_of(role_id)
    role = await ctx.accounts.db.write(roles.update, role_id, name, description)
    ctx.changed("role.update", role=role_id)
    return await _one(ctx, role)


async def delete(req: RoleId, ctx: Context) -> Line[Empty]:
    """DELETE /3.0/mlflow/roles/delete: delete a role, its permissions and its assignments.

    Errors: RESOURCE_DOES_NOT_EXIST.
    """
    role_id = role_id_of(req.role_id)
    await ctx.accounts.db.write(roles.delete, role_id)
    ctx.changed("role.delete", role=role_id)
    return EMPTY


async def add_permission(req: AddPermission, ctx: Context) -> Line[PermissionAnswer]:
    """POST /3.0/mlflow/roles/permissions/add

    Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (role), RESOURCE_ALREADY_EXISTS.
    """
    role_id = whole(req.role_id, "role_id")
    resource_type = text(req.resource_type, "resource_type")
    pattern = resource_id(req.resource_pattern, "resource_pattern", resource_type)
    level = text(req.permission, "permission")
    grantable.check_grant(level, resource_type)
    grantable.check_pattern(pattern, resource_type)
    role_id = role_id_of(role_id)
    row = await ctx.accounts.db.write(roles.add_permission, role_id, resource_type, pattern, level)
    ctx.changed("role.permission.add", role=role_id, type=resource_type, id=pattern, level=level)
    return Line(PermissionAnswer(role_permission=listing.role_permission(row)))


async def remove_permission(req: PermissionId, ctx: Context) -> Line[Empty]:
    """DELETE /3.0/mlflow/roles/permissions/remove. Errors: RESOURCE_DOES_NOT_EXIST."""
    permission_id = permission_id_of(req.role_permission_id)
    await ctx.accounts.db.write(roles.remove_permission, permission_id)
    ctx.changed("role.permission.remove", permission=permission_id)
    return EMPTY


async def list_permissions(req: RoleId, ctx: Context) -> Line[PermissionList] | Chunks:
    """GET /3.0/mlflow/roles/permissions/list. Errors: RESOURCE_DOES_NOT_EXIST."""
    db = ctx.accounts.db
    role = await db.read_point(roles.get, role_id_of(req.role_id))
    return await listing.answer(PermissionList, listing.permissions_of_role(db, role))


async def update_permission(req: UpdatePermission, ctx: Context) -> Line[PermissionAnswer]:
    """PATCH /3.0/mlflow/roles/permissions/update: replace the level of a permission.

    Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST.
    """
    permission_id = whole(req.role_permission_id, "role_permission_id")
    level = given(req.permission, "permission")
    permission_id = permission_id_of(permission_id)
    await ctx.accounts.db.read_point(roles.permission, permission_id)
    level = storable(level, "permission")
    row = await ctx.accounts.db.write(roles.update_permission, permission_id, level)
    ctx.changed("role.permission.update", role=row.role_id, permission=permission_id, level=level)
    return Line(PermissionAnswer(role_permission=listing.role_permission(row)))


async def assign(req: Assignee, ctx: Context) -> Line[AssignmentAnswer]:
    """POST /3.0/mlflow/roles/assign: give a role to a user.

    Errors: RESOURCE_DOES_NOT_EXIST (user or role), RESOURCE_ALREADY_EXISTS.
    """
    username, role_id = text(req.username, "username"), whole(req.role_id, "role_id")
    await ctx.accounts.db.read_point(users.get, username)
    row = await ctx.accounts.db.write(roles.assign, username, role_id_of(role_id))
    ctx.changed("role.assign", target=username, role=role_id)
    assignment = Assignment(id=row.id, role_id=row.role_id, user_id=row.user_id)
    return Line(AssignmentAnswer(assignment=assignment))


async def unassign(req: Assignee, ctx: Context) -> Line[Empty]:
    """DELETE /3.0/mlflow/roles/unassign: take a role from a user.

    Errors: RESOURCE_DOES_NOT_EXIST (user or assignment).
    """
    username, role_id = text(req.username, "username"), whole(req.role_id, "role_id")
    await ctx.accounts.db.write(roles.unassign, username, role_id_of(role_id))
    ctx.changed("role.unassign", target=username, role=role_id)
    return EMPTY


async def list_users(req: RoleId, ctx: Context) -> Line[AssignmentList] | Chunks:
    """GET /3.0/mlflow/roles/users/list: who has a role. Errors: RESOURCE_DOES_NOT_EXIST."""
    db = ctx.accounts.db
    role = await db.read_point(roles.get, role_id_of(req.role_id))
    return await listing.answer(AssignmentList, listing.assignments_of_role(db, role.id))
