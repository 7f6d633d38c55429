"""Roles, their permissions and their assignments to users: rows, and the transactions that change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth import grantable, sql, users
from headrace.contract.errors import ApiError, ErrorCode, not_found
from headrace.db.errors import UniqueViolation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Tx

MAX_NAME: Final = 255  # characters, as the following limits: the lengths of the columns
MAX_DESCRIPTION: Final = 1024
MAX_WORKSPACES: Final = 10_000  # of one user that are read


class Role(NamedTuple):
    """A row of `roles`."""

    id: int
    name: str
    workspace: str
    description: str | None


class Permission(NamedTuple):
    """A row of `role_permissions`: a grant to everyone with the role."""

    id: int
    role_id: int
    resource_type: str
    resource_pattern: str  # an id, or `*`
    permission: str


class Assignment(NamedTuple):
    """A row of `user_role_assignments`."""

    id: int
    user_id: int
    role_id: int


class Held(NamedTuple):
    """A role of a user, with its assignment."""

    user_id: int
    assignment_id: int
    role: Role


def no_role(role_id: int) -> ApiError:
    """No role has this id."""
    return not_found(f"Role with id={role_id} not found")


def _exists(message: str) -> ApiError:
    return ApiError(ErrorCode.RESOURCE_ALREADY_EXISTS, message)


async def find(tx: Tx, role_id: int) -> Role | None:
    """The role with this id."""
    row = await tx.fetchrow(sql.ROLE, role_id)
    return None if row is None else Role(*row)


async def get(tx: Tx, role_id: int) -> Role:
    """As `find`. Raises RESOURCE_DOES_NOT_EXIST."""
    found = await find(tx, role_id)
    if found is None:
        raise no_role(role_id)
    return found


async def by_name(tx: Tx, workspace: str, name: str) -> Role | None:
    """The role with this name."""
    row = await tx.fetchrow(sql.ROLE_BY_NAME, workspace, name)
    return None if row is None else Role(*row)


async def page(tx: Tx, workspaces: Sequence[str] | None, after_id: int, limit: int) -> list[Role]:
    """The next roles of these workspaces (None: of all) in the order of their ids."""
    if workspaces is None:
        rows = await tx.fetch(sql.ROLES, after_id, limit)
    else:
        rows = await tx.fetch(sql.ROLES_IN, tx.array(workspaces), after_id, limit)
    return [Role(*row) for row in rows]


async def held(tx: Tx, user_ids: Sequence[int], after: tuple[int, int], limit: int) -> list[Held]:
    """The next roles of these users, in the order of (user id, assignment id); (0, 0) begins."""
    rows = await tx.fetch(sql.ROLES_OF, tx.array(user_ids), *after, limit)
    return [Held(row[0], row[1], Role(row[2], row[3], row[4], row[5])) for row in rows]


async def permissions(
    tx: Tx, role_ids: Sequence[int], after: tuple[int, int], limit: int
) -> list[Permission]:
    """The next permissions of these roles, in the order of (role id, permission id); (0, 0) begins."""
    rows = await tx.fetch(sql.PERMISSIONS_OF, tx.array(role_ids), *after, limit)
    return [Permission(*row) for row in rows]


async def assignments(tx: Tx, role_id: int, after_id: int, limit: int) -> list[Assignment]:
    """The next assignments of a role, in the order of their ids."""
    return [
        Assignment(*row) for row in await tx.fetch(sql.ASSIGNMENTS_OF, role_id, after_id, limit)
    ]


async def administered(tx: Tx, user_id: int) -> set[str]:
    """The workspaces of which the user is an admin; MAX_WORKSPACES at most."""
    return {row[0] for row in await tx.fetch(sql.ADMINISTERED, user_id, MAX_WORKSPACES)}


async def present(tx: Tx, user_id: int) -> set[str]:
    """The workspaces in which the user has a role; MAX_WORKSPACES at most."""
    return {row[0] for row in await tx.fetch(sql.PRESENT, user_id, MAX_WORKSPACES)}


async def create(tx: Tx, name: str, workspace: str, description: str | None) -> Role:
    """Add a role. Raises INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS."""
    grantable.check_role_name(name)
    row = await tx.fetchrow(sql.NEW_ROLE, name, workspace, description)
    if row is None:
        raise _exists(f"Role (name={name}, workspace={workspace}) already exists.")
    tx.wrote(1)
    return Role(*row)


async def update(tx: Tx, role_id: int, name: str | None, description: str | None) -> Role:
    """Change the name or the description of a role; None leaves it as it is.

    Raises INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, RESOURCE_ALREADY_EXISTS.
    """
    if name is not None:
        grantable.check_role_name(name)
    row = await tx.fetchrow(sql.CHANGE_ROLE, role_id)
    if row is None:
        raise no_role(role_id)
    old = Role(*row)
    new_name = old.name if name is None else name
    new_description = old.description if description is None else description
    try:
        row = await tx.fetchrow(sql.UPDATE_ROLE, role_id, new_name, new_description)
    except UniqueViolation as error:
        raise _exists(
            f"Role with name={name} already exists in workspace={old.workspace}"
        ) from error
    assert row is not None, "the row is locked"
    tx.wrote(1)
    return Role(*row)


async def delete(tx: Tx, role_id: int) -> Role:
    """Delete a role with its permissions and assignments. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await tx.fetchrow(sql.LOCK_ROLE, role_id)
    if row is None:
        raise no_role(role_id)
    for statement in sql.EMPTY_ROLES:
        await tx.execute(statement, tx.array([role_id]))
    return Role(*row)


async def find_permission(tx: Tx, permission_id: int) -> Permission | None:
    """The permission with this id."""
    row = await tx.fetchrow(sql.PERMISSION, permission_id)
    return None if row is None else Permission(*row)


async def permission(tx: Tx, permission_id: int) -> Permission:
    """As `find_permission`. Raises RESOURCE_DOES_NOT_EXIST."""
    found = await find_permission(tx, permission_id)
    if found is None:
        raise no_permission(permission_id)
    return found


async def add_permission(
    tx: Tx, role_id: int, resource_type: str, resource_pattern: str, level: str
) -> Permission:
    """Grant `level` to a role. Raises INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, RESOURCE_ALREADY_EXISTS."""
    grantable.check_grant(level, resource_type)
    grantable.check_pattern(resource_pattern, resource_type)
    if await tx.fetchrow(sql.HOLD_ROLE, role_id) is None:
        raise no_role(role_id)
    row = await tx.fetchrow(sql.NEW_PERMISSION, role_id, resource_type, resource_pattern, level)
    if row is None:
        raise _exists(
            f"Role permission (role_id={role_id}, resource_type={resource_type}, "
            f"resource_pattern={resource_pattern}) already exists."
        )
    tx.wrote(1)
    return Permission(*row)


async def update_permission(tx: Tx, permission_id: int, level: str) -> Permission:
    """Replace the level of a permission. Raises RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE."""
    row = await tx.fetchrow(sql.CHANGE_PERMISSION, permission_id)
    if row is None:
        raise no_permission(permission_id)
    grantable.check_grant(level, row[2])
    row = await tx.fetchrow(sql.SET_PERMISSION, permission_id, level)
    assert row is not None, "the row is locked"
    tx.wrote(1)
    return Permission(*row)


async def remove_permission(tx: Tx, permission_id: int) -> None:
    """Delete a permission. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await tx.execute(sql.DELETE_PERMISSION, permission_id):
        raise no_permission(permission_id)


async def assign(tx: Tx, username: str, role_id: int) -> Assignment:
    """Give a role to a user. Raises RESOURCE_DOES_NOT_EXIST, RESOURCE_ALREADY_EXISTS."""
    user = await tx.fetchrow(sql.HOLD_USER_BY_NAME, username)
    if user is None:
        raise users.no_user(username)
    if await tx.fetchrow(sql.HOLD_ROLE, role_id) is None:
        raise no_role(role_id)
    row = await tx.fetchrow(sql.ASSIGN, user[0], role_id)
    if row is None:
        raise _exists(f"User role assignment (user_id={user[0]}, role_id={role_id}) already exists")
    tx.wrote(1)
    return Assignment(*row)


async def unassign(tx: Tx, username: str, role_id: int) -> None:
    """Take a role from a user. Raises RESOURCE_DOES_NOT_EXIST."""
    user = await users.get(tx, username)
    if not await tx.execute(sql.UNASSIGN, user.id, role_id):
        raise not_found(f"User role assignment (user_id={user.id}, role_id={role_id}) not found")


def no_permission(permission_id: int) -> ApiError:
    """No permission has this id."""
    return not_found(f"Role permission with id={permission_id} not found")
