"""The transactions on users, roles and grants, on both databases."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_users import accounts_in

from headrace.auth import grants, roles, users
from headrace.contract.errors import ApiError, ErrorCode
from headrace.db.schema.auth import DEAD
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from headrace.auth.open import Accounts
    from headrace.db.base import Tx

TABLES = ("users", "roles", "role_permissions", "user_role_assignments")
FIRST = (0, 0)


async def rows_of(accounts: Accounts) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of users, roles and grants."""

    async def read(tx: Tx) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table: [tuple(row) for row in await tx.fetch(Sql(f"SELECT * FROM {table} ORDER BY id"))]
            for table in TABLES
        }

    return await accounts.db.read(read)


async def refused(work: Awaitable[Any], code: ErrorCode, says: str) -> None:
    """Check the error of a transaction."""
    with pytest.raises(ApiError) as caught:
        await work
    assert (caught.value.code, caught.value.message) == (code, says)


async def grants_of(accounts: Accounts, name: str) -> set[tuple[str, str, str]]:
    """The user's own grants."""

    async def read(tx: Tx) -> set[tuple[str, str, str]]:
        role_id = await grants.own_role_id(tx, await users.get(tx, name))
        found = [] if role_id is None else await roles.permissions(tx, [role_id], FIRST, 100)
        return {(p.resource_type, p.resource_pattern, p.permission) for p in found}

    return await accounts.db.read(read)


async def test_users(uri: str) -> None:
    """Names are case-sensitive; changes of a user who does not exist are errors."""
    async with accounts_in(uri) as accounts:
        write, read = accounts.db.write, accounts.db.read
        ann = await write(users.create, "ann", "scrypt:1:1:1$a$b")
        bob = await write(users.create, "Ann", "!", True)
        assert (ann.is_admin, bob.is_admin, ann.password_hash) == (False, True, "scrypt:1:1:1$a$b")
        taken = "User (username=ann) already exists."
        await refused(write(users.create, "ann", "!"), ErrorCode.RESOURCE_ALREADY_EXISTS, taken)
        empty = "Username cannot be empty."
        await refused(write(users.create, "", "!"), ErrorCode.INVALID_PARAMETER_VALUE, empty)
        assert await read(users.find, "ANN") is None
        assert await read(users.by_id, ann.id) == ann
        assert (await write(users.set_password_hash, "ann", "new")).password_hash == "new"
        assert (await write(users.set_admin, "ann", True)).is_admin
        assert not (await write(users.set_admin, "ann", False)).is_admin
        gone = "User with username=zoe not found"
        for work in (
            write(users.set_password_hash, "zoe", "x"),
            write(users.set_admin, "zoe", True),
            write(users.delete, "zoe", accounts.facts.dead),
            read(users.get, "zoe"),
        ):
            await refused(work, ErrorCode.RESOURCE_DOES_NOT_EXIST, gone)
        assert [user.id for user in await read(users.page, 0, 1)] == [ann.id]
        assert [user.id for user in await read(users.page, ann.id, 9)] == [bob.id]
        assert "scrypt" not in repr(ann)


async def test_a_password_is_replaced_only_if_it_is_the_one_that_was_checked(uri: str) -> None:
    async with accounts_in(uri) as accounts:
        write, read = accounts.db.write, accounts.db.read
        await write(users.create, "ann", "old")
        await write(users.create, "bob", "old")
        assert await write(users.replace_password_hash, "ann", "old", "new")
        assert not await write(users.replace_password_hash, "ann", "old", "late")
        assert not await write(users.replace_password_hash, "zoe", "old", "late")
        assert (await read(users.get, "ann")).password_hash == "new"
        assert (await read(users.get, "bob")).password_hash == "old"


async def test_a_deleted_user_leaves_no_rows(uri: str) -> None:
    """Own grants of all workspaces, assignments, and rows of the tables that MLflow no longer reads."""
    async with accounts_in(uri) as accounts:
        write = accounts.db.write
        await write(users.create, "bob", "!")
        role = await write(roles.create, "team", "default", None)
        await write(roles.add_permission, role.id, "experiment", "*", "EDIT")
        await write(roles.assign, "bob", role.id)
        before = await rows_of(accounts)
        ann = await write(users.create, "ann", "!")
        await write(roles.assign, "ann", role.id)
        for workspace in ("default", "other"):
            await write(grants.give, ann.id, "experiment", "1", "MANAGE", workspace)

        async def old_rows(tx: Tx) -> None:
            for table in DEAD:
                columns = {
                    "scorer_permissions": "experiment_id, scorer_name",
                    "experiment_permissions": "experiment_id",
                    "registered_model_permissions": "name",
                    "gateway_secret_permissions": "secret_id",
                    "gateway_endpoint_permissions": "endpoint_id",
                    "gateway_model_definition_permissions": "model_definition_id",
                    "workspace_permissions": "workspace",
                }[table]
                values = ", ".join("'x'" for _ in columns.split(", "))
                await tx.execute(
                    Sql(
                        f"INSERT INTO {table} ({columns}, user_id, permission)"
                        f" VALUES ({values}, $1, 'READ')"
                    ),
                    ann.id,
                )

        await write(old_rows)
        assert await write(users.delete, "ann", accounts.facts.dead) == ann
        assert await rows_of(accounts) == before


async def test_roles(uri: str) -> None:
    async with accounts_in(uri) as accounts:
        write, read = accounts.db.write, accounts.db.read
        team = await write(roles.create, "team", "default", "all of us")
        other = await write(roles.create, "team", "other", None)
        exists = "Role (name=team, workspace=default) already exists."
        await refused(
            write(roles.create, "team", "default", None), ErrorCode.RESOURCE_ALREADY_EXISTS, exists
        )
        with pytest.raises(ApiError, match="uses the reserved '__user_' prefix"):
            await write(roles.create, "__user_x", "default", None)
        assert await write(roles.update, team.id, None, "we") == team._replace(description="we")
        crew = await write(roles.update, team.id, "crew", None)
        assert (crew.name, crew.description) == ("crew", "we")
        await write(roles.create, "team", "default", None)
        taken = "Role with name=team already exists in workspace=default"
        await refused(
            write(roles.update, team.id, "team", None), ErrorCode.RESOURCE_ALREADY_EXISTS, taken
        )
        assert [r.id for r in await read(roles.page, ["other"], 0, 9)] == [other.id]
        assert len(await read(roles.page, None, 0, 9)) == 3
        assert len(await read(roles.page, None, team.id, 1)) == 1
        none = "Role with id=999 not found"
        for work in (
            write(roles.update, 999, "x", None),
            write(roles.delete, 999),
            write(roles.add_permission, 999, "run", "*", "READ"),
            read(roles.get, 999),
        ):
            await refused(work, ErrorCode.RESOURCE_DOES_NOT_EXIST, none)


async def test_permissions_of_roles(uri: str) -> None:
    async with accounts_in(uri) as accounts:
        write, read = accounts.db.write, accounts.db.read
        role = await write(roles.create, "team", "default", None)
        one = await write(roles.add_permission, role.id, "experiment", "7", "READ")
        exists = (
            f"Role permission (role_id={role.id}, resource_type=experiment, resource_pattern=7) "
            "already exists."
        )
        await refused(
            write(roles.add_permission, role.id, "experiment", "7", "EDIT"),
            ErrorCode.RESOURCE_ALREADY_EXISTS,
            exists,
        )
        assert await write(roles.update_permission, one.id, "DENY") == one._replace(
            permission="DENY"
        )
        with pytest.raises(ApiError, match="Resource-level grants accept only"):
            await write(roles.update_permission, one.id, "NO_PERMISSIONS")
        with pytest.raises(ApiError, match="supports only wildcard"):
            await write(roles.add_permission, role.id, "run", "7", "READ")
        with pytest.raises(ApiError, match="Workspace-wide grants accept only"):
            await write(roles.add_permission, role.id, "workspace", "*", "READ")
        two = await write(roles.add_permission, role.id, "workspace", "*", "MANAGE")
        page = partial(read, roles.permissions, [role.id])
        assert [p.id for p in await page(FIRST, 1)] == [one.id]
        assert await page((role.id, one.id), 9) == [two]
        await write(roles.remove_permission, one.id)
        gone = f"Role permission with id={one.id} not found"
        for work in (
            write(roles.remove_permission, one.id),
            write(roles.update_permission, one.id, "READ"),
            read(roles.permission, one.id),
        ):
            await refused(work, ErrorCode.RESOURCE_DOES_NOT_EXIST, gone)


async def test_assignments(uri: str) -> None:
    async with accounts_in(uri) as accounts:
        write, read = accounts.db.write, accounts.db.read
        ann = await write(users.create, "ann", "!")
        role = await write(roles.create, "team", "default", None)
        await write(roles.add_permission, role.id, "workspace", "*", "MANAGE")
        made = await write(roles.assign, "ann", role.id)
        pair = f"User role assignment (user_id={ann.id}, role_id={role.id})"
        await refused(
            write(roles.assign, "ann", role.id),
            ErrorCode.RESOURCE_ALREADY_EXISTS,
            f"{pair} already exists",
        )
        assert await read(roles.assignments, role.id, 0, 9) == [made]
        assert await read(roles.held, [ann.id], FIRST, 9) == [roles.Held(ann.id, made.id, role)]
        assert await read(roles.administered, ann.id) == {"default"}
        assert await read(roles.present, ann.id) == {"default"}
        await write(roles.unassign, "ann", role.id)
        await refused(
            write(roles.unassign, "ann", role.id),
            ErrorCode.RESOURCE_DOES_NOT_EXIST,
            f"{pair} not found",
        )
        assert await read(roles.administered, ann.id) == set()
        await write(roles.assign, "ann", role.id)
        await write(roles.delete, role.id)
        found = await rows_of(accounts)
        assert [found[table] for table in TABLES[1:]] == [[], [], []]


async def test_own_grants(uri: str) -> None:
    """Made on the role of that user alone, on the first grant."""
    async with accounts_in(uri) as accounts:
        write = accounts.db.write
        ann = await write(users.create, "ann", "!")
        await write(grants.grant, "ann", "experiment", "1", "READ")
        exists = (
            "Permission for user=ann on resource_type=experiment, resource_id=1 already exists."
        )
        await refused(
            write(grants.grant, "ann", "experiment", "1", "EDIT"),
            ErrorCode.RESOURCE_ALREADY_EXISTS,
            exists,
        )
        assert await write(grants.give, ann.id, "experiment", "1", "MANAGE")
        assert await write(grants.give, ann.id, "prompt", "p", "MANAGE")
        assert await grants_of(accounts, "ann") == {
            ("experiment", "1", "MANAGE"),
            ("prompt", "p", "MANAGE"),
        }
        found = await rows_of(accounts)
        assert [row[1:] for row in found["roles"]] == [(f"__user_{ann.id}__", "default", None)]
        assert len(found["user_role_assignments"]) == 1
        await write(grants.revoke, "ann", "experiment", "1")
        gone = "Permission for user=ann on resource_type=experiment, resource_id=1 not found."
        await refused(
            write(grants.revoke, "ann", "experiment", "1"), ErrorCode.RESOURCE_DOES_NOT_EXIST, gone
        )
        assert not await write(grants.give, 999, "experiment", "1", "MANAGE")
        with pytest.raises(ApiError, match="resource_type 'workspace' is not supported"):
            await write(grants.grant, "ann", "workspace", "*", "USE")


async def test_a_sweep_and_a_rename_leave_the_roles_of_admins_alone(uri: str) -> None:
    async with accounts_in(uri) as accounts:
        write = accounts.db.write
        ann, bob = [await write(users.create, name, "!") for name in ("ann", "bob")]
        named_alike = [
            await write(roles.create, name, "default", None)
            for name in ("team", "_user_1__", "__USER_1__", "x__user_1__")
        ]
        for role in named_alike:
            await write(roles.add_permission, role.id, "registered_model", "m", "READ")
        for user in (ann, bob):
            await write(grants.give, user.id, "registered_model", "m", "EDIT")
            await write(grants.give, user.id, "prompt", "m", "READ")
            await write(grants.give, user.id, "registered_model", "other", "READ")
        await write(grants.give, bob.id, "registered_model", "n", "DENY")  # given meanwhile
        await write(grants.give, ann.id, "registered_model", "m", "EDIT", "elsewhere")
        await write(grants.rename, ("registered_model", "prompt"), "m", "n")
        moved = {
            ("registered_model", "n", "EDIT"),
            ("prompt", "n", "READ"),
            ("registered_model", "other", "READ"),
        }
        assert await grants_of(accounts, "ann") == moved
        denied = ("registered_model", "n", "DENY")
        assert await grants_of(accounts, "bob") == (moved - {("registered_model", "n", "EDIT")}) | {
            denied
        }
        await write(grants.sweep, ("registered_model", "prompt"), "n")
        assert await grants_of(accounts, "ann") == {("registered_model", "other", "READ")}
        kept = await accounts.db.read(
            roles.permissions, [role.id for role in named_alike], FIRST, 100
        )
        assert [p.resource_pattern for p in kept] == ["m"] * len(named_alike)
        found = await rows_of(accounts)
        assert ("registered_model", "m", "EDIT") in [row[2:] for row in found["role_permissions"]]
        await write(grants.sweep, ("registered_model",), "m", None)
        found = await rows_of(accounts)
        assert ("registered_model", "m", "EDIT") not in [
            row[2:] for row in found["role_permissions"]
        ]


async def test_a_role_that_looks_like_a_users_own_gets_no_grants(uri: str) -> None:
    """If it belongs to someone else, the grant would be for that user too."""
    async with accounts_in(uri) as accounts:
        write = accounts.db.write
        ann, _ = [await write(users.create, name, "!") for name in ("ann", "bob")]
        role = await write(roles.create, "team", "default", None)
        await write(roles.assign, "bob", role.id)

        async def rename(tx: Tx) -> None:
            await tx.execute(Sql("UPDATE roles SET name = $1"), f"__user_{ann.id}__")

        await write(rename)
        with pytest.raises(ApiError, match="is already assigned to user_id="):
            await write(grants.give, ann.id, "experiment", "1", "MANAGE")


async def test_concurrent_grants_make_one_role(uri: str) -> None:
    """Nothing is lost, and nobody gets an error."""
    async with accounts_in(uri) as accounts:
        ann = await accounts.db.write(users.create, "ann", "!")
        await asyncio.gather(
            *(
                accounts.db.write(grants.give, ann.id, "experiment", str(n % 10), "MANAGE")
                for n in range(30)
            )
        )
        assert len(await grants_of(accounts, "ann")) == 10
        assert len((await rows_of(accounts))["roles"]) == 1


async def test_grants_during_the_deletion_of_the_user_leave_no_rows(uri: str) -> None:
    """Each comes before it or finds no user."""
    async with accounts_in(uri) as accounts:
        write = accounts.db.write
        for n in range(5):
            ann = await write(users.create, "ann", "!")
            role = await write(roles.create, f"team-{n}", "default", None)
            done = await asyncio.gather(
                *(write(grants.give, ann.id, "experiment", str(i), "MANAGE") for i in range(5)),
                write(roles.assign, "ann", role.id),
                write(users.delete, "ann", accounts.facts.dead),
                *(write(grants.give, ann.id, "experiment", str(i), "MANAGE") for i in range(5)),
                return_exceptions=True,
            )
            wrong = [
                error
                for error in done
                if isinstance(error, Exception)
                and not (
                    isinstance(error, ApiError) and error.code == ErrorCode.RESOURCE_DOES_NOT_EXIST
                )
            ]
            assert wrong == []
            await write(roles.delete, role.id)
        found = await rows_of(accounts)
        assert not any(found.values())
