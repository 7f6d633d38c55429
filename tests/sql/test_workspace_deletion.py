"""Deleting a workspace moves or deletes the rows of every table that belong to it, and no others."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest
from tests.sql.dumps import restore_sqlite
from tests.sql.test_statements import NEWEST

from headrace.api.registry.models import sql as models_sql
from headrace.api.server.workspaces import transactions
from headrace.api.server.workspaces.transactions import Mode
from headrace.contract.errors import ApiError
from headrace.db.open import open_database
from headrace.db.sql import Sql
from headrace.db.workspace import DatabaseIn
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from headrace.db.base import Database, Tx

TEAM: Final = "team-a"
# Tables that no foreign key and no column experiment_id links to a workspace. MLflow never deletes
# the inputs of runs.
APART: Final = frozenset(
    {
        "alembic_version",
        "workspaces",
        "inputs",
        "input_tags",
        "entity_associations",
        "scheduler_leases",
    }
)
# Columns with a check.
SPECIAL: Final = {
    "lifecycle_stage": "'active'",
    "runs.status": "'FINISHED'",
    "runs.source_type": "'LOCAL'",
}


class Table:
    """A table with its columns, the tables that it refers to, and a row for each of two workspaces."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self.name = name
        self.columns = {
            row[1]: row[2].upper() for row in connection.execute(f"PRAGMA table_info({name})")
        }
        keys = connection.execute(f"PRAGMA foreign_key_list({name})")
        self.refers_to = {row[2] for row in keys} - {name}

    def row(self, text: str, number: int, **literals: str) -> Sql:
        """An INSERT whose texts are one text, and whose numbers are one number.

        So every foreign key refers to the row of the same workspace. `literals` are the values of
        other columns.
        """
        values = []
        for column, kind in self.columns.items():
            special = SPECIAL | literals
            if f"{self.name}.{column}" in special or column in special:
                values.append(special.get(f"{self.name}.{column}") or special[column])
            elif kind == "DATE":
                values.append("'2026-01-01'")
            elif kind == "BOOLEAN":
                values.append("false")
            elif kind == "JSON":
                values.append("'1'")
            elif kind.startswith(("VARCHAR", "TEXT", "BLOB", "CHAR")):
                values.append(f"'{text}'")
            else:
                values.append(str(number))
        names = ", ".join(f'"{column}"' for column in self.columns)
        return Sql(f"INSERT INTO {self.name} ({names}) VALUES ({', '.join(values)})")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    """The tables that belong to workspaces, referred ones first."""
    path = restore_sqlite(NEWEST, tmp_path_factory.mktemp("deletion") / "newest.db")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
        left = [Table(connection, name) for (name,) in rows.fetchall() if name not in APART]
    ordered: list[Table] = []
    while left:
        done = {table.name for table in ordered}
        ready = [table for table in left if table.refers_to <= done]
        assert ready, [table.name for table in left]
        ordered += ready
        left = [table for table in left if table not in ready]
    return ordered


@pytest.fixture
async def db(uri: str, tables: list[Table], tmp_path: Path) -> AsyncIterator[Database]:
    """A database with a row of each table in `default` and in `team-a`."""

    async def fill(tx: Tx) -> None:
        await tx.execute(Sql("INSERT INTO workspaces (name) VALUES ($1)"), TEAM)
        for table in tables:
            for number, workspace in ((11, "default"), (12, TEAM)):
                await tx.execute(table.row(workspace, number))

    settings = Settings(backend_store_uri=uri, enable_workspaces=True)
    opened = await open_database(settings)
    await opened.write(fill)
    yield opened
    await opened.close()


async def counts(db: Database, tables: list[Table]) -> dict[str, int]:
    """The number of rows of each table, without experiment 0."""

    async def read(tx: Tx) -> dict[str, int]:
        found = {}
        for table in tables:
            where = " WHERE experiment_id > 0" if table.name == "experiments" else ""
            row = await tx.fetchrow(Sql(f"SELECT count(*) FROM {table.name}{where}"))
            assert row is not None
            found[table.name] = row[0]
        return found

    return await db.read(read)


async def in_default(db: Database, tables: list[Table]) -> dict[str, int]:
    """The number of rows outside the default workspace, of each table with the column."""

    async def read(tx: Tx) -> dict[str, int]:
        found = {}
        for table in tables:
            if "workspace" in table.columns:
                text = f"SELECT count(*) FROM {table.name} WHERE workspace <> 'default'"
                row = await tx.fetchrow(Sql(text))
                assert row is not None
                found[table.name] = row[0]
        return found

    return await db.read(read)


async def test_cascade_deletes_the_rows_of_every_table(db: Database, tables: list[Table]) -> None:
    assert set((await counts(db, tables)).values()) == {2}
    await db.write(transactions.delete, TEAM, Mode.CASCADE)
    assert await counts(db, tables) == {table.name: 1 for table in tables}
    assert set((await in_default(db, tables)).values()) == {0}


async def test_set_default_moves_the_rows_of_every_table(db: Database, tables: list[Table]) -> None:
    await db.write(transactions.delete, TEAM, Mode.SET_DEFAULT)
    assert set((await counts(db, tables)).values()) == {2}
    assert set((await in_default(db, tables)).values()) == {0}


async def test_restrict_leaves_everything(db: Database, tables: list[Table]) -> None:
    with pytest.raises(ApiError, match="table 'registered_models' still contains 1 resource"):
        await db.write(transactions.delete, TEAM, Mode.RESTRICT)
    assert set((await counts(db, tables)).values()) == {2}


async def test_a_request_that_began_before_the_deletion_writes_nothing(db: Database) -> None:
    """Otherwise its row would belong to a workspace that does not exist."""
    inside = DatabaseIn(db, TEAM)
    await inside.write(models_sql.insert, "before", 1, None, ())
    await db.write(transactions.delete, TEAM, Mode.CASCADE)
    with pytest.raises(ApiError, match="Workspace 'team-a' not found"):
        await inside.write(models_sql.insert, "after", 1, None, ())


async def test_a_name_that_is_taken_moves_nothing(db: Database, tables: list[Table]) -> None:
    (secrets,) = (table for table in tables if table.name == "secrets")

    async def rename(tx: Tx) -> None:
        taken = {"workspace": "'default'", "secret_name": f"'{TEAM}'"}
        await tx.execute(secrets.row("other", 13, **taken))
        await tx.execute(Sql("UPDATE webhooks SET name = 'x'"))

    await db.write(rename)
    with pytest.raises(ApiError, match=r"conflicts:\n  - webhooks: 'x'\nRename"):
        await db.write(transactions.delete, TEAM, Mode.SET_DEFAULT)
    await db.write(lambda tx: tx.execute(Sql("UPDATE webhooks SET name = webhook_id")))
    with pytest.raises(ApiError, match="Resolve naming conflicts before deleting"):
        await db.write(transactions.delete, TEAM, Mode.SET_DEFAULT)
    assert sorted((await in_default(db, tables)).values())[0] == 1
