"""The tables of users: headrace makes the same as stock MLflow, and opens those that stock made."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import asyncpg
import psycopg
import pytest
from tests.fix_postgres import fresh_database
from tests.sql.catalog import differences, postgres_catalog, sqlite_catalog

from headrace.auth.open import open_accounts
from headrace.db.open import open_database
from headrace.db.schema import auth, postgres, sqlite
from headrace.db.schema.facts import UnusableDatabase
from headrace.settings.auth import AuthSettings
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.auth.open import Accounts

_MIGRATE = """
import sys
from sqlalchemy import create_engine
from mlflow.server.auth.db.utils import migrate, migrate_if_needed
for uri in sys.argv[2:]:
    engine = create_engine(uri)
    migrate_if_needed(engine, "head") if sys.argv[1] == "head" else migrate(engine, sys.argv[1])
"""


def migrate(revision: str, *uris: str) -> None:
    """Let stock MLflow bring the tables of users to a revision, as it does at every start."""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _MIGRATE, revision]
        + [uri.replace("postgresql:", "postgresql+psycopg2:") for uri in uris],
        check=True,
        timeout=110,
        capture_output=True,
    )


async def open_and_close(tracking: str, users: str) -> Accounts:
    """The database of users beside a tracking database; both are closed."""
    settings = Settings(backend_store_uri=tracking, auth=AuthSettings("READ", users))
    db = await open_database(settings)
    try:
        accounts = await open_accounts(settings, db)
        await accounts.db.ping()
        await accounts.close()
    finally:
        await db.close()
    return accounts


def test_new_tables_equal_those_made_by_stock(tmp_path: Path, postgres_server: str) -> None:
    """And stock finds nothing to migrate in them."""
    ours, theirs = tmp_path / "ours.db", tmp_path / "theirs.db"

    async def prepare(uri: str) -> None:
        connection = await asyncpg.connect(uri)
        try:
            facts = await postgres.prepare_users(connection, "it")
            assert facts.created
            again = await postgres.prepare_users(connection, "it")
            assert not again.created and again.dead == auth.DEAD
        finally:
            await connection.close()

    with closing(sqlite3.connect(ours, isolation_level=None)) as connection:
        assert sqlite.prepare_users(connection, "it").created
        again = sqlite.prepare_users(connection, "it")
        assert not again.created and again.dead == auth.DEAD
    with fresh_database(postgres_server) as our_uri, fresh_database(postgres_server) as their_uri:
        asyncio.run(prepare(our_uri))
        migrate("head", f"sqlite:///{theirs}", their_uri)
        assert differences(sqlite_catalog(ours), sqlite_catalog(theirs)) == []
        before = postgres_catalog(our_uri)
        assert differences(before, postgres_catalog(their_uri)) == []
        migrate("head", f"sqlite:///{ours}", our_uri)
        assert differences(before, postgres_catalog(our_uri)) == []
        assert differences(sqlite_catalog(ours), sqlite_catalog(theirs)) == []


async def test_users_are_made_in_a_tracking_database_without_them(uri: str) -> None:
    """The tracking database's own handle serves them."""
    accounts = await open_and_close(uri, uri)
    assert accounts.in_tracking and accounts.facts.created
    again = await open_and_close(uri, uri)
    assert again.in_tracking and not again.facts.created


async def test_a_tracking_database_is_made_beside_users(empty_uri: str, tmp_path: Path) -> None:
    await open_and_close(f"sqlite:///{tmp_path}/other.db", empty_uri)
    accounts = await open_and_close(empty_uri, empty_uri)
    assert accounts.in_tracking and not accounts.facts.created


async def test_users_in_a_database_of_their_own(uri: str, empty_uri: str) -> None:
    if uri == empty_uri:
        empty_uri = empty_uri.replace("mlflow.db", "users.db")
    accounts = await open_and_close(uri, empty_uri)
    assert not accounts.in_tracking and accounts.facts.created


async def test_one_file_in_two_spellings_is_one_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    here = f"sqlite:///{tmp_path}/there/a.db"
    for other in ("sqlite:///there/a.db", "sqlite:///link/a.db", "sqlite:///there/../link/a.db"):
        assert (await open_and_close(here, other)).in_tracking


async def test_one_postgresql_database_in_two_spellings_is_one(postgres_uri: str) -> None:
    """With a driver, and with another connection to the same server."""
    driver = postgres_uri.replace("postgresql:", "postgresql+psycopg2:")
    assert (await open_and_close(postgres_uri, driver)).in_tracking
    mark = "&" if "?" in postgres_uri else "?"
    named = f"{postgres_uri}{mark}application_name=other"
    assert (await open_and_close(postgres_uri, named)).in_tracking


async def test_another_schema_of_one_postgresql_database_is_another(postgres_uri: str) -> None:
    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA people")
    mark = "&" if "?" in postgres_uri else "?"
    other = f"{postgres_uri}{mark}options=-csearch_path%3Dpeople"
    accounts = await open_and_close(postgres_uri, other)
    assert not accounts.in_tracking and accounts.facts.created


@pytest.mark.parametrize("revision", [auth.OLDER[0], auth.OLDER[-1]])
async def test_an_older_head_is_refused_with_the_command(
    revision: str, uri: str, empty_uri: str
) -> None:
    """Which makes it one that headrace opens."""
    users = empty_uri.replace("mlflow.db", "users.db")
    migrate(revision, users)
    with pytest.raises(UnusableDatabase, match=f"{revision}.*python -m mlflow.server.auth db"):
        await open_and_close(uri, users)
    done = subprocess.run(
        [
            sys.executable,
            *auth.UPGRADE.split()[1:],
            users.replace("postgresql:", "postgresql+psycopg2:"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert (await open_and_close(uri, users)).facts.head == auth.HEAD


def changed(users: str, *statements: str) -> None:
    """Run statements on a SQLite file or a PostgreSQL database."""
    if users.startswith("sqlite"):
        with closing(sqlite3.connect(users.removeprefix("sqlite:///"))) as file:
            for statement in statements:
                file.execute(statement)
            file.commit()
        return
    with psycopg.connect(users, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def test_a_newer_head_is_served_if_it_has_what_is_used(uri: str, empty_uri: str) -> None:
    """As that of a tracking database: with a warning, and only if every row can be written."""
    users = empty_uri.replace("mlflow.db", "users.db")
    await open_and_close(uri, users)
    changed(
        users,
        "UPDATE alembic_version_auth SET version_num = 'f6a7b8c9d0e1'",
        *(f"DROP TABLE {table}" for table in auth.DEAD),
    )
    facts = (await open_and_close(uri, users)).facts
    assert facts.dead == () and "does not know" in facts.warnings[0]
    changed(users, "ALTER TABLE roles ADD COLUMN team VARCHAR(9) NOT NULL DEFAULT 'x'")
    assert (await open_and_close(uri, users)).facts.warnings
    changed(users, "ALTER TABLE roles RENAME COLUMN description TO text")
    with pytest.raises(UnusableDatabase, match=r"lacks roles\.description.*Upgrade headrace"):
        await open_and_close(uri, users)


async def test_tables_of_another_application_are_refused(uri: str, empty_uri: str) -> None:
    """And left as they are."""
    users = empty_uri.replace("mlflow.db", "users.db")
    changed(users, "CREATE TABLE users (id INTEGER)")
    with pytest.raises(UnusableDatabase, match="no revision"):
        await open_and_close(uri, users)
    changed(users, "SELECT id FROM users")


async def test_two_processes_may_make_the_tables_at_once(uri: str, empty_uri: str) -> None:
    users = empty_uri.replace("mlflow.db", "users.db")
    await open_and_close(uri, uri)
    found = await asyncio.gather(*(open_and_close(uri, users) for _ in range(4)))
    assert [accounts.facts.head for accounts in found] == [auth.HEAD] * 4
    assert sum(accounts.facts.created for accounts in found) == 1
