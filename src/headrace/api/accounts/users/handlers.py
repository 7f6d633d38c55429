"""Handlers of the routes of users."""

from __future__ import annotations

from typing import Any, Final

from headrace.api.accounts import listing
from headrace.api.accounts.fields import given, storable, text
from headrace.api.accounts.users.types import (
    CreateUser,
    CurrentUser,
    Nothing,
    UpdateAdmin,
    UpdatePassword,
    User,
    UserAnswer,
    UserList,
    Username,
    UserRoleList,
)
from headrace.api.accounts.visible import visible_to
from headrace.api.context import Context
from headrace.api.results import Chunks, Line, TextRefusal
from headrace.auth import users
from headrace.auth.authority import Unauthenticated
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.names import invalid_value
from headrace.contract.scalars import Empty

EMPTY: Final = Line(Empty())


def shown(row: users.User) -> User:
    """A user without the password's hash."""
    return User(id=row.id, is_admin=row.is_admin, username=row.username)


def new_password(value: Any) -> str:
    """The password in a request. Raises INVALID_PARAMETER_VALUE: no text, too short."""
    if not isinstance(value, str):  # the message must not show the value
        raise invalid("Password must be a string.")
    users.check_password(value)
    return value


async def create(req: CreateUser, ctx: Context) -> Line[UserAnswer]:
    """POST /2.0/mlflow/users/create: add a user without any grant.

    Errors: a text instead of JSON for another Content-Type and for empty fields;
    INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS. Unlike stock's, the message for a name that is
    taken does not contain the statement with the new password's hash.
    """
    if not req.has_json:
        raise TextRefusal("Invalid content type. Must be application/json")
    username, password = given(req.username, "username"), given(req.password, "password")
    if not username or not password:
        raise TextRefusal("Username and password cannot be empty.")
    username = storable(username, "username")
    users.check_name(username)
    stored = await ctx.authority.passwords.hash(new_password(password))
    row = await ctx.accounts.db.write(users.create, username, stored)
    ctx.changed("user.create", target=username)
    return Line(UserAnswer(user=shown(row)))


async def get(req: Username, ctx: Context) -> Line[UserAnswer]:
    """GET /2.0/mlflow/users/get. Errors: RESOURCE_DOES_NOT_EXIST."""
    username = text(req.username, "username")
    return Line(UserAnswer(user=shown(await ctx.accounts.db.read_point(users.get, username))))


async def list_users(req: Nothing, ctx: Context) -> Line[UserList] | Chunks:
    """GET /2.0/mlflow/users/list: all users, in the order of their creation.

    With the roles that the caller may see: all for admins, their own for users, and for an admin of
    a workspace those in it. Long answers are sent in parts.
    """
    visible = await visible_to(ctx)
    return await listing.answer(UserList, listing.users_with_roles(ctx.accounts.db, visible))


async def current(req: Nothing, ctx: Context) -> Line[CurrentUser]:
    """GET /2.0/mlflow/users/current: the caller."""
    access, auth = ctx.access, ctx.settings.auth
    is_custom = auth is not None and auth.custom_function is not None
    assert access.user_id is not None, "a route of users"
    assert access.username is not None, "a route of users"
    user = User(id=access.user_id, is_admin=access.is_admin, username=access.username)
    return Line(CurrentUser(is_basic_auth=ctx.sent_password and not is_custom, user=user))


async def update_password(req: UpdatePassword, ctx: Context) -> Line[Empty]:
    """PATCH /2.0/mlflow/users/update-password

    A user's own password needs the current one, so that an open browser is not enough. The old
    password is invalid for every process when the answer is sent. A null leaves it as it is.
    """
    username, password = text(req.username, "username"), given(req.password, "password")
    checked = None
    if username == ctx.access.username:
        checked = await _check_current_password(ctx, username, req.current_password, password)
    if password is None:
        await ctx.accounts.db.read_point(users.get, username)
        return EMPTY
    await ctx.accounts.db.read_point(users.get, username)  # before the costly hash
    stored = await ctx.authority.passwords.hash(new_password(password))
    if checked is None:
        await ctx.accounts.db.write(users.set_password_hash, username, stored)
    elif not await ctx.accounts.db.write(users.replace_password_hash, username, checked, stored):
        raise _wrong_password()
    ctx.changed("user.password", target=username)
    return EMPTY


async def _check_current_password(ctx: Context, username: str, current: Any, new: Any) -> str:
    """Return the stored hash that the current password matches."""
    if not current:
        raise invalid("Current password is required when changing your own password.")
    row = await ctx.accounts.db.read_point(users.get, username)
    if not isinstance(current, str):
        raise _wrong_password()
    try:
        checked = await ctx.verify_password(current, row.password_hash)
    except Unauthenticated:
        raise _wrong_password() from None
    if new == current:
        raise invalid("New password must differ from the current password.")
    return checked


def _wrong_password() -> ApiError:
    return invalid("Current password does not match.")


async def update_admin(req: UpdateAdmin, ctx: Context) -> Line[Empty]:
    """PATCH /2.0/mlflow/users/update-admin. Errors: RESOURCE_DOES_NOT_EXIST.

    A null leaves the user as it is. As with stock, the last admin can be made an ordinary user.
    """
    username, is_admin = text(req.username, "username"), given(req.is_admin, "is_admin")
    if is_admin is None:
        await ctx.accounts.db.read_point(users.get, username)
        return EMPTY
    if is_admin not in (True, False):  # 0 and 1 too
        raise invalid(invalid_value("is_admin", is_admin, "Value must be true or false."))
    await ctx.accounts.db.write(users.set_admin, username, bool(is_admin))
    ctx.changed("user.admin", target=username, is_admin=bool(is_admin))
    return EMPTY


async def delete(req: Username, ctx: Context) -> Line[Empty]:
    """DELETE /2.0/mlflow/users/delete: delete a user with all grants and assignments.

    Errors: BAD_REQUEST for the caller's own account, RESOURCE_DOES_NOT_EXIST.
    """
    username = text(req.username, "username")
    if username == ctx.access.username:
        raise ApiError(
            ErrorCode.BAD_REQUEST,
            "Users cannot delete their own account. Ask another admin to delete this user instead.",
        )
    await ctx.accounts.db.write(users.delete, username, ctx.accounts.facts.dead)
    ctx.changed("user.delete", target=username)
    return EMPTY


async def list_roles(req: Username, ctx: Context) -> Line[UserRoleList] | Chunks:
    """GET /3.0/mlflow/users/roles/list: the roles of a user that the caller may see.

    Errors: RESOURCE_DOES_NOT_EXIST.
    """
    db, username = ctx.accounts.db, text(req.username, "username")
    user = await db.read_point(users.get, username)
    pages = listing.roles_of_user(db, user.id, await visible_to(ctx))
    return await listing.answer(UserRoleList, listing.list_of_roles(pages, db))
