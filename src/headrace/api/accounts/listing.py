"""Lists of users, roles and permissions, read and encoded in pages.

A user may have tens of thousands of grants, and a server tens of thousands of users, so an answer
is sent in parts if it is long. Each page is a separate short read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from headrace.api.accounts.grants.types import HeldPermission
from headrace.api.accounts.roles.types import Assignment, RolePermission
from headrace.api.results import Chunks, Line, encode
from headrace.auth import roles, users
from headrace.auth.roles import Held, Permission, Role
from headrace.auth.users import User
from headrace.db.base import Database

T = TypeVar("T", bound=msgspec.Struct)
USERS: Final = 100  # of a page; with their roles
ROLES: Final = 500
PERMISSIONS: Final = 1000
ASSIGNMENTS: Final = 2000
PART_BYTES: Final = 64 << 10
AT_ONCE_BYTES: Final = 256 << 10  # an answer up to this size is sent with its length

Parts = AsyncGenerator[bytes, None]
Visible = Callable[[Held], bool]


class Piece(NamedTuple):
    """Some permissions of the role at `position` of a list; `is_last`: its last ones."""

    position: int
    permissions: list[Permission]
    is_last: bool


async def answer(kind: type[T], parts: Parts) -> Line[T] | Chunks:
    """Return an answer of this type: in parts if it is long. Its last character is a newline."""
    begin = bytearray()
    async for part in parts:
        begin += part
        if len(begin) > AT_ONCE_BYTES:
            return Chunks(_rest(begin, parts))
    return Line.of(kind, bytes(begin))


async def _rest(begin: bytearray, parts: Parts) -> Parts:
    pending = begin
    async with aclosing(parts) as rest:
        async for part in rest:
            if len(pending) > PART_BYTES:
                yield bytes(pending)
                pending = bytearray()
            pending += part
    yield bytes(pending) + b"\n"


def role_permission(row: Permission) -> RolePermission:
    """Return a permission as the routes of roles show it."""
    return RolePermission(
        id=row.id,
        permission=row.permission,
        resource_pattern=row.resource_pattern,
        resource_type=row.resource_type,
        role_id=row.role_id,
    )


async def users_with_roles(db: Database, visible: Visible) -> Parts:
    """Yield the JSON of all users, with their visible roles."""
    yield b'{"users":['
    after, comma = 0, b""
    while found := await db.read(users.page, after, USERS):
        async with aclosing(_some_users(db, found, visible)) as parts:
            async for part in parts:
                yield comma + part
                comma = b""
        after, comma = found[-1].id, b","
        if len(found) < USERS:
            break
    yield b"]}"


async def _some_users(db: Database, found: Sequence[User], visible: Visible) -> Parts:
    """Yield the JSON of users, without the brackets of their list."""
    remaining = iter(found)
    user = next(remaining)
    yield _beginning(user)
    ids = [one.id for one in found]
    comma, position = b"", -1
    async with aclosing(held_roles(db, ids, visible)) as pages:
        async for page in pages:
            position = -1
            async with aclosing(roles_in_parts(db, [held.role for held in page])) as parts:
                async for n, part in parts:
                    while user.id != page[n].user_id:
                        yield _end(user)
                        user, comma = next(remaining), b""
                        yield b"," + _beginning(user)
                    yield comma + part if n != position else part
                    comma, position = b",", n
    yield _end(user)
    for user in remaining:
        yield b"," + _beginning(user) + _end(user)


def _beginning(user: User) -> bytes:
    return b'{"id":%d,"is_admin":%b,"roles":[' % (user.id, encode(user.is_admin))


def _end(user: User) -> bytes:
    return b'],"username":%b}' % encode(user.username)


async def held_roles(
    db: Database, user_ids: Sequence[int], visible: Visible
) -> AsyncGenerator[list[Held], None]:
    """Yield the visible roles of users, in the order of users and assignments."""
    after = (0, 0)
    while True:
        found = await db.read(roles.held, user_ids, after, ROLES)
        yield [held for held in found if visible(held)]
        if len(found) < ROLES:
            return
        after = (found[-1].user_id, found[-1].assignment_id)


async def roles_in_parts(
    db: Database, some: Sequence[Role]
) -> AsyncGenerator[tuple[int, bytes], None]:
    """Yield the JSON of roles in parts, each with the position of its role."""
    begun = -1
    async with aclosing(permissions_of(db, some)) as pieces:
        async for position, permissions, is_last in pieces:
            role = some[position]
            part = encode(list(map(role_permission, permissions)))[1:-1]
            if begun != position:
                begun = position
                part = b'{"description":%b,"id":%d,"name":%b,"permissions":[%b' % (
                    encode(role.description),
                    role.id,
                    encode(role.name),
                    part,
                )
            elif part:
                part = b"," + part
            if is_last:
                part += b'],"workspace":%b}' % encode(role.workspace)
            yield position, part


async def permissions_of(db: Database, some: Sequence[Role]) -> AsyncGenerator[Piece, None]:
    """Yield the permissions of roles in order; at least one piece for each role."""
    # Parts of the list with their first positions, the next one last.
    waiting: list[tuple[int, Sequence[Role]]] = [(0, some)] if some else []
    while waiting:
        first, part = waiting.pop()
        ids = sorted({role.id for role in part})
        found = await db.read(roles.permissions, ids, (0, 0), PERMISSIONS)
        if len(found) < PERMISSIONS:
            for piece in _whole(first, part, found):
                yield piece
        elif len(part) > 1:
            middle = len(part) // 2
            waiting += [(first + middle, part[middle:]), (first, part[:middle])]
        else:
            while len(found) == PERMISSIONS:
                yield Piece(first, found, False)
                after = (part[0].id, found[-1].id)
                found = await db.read(roles.permissions, ids, after, PERMISSIONS)
            yield Piece(first, found, True)


def _whole(first: int, part: Sequence[Role], found: Iterable[Permission]) -> Iterable[Piece]:
    of_role: dict[int, list[Permission]] = {}
    for permission in found:
        of_role.setdefault(permission.role_id, []).append(permission)
    for n, role in enumerate(part, first):
        yield Piece(n, of_role.get(role.id, []), True)


async def one_role(db: Database, role: Role) -> Parts:
    """Yield the JSON of the answer with one role."""
    yield b'{"role":'
    async with aclosing(roles_in_parts(db, [role])) as parts:
        async for _, part in parts:
            yield part
    yield b"}"


async def list_of_roles(pages: AsyncGenerator[list[Role], None], db: Database) -> Parts:
    """Yield the JSON of the roles in `pages`."""
    yield b'{"roles":['
    comma = b""
    async with aclosing(pages):
        async for page in pages:
            position = -1
            async with aclosing(roles_in_parts(db, page)) as parts:
                async for n, part in parts:
                    yield comma + part if n != position else part
                    comma, position = b",", n
    yield b"]}"


async def roles_of_workspaces(
    db: Database, workspaces: Sequence[str] | None
) -> AsyncGenerator[list[Role], None]:
    """Yield the roles of these workspaces (None: of all) in pages."""
    after = 0
    while True:
        found = await db.read(roles.page, workspaces, after, ROLES)
        yield found
        if len(found) < ROLES:
            return
        after = found[-1].id


async def roles_of_user(
    db: Database, user_id: int, visible: Visible
) -> AsyncGenerator[list[Role], None]:
    """Yield the visible roles of a user in pages."""
    async with aclosing(held_roles(db, [user_id], visible)) as pages:
        async for page in pages:
            yield [held.role for held in page]


async def held_permissions(db: Database, user: User, visible: Visible) -> Parts:
    """Yield the JSON of the permissions of a user's visible roles."""
    yield b'{"is_admin":%b,"permissions":[' % encode(user.is_admin)
    comma = b""
    async with aclosing(roles_of_user(db, user.id, visible)) as pages:
        async for page in pages:
            async with aclosing(permissions_of(db, page)) as pieces:
                async for position, permissions, _ in pieces:
                    part = _encoded(_held(page[position], one) for one in permissions)
                    if part:
                        yield comma + part
                        comma = b","
    yield b"]}"


def _held(role: Role, row: Permission) -> HeldPermission:
    return HeldPermission(
        permission=row.permission,
        resource_pattern=row.resource_pattern,
        resource_type=row.resource_type,
        role_id=role.id,
        role_name=role.name,
        workspace=role.workspace,
    )


async def permissions_of_role(db: Database, role: Role) -> Parts:
    """Yield the JSON of the permissions of a role."""
    yield b'{"role_permissions":['
    comma = b""
    async with aclosing(permissions_of(db, [role])) as pieces:
        async for _, permissions, _ in pieces:
            part = _encoded(map(role_permission, permissions))
            if part:
                yield comma + part
                comma = b","
    yield b"]}"


async def assignments_of_role(db: Database, role_id: int) -> Parts:
    """Yield the JSON of the assignments of a role."""
    yield b'{"assignments":['
    after, comma = 0, b""
    while found := await db.read(roles.assignments, role_id, after, ASSIGNMENTS):
        part = _encoded(Assignment(id=a.id, role_id=a.role_id, user_id=a.user_id) for a in found)
        yield comma + part
        after, comma = found[-1].id, b","
        if len(found) < ASSIGNMENTS:
            break
    yield b"]}"


def _encoded(items: Iterable[Any]) -> bytes:
    """The JSON of a list without its brackets."""
    return encode(list(items))[1:-1]
