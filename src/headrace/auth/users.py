"""Users: their rows, and the transactions that change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.auth import sql
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Row, Tx

MIN_PASSWORD: Final = 12  # characters
MAX_USERNAME: Final = 255  # characters, the length of the column
NEVER: Final = "!"  # a password hash that no password matches


class User(NamedTuple):
    """A row of `users`. Its text does not show the hash."""

    id: int
    username: str
    is_admin: bool
    password_hash: str  # empty if the column is NULL: no password matches

    def __repr__(self) -> str:
        return f"User(id={self.id}, username={self.username!r}, is_admin={self.is_admin})"


def user(row: Row) -> User:
    """The user of a row: id, username, is_admin, password_hash."""
    return User(row[0], row[1], bool(row[2]), row[3])


def no_user(username: str) -> ApiError:
    """No user has this name."""
    return not_found(f"User with username={username} not found")


def check_name(username: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a name that is empty or too long for the column."""
    if not username:
        raise invalid("Username cannot be empty.")
    if len(username) > MAX_USERNAME:
        raise invalid(f"Username must be at most {MAX_USERNAME} characters.")


def check_password(password: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for a password that is too short, or contains NUL.

    The hash of a password is also that of the password with NUL appended, so the length means nothing.
    """
    if len(password) < MIN_PASSWORD:
        raise invalid(f"Password must be at least {MIN_PASSWORD} characters.")
    if "\0" in password:
        raise invalid("Password must not contain the character NUL.")


async def find(tx: Tx, username: str) -> User | None:
    """The user with this name, which is case-sensitive."""
    row = await tx.fetchrow(sql.USER, username)
    return None if row is None else user(row)


async def get(tx: Tx, username: str) -> User:
    """As `find`. Raises RESOURCE_DOES_NOT_EXIST."""
    found = await find(tx, username)
    if found is None:
        raise no_user(username)
    return found


async def by_id(tx: Tx, user_id: int) -> User | None:
    """The user with this id."""
    row = await tx.fetchrow(sql.USER_BY_ID, user_id)
    return None if row is None else user(row)


async def page(tx: Tx, after_id: int, limit: int) -> list[User]:
    """The next users in the order of their ids; `after_id` 0 begins."""
    return [user(row) for row in await tx.fetch(sql.USERS, after_id, limit)]


async def create(tx: Tx, username: str, password_hash: str, is_admin: bool = False) -> User:
    """Add a user. Raises INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS.

    The caller checks the password (`check_password`) and hashes it.
    """
    check_name(username)
    row = await tx.fetchrow(sql.NEW_USER, username, password_hash, is_admin)
    if row is None:
        raise ApiError(
            ErrorCode.RESOURCE_ALREADY_EXISTS, f"User (username={username}) already exists."
        )
    tx.wrote(1)
    return user(row)


async def set_password_hash(tx: Tx, username: str, password_hash: str) -> User:
    """Replace the password. Raises RESOURCE_DOES_NOT_EXIST."""
    return await _changed(
        tx, await tx.fetchrow(sql.SET_PASSWORD, username, password_hash), username
    )


async def replace_password_hash(tx: Tx, username: str, checked: str, password_hash: str) -> bool:
    """Replace the password if the stored hash is still the one that was checked.

    Otherwise a password that an admin has set meanwhile would be lost.
    """
    return await tx.execute(sql.REPLACE_PASSWORD, username, checked, password_hash) > 0


async def set_admin(tx: Tx, username: str, is_admin: bool) -> User:
    """Make a user an admin, or no admin. Raises RESOURCE_DOES_NOT_EXIST."""
    return await _changed(tx, await tx.fetchrow(sql.SET_ADMIN, username, is_admin), username)


async def delete(tx: Tx, username: str, dead: Sequence[str]) -> User:
    """Delete a user with all grants and assignments. Raises RESOURCE_DOES_NOT_EXIST.

    `dead` are the old tables that exist (`AuthFacts.dead`). Their rows refer to the user.
    """
    row = await tx.fetchrow(sql.LOCK_USER, username)
    if row is None:
        raise no_user(username)
    gone = user(row)
    roles = [r[0] for r in await tx.fetch(sql.LOCK_NAMED_ROLES, synthetic_role_name(gone.id))]
    if roles:
        for statement in sql.EMPTY_ROLES:
            await tx.execute(statement, tx.array(roles))
    for table in dead:
        await tx.execute(sql.DELETE_DEAD[table], gone.id)
    await tx.execute(sql.UNASSIGN_USER, gone.id)
    await tx.execute(sql.DELETE_USER, gone.id)
    return gone


def synthetic_role_name(user_id: int) -> str:
    """The name of the role that holds the user's own grants."""
    return f"__user_{user_id}__"


async def _changed(tx: Tx, row: Row | None, username: str) -> User:
    if row is None:
        raise no_user(username)
    tx.wrote(1)
    return user(row)
