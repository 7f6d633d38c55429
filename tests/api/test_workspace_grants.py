"""Grants per workspace: the authority of a server with users and workspaces, on real databases."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.faults.stored import execute, rows
from tests.fix_users import accounts_in

from headrace.auth import grants, roles, users, workspaces
from headrace.auth.authority import Denied
from headrace.auth.build import user_authority
from headrace.auth.rules import Need, artifact, create, experiment, model, needs, scoped
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.auth.access import Access
    from headrace.auth.open import Accounts
    from headrace.auth.rules import Rule
    from headrace.db.base import Tx

ONE, TWO = "team-one", "team-two"
READS, EDITS = needs(experiment("read")), needs(experiment("update"))
READS_MODEL, CREATES = needs(model("read")), needs(create("experiment"))
SECRET = needs(Need("gateway_secret", "use", "secret_id"))
FILES = needs(artifact("update", "path"))
# Experiment 1 and the model `m` are in team-one, 2 in team-two.
ROWS = (
    f"INSERT INTO workspaces (name) VALUES ('{ONE}'), ('{TWO}')",
    "INSERT INTO experiments (experiment_id, name, workspace, lifecycle_stage) VALUES"
    f" (1, 'a', '{ONE}', 'active'), (2, 'a', '{TWO}', 'active')",
    f"INSERT INTO registered_models (workspace, name) VALUES ('{ONE}', 'm')",
    "INSERT INTO secrets (secret_id, secret_name, encrypted_value, wrapped_dek, masked_value,"
    " kek_version, created_at, last_updated_at, workspace)"
    f" VALUES ('s-1', 's', 'x', 'x', 'x', 1, 1, 1, '{ONE}')",
)


async def accept(account: object) -> None:
    """The password is right."""


class Judging:
    """Judges requests of ann."""

    def __init__(self, accounts: Accounts, authority: Any, user_id: int) -> None:
        self.accounts = accounts
        self.user_id = user_id
        self._authority = authority
        self._caller = cast("Any", SimpleNamespace(name="ann", confirm=accept))

    async def access(self, rule: Rule, workspace: str, **fields: Any) -> Access:
        """The access to a request in a workspace. Raises `Denied`."""
        found: Access = await self._authority.admit(rule, self._caller, fields, workspace)
        return found

    async def may(self, rule: Rule, workspace: str, **fields: Any) -> bool:
        """Whether she may make a request."""
        try:
            await self.access(rule, workspace, **fields)
        except Denied:
            return False
        return True

    async def give(self, workspace: str, resource_type: str, id_: str, level: str) -> None:
        """A grant of her own, or of a role on the workspace."""
        write = self.accounts.db.write
        if resource_type != "workspace":
            await write(grants.give, self.user_id, resource_type, id_, level, workspace)
            return
        role = await write(roles.create, f"{level} of ann", workspace, None)
        await write(roles.add_permission, role.id, resource_type, id_, level)
        await write(roles.assign, "ann", role.id)


@asynccontextmanager
async def judging(
    uri: str, default: str = "READ", *, opens: bool = False
) -> AsyncIterator[Judging]:
    """Ann without any grant; `default` is default_permission."""
    async with accounts_in(uri) as accounts:
        for statement in ROWS:
            execute(uri, statement)
        user = await accounts.db.write(users.create, "ann", "hash")
        auth = AuthSettings(default, uri, grant_default_workspace_access=opens)
        authority = user_authority(Settings(backend_store_uri=uri, auth=auth, secret_key="secret"))
        authority.start(cast("Any", SimpleNamespace(accounts=accounts, db=accounts.db)))
        yield Judging(accounts, authority, user.id)


async def test_a_grant_counts_in_its_workspace_only(uri: str) -> None:
    async with judging(uri) as ann:
        assert not await ann.may(READS, ONE, experiment_id="1")
        await ann.give(ONE, "experiment", "*", "EDIT")
        assert await ann.may(EDITS, ONE, experiment_id="1")
        assert not await ann.may(READS, TWO, experiment_id="2")
        assert not await ann.may(READS, "default", experiment_id="0")
        # an experiment of another workspace is as one that does not exist
        assert not await ann.may(READS, ONE, experiment_id="2")
        assert not await ann.may(READS, ONE, experiment_id="77")


async def test_a_change_of_grants_counts_at_once_in_every_workspace(uri: str) -> None:
    async with judging(uri) as ann:
        for workspace, id_ in ((ONE, "1"), (TWO, "2")):
            assert not await ann.may(READS, workspace, experiment_id=id_)
            await ann.give(workspace, "experiment", id_, "READ")
            assert await ann.may(READS, workspace, experiment_id=id_)
            await ann.accounts.db.write(grants.revoke, "ann", "experiment", id_, workspace)
            assert not await ann.may(READS, workspace, experiment_id=id_)


async def test_an_experiment_that_moves_is_gone_at_once(uri: str) -> None:
    async with judging(uri) as ann:
        await ann.give(ONE, "workspace", "*", "MANAGE")
        assert await ann.may(EDITS, ONE, experiment_id="1")
        assert not await ann.may(EDITS, TWO, experiment_id="1")


@pytest.mark.parametrize("opens", [False, True])
async def test_default_permission_counts_in_default_if_it_is_opened(uri: str, opens: bool) -> None:
    async with judging(uri, "USE", opens=opens) as ann:
        assert await ann.may(READS, "default", experiment_id="0") is opens
        assert await ann.may(CREATES, "default") is opens
        assert await ann.may(FILES, "default", path="a/b") is False  # USE does not allow to change
        assert not await ann.may(READS, ONE, experiment_id="1")
        assert not await ann.may(CREATES, ONE)


async def test_default_permission_raises_grants_but_not_those_on_the_workspace(uri: str) -> None:
    async with judging(uri, "EDIT") as ann:
        await ann.give(ONE, "experiment", "1", "READ")
        await ann.give(ONE, "workspace", "*", "USE")
        assert await ann.may(EDITS, ONE, experiment_id="1")
        assert await ann.may(CREATES, ONE)
        assert not await ann.may(FILES, ONE, path="a/b")
        assert not await ann.may(CREATES, TWO)


async def test_a_member_lists_what_he_may_not_read(uri: str) -> None:
    """As in MLflow: USE on the workspace shows all rows in lists."""
    search = scoped("experiment")
    async with judging(uri) as ann:
        assert (await ann.access(search, ONE)).scope("experiment") == (frozenset(), True)
        await ann.give(ONE, "workspace", "*", "USE")
        assert (await ann.access(search, ONE)).scope("experiment") is None
        assert not await ann.may(READS, ONE, experiment_id="1")
        assert (await ann.access(search, TWO)).scope("experiment") == (frozenset(), True)


async def test_nobody_has_a_level_on_what_is_not_in_the_workspace(uri: str) -> None:
    async with judging(uri) as ann:
        for workspace in (ONE, TWO):
            await ann.give(workspace, "workspace", "*", "MANAGE")
        assert await ann.may(READS_MODEL, ONE, name="m")
        assert not await ann.may(READS_MODEL, TWO, name="m")
        assert await ann.may(SECRET, ONE, secret_id="s-1")
        assert not await ann.may(SECRET, TWO, secret_id="s-1")
        for path in ("1/x", f"workspaces/{ONE}/1/x"):
            assert await ann.may(FILES, ONE, path=path)
            assert not await ann.may(FILES, TWO, path=path)


async def test_creators_get_their_grant_in_the_workspace(uri: str) -> None:
    async with judging(uri) as ann:
        await ann.give(ONE, "workspace", "*", "USE")
        access = await ann.access(CREATES, ONE)
        assert access.workspace == ONE

        async def make(tx: Tx) -> None:
            await access.created(tx, "registered_model", "m")

        await ann.accounts.db.write(make)
        await access.finish()
        assert await ann.may(READS_MODEL, ONE, name="m")

        async def drop(tx: Tx) -> None:
            await access.deleted(tx, "registered_model", "m")

        # the grant on the model of the same name in another workspace stays
        await ann.give(TWO, "registered_model", "m", "READ")
        await ann.accounts.db.write(drop)
        await access.finish()
        assert not await ann.may(READS_MODEL, ONE, name="m")
        left = rows(
            uri,
            "SELECT resource_pattern FROM role_permissions WHERE resource_type = 'registered_model'",
        )
        assert [row[0] for row in left] == ["m"]


async def test_a_workspace_gets_two_roles_and_loses_all(uri: str) -> None:
    async with judging(uri) as ann:
        write, read = ann.accounts.db.write, ann.accounts.db.read
        await write(workspaces.seed, ONE)
        await write(workspaces.seed, ONE)  # those that exist stay as they are
        admin = await read(roles.by_name, ONE, "admin")
        user = await read(roles.by_name, ONE, "user")
        assert admin is not None
        assert user is not None
        held = await read(roles.permissions, [admin.id, user.id], (0, 0), 9)
        assert [row[2:] for row in held] == [
            ("workspace", "*", "MANAGE"),
            ("workspace", "*", "USE"),
        ]
        await write(roles.assign, "ann", user.id)
        await ann.give(TWO, "experiment", "2", "READ")
        assert await read(workspaces.accessible, ann.user_id) == {
            ONE
        }  # no role of an admin in the other
        await ann.give(TWO, "workspace", "*", "USE")
        assert await read(workspaces.accessible, ann.user_id) == {ONE, TWO}
        assert await ann.may(CREATES, ONE)
        await write(workspaces.forget, ONE)
        await write(workspaces.forget, ONE)
        assert not await ann.may(CREATES, ONE)
        assert await ann.may(CREATES, TWO)
        assert await read(workspaces.accessible, ann.user_id) == {TWO}
        assert rows(uri, f"SELECT count(*) FROM roles WHERE workspace = '{ONE}'") == [(0,)]
