"""The users' own grants: permissions of the synthetic role that each user has per workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.auth import grantable, sql, users
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found
from headrace.contract.workspaces import DEFAULT
from headrace.db.errors import Retryable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.auth.users import User
    from headrace.db.base import Tx

MOST_SHOWN: Final = 100  # grants in one message


async def give(
    tx: Tx,
    user_id: int,
    resource_type: str,
    resource_pattern: str,
    level: str,
    workspace: str = DEFAULT,
) -> bool:
    """Grant `level` to a user, replacing the user's own grant on the resource.

    False: the user does not exist any more. Raises INVALID_PARAMETER_VALUE.
    """
    if await tx.fetchrow(sql.HOLD_USER, user_id) is None:
        return False
    role_id = await _synthetic_role(tx, user_id, workspace)
    on = (role_id, resource_type, resource_pattern)
    if await tx.execute(sql.REPLACE_PERMISSION, *on, level):
        return True
    if await tx.fetchrow(sql.NEW_PERMISSION, *on, level) is None:
        # Another transaction has just inserted it.
        await tx.execute(sql.REPLACE_PERMISSION, *on, level)
    else:
        tx.wrote(1)
    return True


async def grant(
    tx: Tx,
    username: str,
    resource_type: str,
    resource_pattern: str,
    level: str,
    workspace: str = DEFAULT,
) -> None:
    """Add a grant to a user's own ones.

    Raises INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (no such user), RESOURCE_ALREADY_EXISTS.
    """
    check_not_workspace(resource_type)
    grantable.check_pattern(resource_pattern, resource_type)
    grantable.check_grant(level, resource_type)
    row = await tx.fetchrow(sql.HOLD_USER_BY_NAME, username)
    if row is None:
        raise users.no_user(username)
    role_id = await _synthetic_role(tx, row[0], workspace)
    made = await tx.fetchrow(sql.NEW_PERMISSION, role_id, resource_type, resource_pattern, level)
    if made is None:
        raise ApiError(
            ErrorCode.RESOURCE_ALREADY_EXISTS,
            f"{_grant_of(username, resource_type, resource_pattern)} already exists.",
        )
    tx.wrote(1)


async def revoke(
    tx: Tx,
    username: str,
    resource_type: str,
    resource_pattern: str,
    workspace: str = DEFAULT,
) -> None:
    """Delete one of a user's own grants.

    Raises INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (no such user or grant).
    """
    check_not_workspace(resource_type)
    grantable.check_type(resource_type)
    found = await users.get(tx, username)
    role_id = await own_role_id(tx, found, workspace)
    if role_id is None or not await tx.execute(
        sql.DELETE_PERMISSION_ON, role_id, resource_type, resource_pattern
    ):
        raise not_found(f"{_grant_of(username, resource_type, resource_pattern)} not found.")


async def own_role_id(tx: Tx, user: User, workspace: str = DEFAULT) -> int | None:
    """The id of the user's synthetic role in a workspace, if it exists."""
    row = await tx.fetchrow(sql.ROLE_BY_NAME, workspace, users.synthetic_role_name(user.id))
    return None if row is None else row[0]


async def sweep(
    tx: Tx, resource_types: Sequence[str], id_: str, workspace: str | None = DEFAULT
) -> None:
    """Delete all users' own grants on a resource (workspace None: in all workspaces).

    Roles that an admin made keep theirs.
    """
    for resource_type in resource_types:
        await tx.execute(sql.DELETE_GRANTS, resource_type, id_, workspace)


async def rename(
    tx: Tx,
    resource_types: Sequence[str],
    old: str,
    new: str,
    workspace: str | None = DEFAULT,
) -> None:
    """Move all users' own grants on a resource to its new id. `obstacle` comes first.

    A grant on the new id that a user has received since that check stays.
    """
    for resource_type in resource_types:
        await tx.execute(sql.DELETE_REPLACED, resource_type, old, workspace, new)
        await tx.execute(sql.RENAME_GRANTS, resource_type, old, workspace, new)


async def obstacle(
    tx: Tx, resource_types: Sequence[str], old: str, new: str, workspace: str, in_detail: bool
) -> ApiError | None:
    """The error of a rename whose names have grants that it cannot move, else None.

    These are grants of roles on either name, and users' own grants on the new one. They would not
    apply any more, or to another resource. `in_detail`: the message names those who have them.
    """
    types = tx.array(resource_types)
    rows = await tx.fetch(sql.IN_THE_WAY, types, old, new, workspace, MOST_SHOWN)
    if not rows:
        return None
    is_own = bool(rows[0][0])  # those of roles come first
    kind = "user" if is_own else "role"
    listed = ", ".join(
        f"{kind} {name!r} has {level} on {resource_type} {pattern!r}"
        for own, name, resource_type, pattern, level in rows
        if bool(own) is is_own
    )
    details = f" ({listed})" if in_detail else ""
    if is_own:
        return invalid(
            f"Cannot rename '{old}' to '{new}' because users already have permissions on "
            f"'{new}'{details}. They would start applying to the renamed model or prompt. An admin "
            "must remove these permissions before the rename."
        )
    return invalid(
        f"Cannot rename '{old}' to '{new}' because role grants reference these names by exact "
        f"name{details}. Renaming would change which model or prompt those grants apply to. An "
        "admin must update or remove these role grants before the rename."
    )


async def forget_experiment(tx: Tx, id_: str) -> None:
    """Delete all grants on an experiment and its scorers, also those of roles."""
    await tx.execute(sql.DELETE_ON_EXPERIMENT, id_)
    await tx.execute(sql.DELETE_ON_SCORERS, f"{id_}/%")


async def _synthetic_role(tx: Tx, user_id: int, workspace: str) -> int:
    """The id of the user's synthetic role, which is made and assigned if necessary.

    The caller holds a lock on the user.
    """
    name = users.synthetic_role_name(user_id)
    found = await tx.fetchrow(sql.SYNTHETIC_ROLE, workspace, name, user_id)
    if found is None:
        row = await tx.fetchrow(sql.NEW_ROLE, name, workspace, None)
        if row is not None:
            tx.wrote(1)
        # Otherwise another transaction has just made the role.
        found = await tx.fetchrow(sql.SYNTHETIC_ROLE, workspace, name, user_id)
        if found is None:
            raise Retryable("the role was deleted while it was made")
    role_id: int = found[0]
    if found[2] is not None:
        raise invalid(
            f"Role {name!r} in workspace {workspace!r} collides with the reserved '__user_<id>__' "
            f"synthetic namespace but is already assigned to user_id={found[2]}. Rename or delete "
            "the conflicting role before granting per-user permissions."
        )
    if found[1] is None and await tx.fetchrow(sql.ASSIGN, user_id, role_id) is not None:
        tx.wrote(1)
    return role_id


def check_not_workspace(resource_type: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for the type whose grants only roles have."""
    if resource_type == "workspace":
        raise invalid(
            "resource_type 'workspace' is not supported by the per-user permission convenience "
            "APIs. Use set_workspace_permission / delete_workspace_permission for workspace-wide "
            "grants."
        )


def _grant_of(username: str, resource_type: str, resource_pattern: str) -> str:
    return (
        f"Permission for user={username} on resource_type={resource_type}, "
        f"resource_id={resource_pattern}"
    )
