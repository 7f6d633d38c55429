"""External users and their roles in the database: made once, and changed as their groups say."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from headrace.auth import roles, users
from headrace.auth.audit import Audit
from headrace.auth.authority import Unauthenticated
from headrace.auth.external import RECHECK_S, ExternalUsers
from headrace.auth.groups import Groups, parse_roles
from headrace.auth.open import open_accounts
from headrace.auth.origins import Origins
from headrace.db.open import open_database
from headrace.http.messages import Request
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.auth.users import User
    from headrace.db.base import Database

HEAD = Request("GET", "/x", "", {}, client="10.0.0.5")


class Clock:
    """A time that the test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Population:
    """A database of users with roles, and external logins."""

    def __init__(self, db: Database, groups: Groups) -> None:
        self.db = db
        self.clock = Clock()
        self.external = self.server(groups)

    def server(self, groups: Groups) -> ExternalUsers:
        """The external users of another process."""
        external = ExternalUsers(groups, Audit(Origins()), self.clock)
        external.start(self.db)
        return external

    async def arrive(self, name: str, *groups: str) -> None:
        await self.external.arrive(HEAD, name, groups)

    async def user(self, name: str) -> User:
        return await self.db.read(users.get, name)

    async def roles_of(self, name: str) -> list[str]:
        user = await self.user(name)
        held = await self.db.read(roles.held, [user.id], (0, 0), 1000)
        return sorted(f"{row.role.workspace}/{row.role.name}" for row in held)

    async def add_roles(self, *names: str) -> dict[str, int]:
        """Roles `workspace/name`; their ids."""
        ids = {}
        for name in names:
            workspace, _, role = name.partition("/")
            made = await self.db.write(roles.create, role, workspace, None)
            ids[name] = made.id
        return ids


@asynccontextmanager
async def population(uri: str, groups: Groups) -> AsyncIterator[Population]:
    settings = Settings(backend_store_uri=uri, auth=AuthSettings("READ", uri))
    db = await open_database(settings)
    try:
        accounts = await open_accounts(settings, db)
        yield Population(accounts.db, groups)
    finally:
        await db.close()


async def test_a_user_is_made_on_first_sight_and_only_once(uri: str) -> None:
    async with population(uri, Groups()) as people:
        servers = [people.server(Groups()) for _ in range(8)]
        await asyncio.gather(*(s.arrive(HEAD, "ann ä", None) for s in servers for _ in range(3)))
        user = await people.user("ann ä")
        assert not user.is_admin
        assert user.password_hash.startswith("!")
        everyone = await people.db.read(users.page, 0, 100)
        assert [u.username for u in everyone].count("ann ä") == 1


async def test_an_existing_user_keeps_password_and_flag(uri: str) -> None:
    async with population(uri, Groups()) as people:
        await people.db.write(users.create, "root", "a hash", True)
        await people.external.arrive(HEAD, "root", None)
        assert (await people.user("root"))[2:] == (True, "a hash")


async def test_groups_give_and_take_roles_of_the_same_name(uri: str) -> None:
    async with population(uri, Groups()) as people:
        await people.add_roles("default/a", "default/b", "default/c", "w/a")
        await people.arrive("ann", "a", "b", "unknown")
        assert await people.roles_of("ann") == ["default/a", "default/b"]
        await people.arrive("ann", "b", "c")
        assert await people.roles_of("ann") == ["default/b", "default/c"]
        await people.arrive("ann")
        assert await people.roles_of("ann") == []


async def test_other_assignments_are_left_alone(uri: str) -> None:
    groups = Groups(parse_roles("g=a,h=w/b"))
    async with population(uri, groups) as people:
        ids = await people.add_roles("default/a", "default/b", "w/a", "w/b", "default/by hand")
        await people.arrive("ann", "g", "h")
        assert await people.roles_of("ann") == ["default/a", "w/b"]
        for name in ("default/by hand", "w/a"):
            await people.db.write(roles.assign, "ann", ids[name])
        await people.arrive("ann", "h")
        assert await people.roles_of("ann") == ["default/by hand", "w/a", "w/b"]
        await people.arrive("ann")
        assert await people.roles_of("ann") == ["default/by hand", "w/a"]


async def test_the_own_grants_of_a_user_stay(uri: str) -> None:
    async with population(uri, Groups()) as people:
        await people.arrive("ann")
        user = await people.user("ann")
        role = f"__user_{user.id}__"
        made = await people.db.write(make_synthetic, role)
        await people.db.write(roles.assign, "ann", made)
        await people.arrive("ann", "x")
        assert await people.roles_of("ann") == [f"default/{role}"]


async def make_synthetic(tx: Any, name: str) -> int:
    from headrace.auth.sql import NEW_ROLE

    row = await tx.fetchrow(NEW_ROLE, name, "default", None)
    return int(row[0])


async def test_admin_groups_set_the_flag(uri: str) -> None:
    async with population(uri, Groups(admins=["it"])) as people:
        await people.arrive("ann", "it")
        assert (await people.user("ann")).is_admin
        await people.arrive("ann", "x")
        assert not (await people.user("ann")).is_admin


async def test_a_change_in_the_database_is_undone_after_a_while(uri: str) -> None:
    async with population(uri, Groups()) as people:
        ids = await people.add_roles("default/a")
        await people.arrive("ann", "a")
        await people.db.write(roles.unassign, "ann", ids["default/a"])
        await people.arrive("ann", "a")
        assert await people.roles_of("ann") == []
        people.clock.now_s += RECHECK_S
        await people.arrive("ann", "a")
        assert await people.roles_of("ann") == ["default/a"]


async def test_a_deleted_user_is_made_again(uri: str) -> None:
    async with population(uri, Groups()) as people:
        caller = await people.external.arrive(HEAD, "ann", None)
        before = await people.user("ann")
        await caller.confirm(before)
        await people.db.write(users.delete, "ann", ())
        with pytest.raises(Unauthenticated):
            await caller.confirm(None)
        await people.external.arrive(HEAD, "ann", None)
        assert (await people.user("ann")).password_hash != before.password_hash


async def test_simultaneous_logins_with_other_groups_leave_one_of_both(uri: str) -> None:
    async with population(uri, Groups()) as people:
        await people.add_roles("default/a", "default/b")
        servers = [people.server(Groups()) for _ in range(6)]
        for _ in range(5):
            await asyncio.gather(
                *(s.arrive(HEAD, "ann", ("ab"[n % 2],)) for n, s in enumerate(servers))
            )
            assert await people.roles_of("ann") in (["default/a"], ["default/b"])
            people.clock.now_s += RECHECK_S
