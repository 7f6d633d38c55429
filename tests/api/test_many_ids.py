"""Requests with thousands of ids by users: every id is judged, and other requests run meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.fix_users import accounts_in

from headrace.auth import grants, users
from headrace.auth.authority import Denied
from headrace.auth.build import user_authority
from headrace.auth.guard import MAX_PORTION
from headrace.auth.rules import Need, Scoped, needs
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from headrace.auth.access import Access
    from headrace.auth.guard import UserAuthority
    from headrace.auth.rules import Rule

IDS = 5_000


async def accept(account: object) -> None:
    """The password is right."""


class Judging:
    """Judges requests of bob, who may read nothing without a grant."""

    def __init__(self, authority: UserAuthority) -> None:
        self._authority = authority
        self._caller = cast("Any", SimpleNamespace(name="bob", confirm=accept))
        self.taken = 0
        self.most_at_once = 0
        self.rule = needs(Need("experiment", "read", self._taken))

    def _taken(self, ids: list[str]) -> Iterator[str]:
        for id_ in ids:
            self.taken += 1
            yield id_

    async def admit(self, ids: list[str], rule: Rule | None = None) -> Access:
        """Judge a request; counts the ids that are taken, also between two turns of the event loop."""
        self.taken = self.most_at_once = 0
        watching = asyncio.create_task(self._watch())
        try:
            return await self._authority.admit(rule or self.rule, self._caller, ids)
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        before = 0
        while True:
            self.most_at_once = max(self.most_at_once, self.taken - before)
            before = self.taken
            await asyncio.sleep(0)


@asynccontextmanager
async def judging(
    uri: str, *granted: tuple[str, str], admin: bool = False
) -> AsyncIterator[Judging]:
    """Bob with these grants (id, level) on experiments."""
    async with accounts_in(uri) as accounts:
        user = await accounts.db.write(users.create, "bob", "hash", admin)
        for id_, level in granted:
            await accounts.db.write(grants.give, user.id, "experiment", id_, level)
        auth = AuthSettings("NO_PERMISSIONS", uri)
        authority = user_authority(Settings(backend_store_uri=uri, auth=auth, secret_key="secret"))
        authority.start(cast("Any", SimpleNamespace(accounts=accounts, db=accounts.db)))
        yield Judging(authority)


async def test_other_requests_run_while_many_ids_are_judged(uri: str) -> None:
    many = [str(n) for n in range(IDS)]
    async with judging(uri, ("*", "READ"), (f"{IDS}", "DENY")) as bob:
        await bob.admit(many)
        assert (bob.taken, bob.most_at_once) == (IDS, MAX_PORTION)
        with pytest.raises(Denied):
            await bob.admit([*many, f"{IDS}"])


async def test_a_grant_for_every_id_is_needed(uri: str) -> None:
    own = [str(n) for n in range(MAX_PORTION + 20)]
    async with judging(uri, *((id_, "READ") for id_ in own)) as bob:
        access = await bob.admit(own, Scoped("experiment", *bob.rule.needs))
        assert access.scope("experiment") == (frozenset(own), True)
        await bob.admit(own * 50)
        for place in (0, MAX_PORTION - 1, MAX_PORTION, len(own)):
            with pytest.raises(Denied):
                await bob.admit([*own[:place], "999", *own[place:]])


async def test_the_first_refused_id_ends_a_request(uri: str) -> None:
    async with judging(uri) as bob:
        with pytest.raises(Denied):
            await bob.admit([str(n) for n in range(IDS)])
        assert bob.taken == MAX_PORTION


async def test_the_ids_of_an_admin_are_not_judged(uri: str) -> None:
    async with judging(uri, admin=True) as bob:
        assert (await bob.admit([str(n) for n in range(IDS)])).is_admin
        assert bob.taken == MAX_PORTION
