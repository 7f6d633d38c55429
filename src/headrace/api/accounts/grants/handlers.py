"""Handlers of the routes of users' grants."""

from __future__ import annotations

from typing import Final

from headrace.api.accounts import listing
from headrace.api.accounts.fields import resource_id, text
from headrace.api.accounts.grants.types import (
    EffectivePermission,
    Grant,
    GrantKey,
    HeldPermissions,
)
from headrace.api.accounts.users.types import Nothing, Username
from headrace.api.accounts.visible import visible_to
from headrace.api.context import Context
from headrace.api.results import Chunks, Line
from headrace.auth import effective, grants, users
from headrace.auth.authority import Denied
from headrace.auth.decide import Level
from headrace.auth.present_sql import present
from headrace.contract.scalars import Empty

EMPTY: Final = Line(Empty())


async def list_own(req: Nothing, ctx: Context) -> Line[HeldPermissions] | Chunks:
    """GET /3.0/mlflow/users/current/permissions: the permissions of the caller's roles."""
    assert ctx.access.username is not None, "a route of users"
    return await _list(ctx, ctx.access.username)


async def list_of_user(req: Username, ctx: Context) -> Line[HeldPermissions] | Chunks:
    """GET /3.0/mlflow/users/permissions/list: those of a user's roles that the caller may see.

    Errors: RESOURCE_DOES_NOT_EXIST.
    """
    return await _list(ctx, text(req.username, "username"))


async def _list(ctx: Context, username: str) -> Line[HeldPermissions] | Chunks:
    db = ctx.accounts.db
    user = await db.read_point(users.get, username)
    visible = await visible_to(ctx)
    return await listing.answer(HeldPermissions, listing.held_permissions(db, user, visible))


async def grant(req: Grant, ctx: Context) -> Line[Empty]:
    """POST /3.0/mlflow/users/permissions/grant: grant a level on a resource, or on a type (`*`).

    The resource need not exist. Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (user),
    RESOURCE_ALREADY_EXISTS.
    """
    username = text(req.username, "username")
    resource_type = text(req.resource_type, "resource_type")
    id_ = resource_id(req.resource_id, "resource_id", resource_type)
    level = text(req.permission, "permission")
    await _check_in_workspace(ctx, resource_type, id_)
    await ctx.accounts.db.read_point(users.get, username)
    place = ctx.access.workspace
    await ctx.accounts.db.write(grants.grant, username, resource_type, id_, level, place)
    _changed(ctx, "grant.add", target=username, type=resource_type, id=id_, level=level)
    return EMPTY


async def revoke(req: GrantKey, ctx: Context) -> Line[Empty]:
    """POST /3.0/mlflow/users/permissions/revoke: delete one of a user's own grants.

    Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (user or grant).
    """
    username = text(req.username, "username")
    resource_type = text(req.resource_type, "resource_type")
    id_ = resource_id(req.resource_id, "resource_id", resource_type)
    await _check_in_workspace(ctx, resource_type, id_)
    await ctx.accounts.db.read_point(users.get, username)
    await ctx.accounts.db.write(grants.revoke, username, resource_type, id_, ctx.access.workspace)
    _changed(ctx, "grant.remove", target=username, type=resource_type, id=id_)
    return EMPTY


async def get(req: GrantKey, ctx: Context) -> Line[EffectivePermission]:
    """GET /3.0/mlflow/users/permissions/get: a user's level on a resource, or on a type (`*`).

    Whether the user is an admin does not count. Errors: INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST (user).
    """
    db, username = ctx.accounts.db, text(req.username, "username")
    resource_type = text(req.resource_type, "resource_type")
    id_ = resource_id(req.resource_id, "resource_id", resource_type)
    user = await db.read_point(users.get, username)
    effective.check_type(resource_type)
    is_others = not ctx.access.is_admin and username != ctx.access.username
    # An admin of a workspace may ask about what exists in it.
    if is_others and id_ != "*" and not await _exists(ctx, resource_type, id_):
        raise Denied
    if id_ != "*":
        effective.check_id(resource_type, id_)
    access = ctx.access
    if id_ != "*" and ctx.settings.enable_workspaces and not await _exists(ctx, resource_type, id_):
        level = Level.NO_PERMISSIONS
    else:
        level = await db.read_point(
            effective.level, user.id, access.workspace, resource_type, id_, access.defaults
        )
    return Line(EffectivePermission(allowed=level >= Level.USE, permission=level.name))


def _changed(ctx: Context, action: str, **objects: str) -> None:
    """See `Context.changed`; names the workspace, too, if the server has several."""
    if ctx.workspace_or_none is not None:
        objects["workspace"] = ctx.workspace
    ctx.changed(action, **objects)


async def _check_in_workspace(ctx: Context, resource_type: str, id_: str) -> None:
    """Raise `Denied` for a resource that is not in the workspace of the request, unless for admins.

    Without workspaces a grant may name a resource that does not exist yet.
    """
    if id_ == "*" or ctx.access.is_admin or not ctx.settings.enable_workspaces:
        return
    if not await _exists(ctx, resource_type, id_):
        raise Denied


async def _exists(ctx: Context, resource_type: str, id_: str) -> bool:
    return bool(await ctx.db.read_point(present, resource_type, [id_]))
