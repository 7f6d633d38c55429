"""The read of a user that every request makes: few grants are read at once, many by keys."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from tests.faults.stored import execute
from tests.fix_users import accounts_in
from tests.sql.test_plans import explained, touched, work_of

from headrace.auth import grants, roles, users
from headrace.auth.account import AccountReads
from headrace.auth.account_sql import MAX_WHOLE, WHOLE
from headrace.auth.decide import Defaults, Level, Plan, Step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.auth.open import Accounts

EDIT_7 = Plan(((Step("experiment", "7", "update"),),))


@pytest.fixture
async def accounts(uri: str) -> AsyncIterator[Accounts]:
    """A database with a user."""
    async with accounts_in(uri) as accounts:
        await accounts.db.write(users.create, "ann", "hash")
        yield accounts


async def may_edit(reads: AccountReads) -> bool:
    """Whether ann may change experiment 7."""
    account = await reads.find("ann", EDIT_7.requirements)
    assert account is not None
    return account.allows(EDIT_7, Defaults(Level.READ, Level.READ))


async def test_a_change_counts_in_the_next_read(accounts: Accounts) -> None:
    """Whether the grants are read at once or by keys, and after each step from one to the other."""
    write = accounts.db.write
    reads = AccountReads()
    reads.start(accounts.db)
    assert await reads.find("zoe", EDIT_7.requirements) is None
    assert not await may_edit(reads)
    ann = await accounts.db.read(users.get, "ann")
    team = await write(roles.create, "team", "default", None)
    elsewhere = await write(roles.create, "team", "other", None)
    await write(roles.add_permission, elsewhere.id, "experiment", "7", "EDIT")
    await write(roles.assign, "ann", elsewhere.id)
    await write(roles.assign, "ann", team.id)
    for others in (0, MAX_WHOLE - 1, MAX_WHOLE + 1):
        for n in range(others):
            await write(grants.give, ann.id, "registered_model", f"m{n}", "READ")
        assert not await may_edit(reads)
        grant = await write(roles.add_permission, team.id, "experiment", "7", "EDIT")
        assert await may_edit(reads)
        await write(roles.update_permission, grant.id, "READ")
        assert not await may_edit(reads)
        await write(roles.update_permission, grant.id, "EDIT")
        await write(roles.add_permission, team.id, "experiment", "*", "DENY")
        assert not await may_edit(reads)
        await write(roles.delete, team.id)
        team = await write(roles.create, "team", "default", None)
        await write(roles.assign, "ann", team.id)
    await write(users.set_password_hash, "ann", "other hash")
    changed = await reads.find("ann", EDIT_7.requirements)
    assert changed is not None
    assert changed.password_hash == "other hash"
    await write(users.delete, "ann", accounts.facts.dead)
    assert await reads.find("ann", EDIT_7.requirements) is None


async def test_equal_rows_are_not_evaluated_again(accounts: Accounts) -> None:
    """20 requests of a user cost the evaluation of one."""
    reads = AccountReads()
    reads.start(accounts.db)
    first = await reads.find("ann")
    assert await reads.find("ann") is first
    await accounts.db.write(users.set_admin, "ann", True)
    changed = await reads.find("ann")
    assert changed is not first
    assert changed is not None
    assert changed.is_admin


async def test_a_change_of_another_process_counts_in_the_next_read(
    accounts: Accounts, uri: str
) -> None:
    """Without a read where the database tells that nothing was committed."""
    reads = AccountReads()
    reads.start(accounts.db)
    version = accounts.db.version()
    for is_admin in (True, False, True):
        execute(uri, f"UPDATE users SET is_admin = {is_admin} WHERE username = 'ann'")
        for _ in range(2):
            await asyncio.sleep(0)  # the event loop receives the next request in a later turn
            found = await reads.find("ann")
            assert found is not None
            assert found.is_admin is is_admin
        last, version = version, accounts.db.version()
        assert version == accounts.db.version()
        assert (version == last) is (accounts.db.dialect == "postgres")


SERIES = {
    "sqlite": (
        "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 5000)"
        " SELECT n FROM s)"
    ),
    "postgres": "generate_series(1, 5000) AS s(n)",
}
# 5,000 users with a role each, and one of them with a role of 5,000 grants that all have.
MANY = (
    "INSERT INTO users (username, password_hash, is_admin) SELECT 'u' || n, '!', false FROM {}",
    "INSERT INTO roles (name, workspace) SELECT 'role ' || n, 'default' FROM {}",
    "INSERT INTO user_role_assignments (user_id, role_id)"
    " SELECT u.id, r.id FROM users u JOIN roles r ON 'role ' || substr(u.username, 2) = r.name",
    "INSERT INTO user_role_assignments (user_id, role_id)"
    " SELECT u.id, (SELECT id FROM roles WHERE name = 'role 1') FROM users u"
    " WHERE u.username NOT IN ('u1', 'ann')",
    "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
    " SELECT (SELECT id FROM roles WHERE name = 'role 1'), 'experiment', n, 'READ' FROM {}",
)


async def test_a_read_touches_few_rows_of_many(accounts: Accounts, uri: str) -> None:
    series = SERIES[accounts.db.dialect]
    if accounts.db.dialect == "sqlite":
        path = Path(uri.removeprefix("sqlite:///"))
        with closing(sqlite3.connect(path)) as connection, connection:
            for text in MANY:
                connection.execute(text.format(series))
        names = '["u1","u2","u3","u4"]'
        for analyzed in (False, True):
            scans, steps = work_of(path, WHOLE.sqlite, [names], analyzed)
            assert [scan for scan in scans if not scan.startswith("SCAN json_each")] == []
            assert steps < 4 * 40 * (MAX_WHOLE + 1)
        return
    connection: Any = await asyncpg.connect(uri)
    try:
        for text in MANY:
            await connection.execute(text.format(series))
        await connection.execute("ANALYZE")  # the statistics that autovacuum gathers
        plan = await explained(connection, WHOLE.postgres, [["u1", "u2", "u3", "u4"]])
        assert touched(plan) < 20 * (MAX_WHOLE + 1)
    finally:
        await connection.close()
