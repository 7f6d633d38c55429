"""The registry's statements find rows by key, and their number does not depend on the number of rows."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from headrace import search
from headrace.api.registry.models import sql as models_sql
from headrace.api.registry.models import transactions
from headrace.api.registry.versions import sql as versions_sql
from headrace.db.schema import sqlite as schema
from headrace.db.sqlite.connection import connect
from headrace.db.sqlite.database import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from headrace.db.base import Row, Tx
    from headrace.db.sql import Sql

TABLES = "registered_models|registered_model_tags|registered_model_aliases|model_versions|model_version_tags"


class Counted:
    """A transaction that counts its statements."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.dialect = tx.dialect
        self.schema = tx.schema
        self.array = tx.array
        self.statements = 0

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        self.statements += 1
        return await self.tx.fetch(sql, *args)

    async def fetchrow(self, sql: Sql, *args: Any) -> Row | None:
        self.statements += 1
        return await self.tx.fetchrow(sql, *args)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """Models with few and with many versions, in all stages."""
    path = str(tmp_path / "mlflow.db")
    with closing(connect(path, read_only=False, synchronous="OFF")) as connection:
        facts = schema.prepare(connection, f"sqlite:///{path}", "mlflow-artifacts:/0")
        connection.execute("BEGIN")
        for model in range(60):
            name = f"model-{model}"
            connection.execute("INSERT INTO registered_models (name) VALUES (?)", (name,))
            versions = [
                (name, number, ("None", "Staging", "Production", "Archived")[number % 4])
                for number in range(1, 2 if model % 2 else 80)
            ]
            connection.executemany(
                "INSERT INTO model_versions (name, version, current_stage) VALUES (?, ?, ?)",
                versions,
            )
            connection.executemany(
                "INSERT INTO model_version_tags (name, version, key, value) VALUES (?, ?, 'k', 'v')",
                [row[:2] for row in versions],
            )
        connection.execute("COMMIT")
    database = SqliteDatabase(path, facts)
    yield database
    await database.close()


async def test_a_model_takes_five_statements_whatever_its_versions(
    registry: SqliteDatabase,
) -> None:
    async def get(tx: Tx, name: str) -> tuple[int, int]:
        counted = Counted(tx)
        _, belongings = await transactions.whole(counted, name)
        return counted.statements, len(belongings.versions)

    assert await registry.read(get, "model-0") == (5, 4)
    assert await registry.read(get, "model-1") == (5, 1)


async def test_a_page_of_models_takes_five_statements_whatever_its_size(
    registry: SqliteDatabase,
) -> None:
    async def page_of(tx: Tx, size: int) -> tuple[int, int]:
        page = search.registered_models_page(
            filter=None, order_by=[], max_results=size, page_token=None, dialect="sqlite"
        )
        counted = Counted(tx)
        rows, _, _ = await transactions.search(counted, page)
        return counted.statements, len(rows)

    assert await registry.read(page_of, 2) == (5, 2)
    assert await registry.read(page_of, 50) == (5, 50)


async def test_the_newest_version_of_each_stage(registry: SqliteDatabase) -> None:
    found = await registry.read(versions_sql.latest, ["model-0", "model-1"])
    shown = {
        (one.row.name, one.row.current_stage): (one.row.version, len(one.tags)) for one in found
    }
    assert shown == {
        ("model-0", "None"): (76, 1),
        ("model-0", "Staging"): (77, 1),
        ("model-0", "Production"): (78, 1),
        ("model-0", "Archived"): (79, 1),
        ("model-1", "Staging"): (1, 1),
    }


def scoped_statements() -> dict[str, models_sql.Scoped]:
    """Every statement on the registry's tables, by name."""
    found = {}
    for module in (models_sql, versions_sql):
        for name, value in vars(module).items():
            for number, one in enumerate(value if isinstance(value, tuple) else [value]):
                if isinstance(one, models_sql.Scoped):
                    found[f"{module.__name__}.{name}.{number}"] = one
    return found


def test_no_statement_reads_a_whole_table(registry: SqliteDatabase) -> None:
    """Fifty thousand versions make a scan 300 times as slow as a lookup by the workspace and name."""
    statements = scoped_statements()
    assert len(statements) > 20
    scans = {}
    with closing(sqlite3.connect(registry.path)) as connection:
        for name, statement in statements.items():
            text = statement.of(registry).sqlite
            numbers = [int(number) for number in re.findall(r"\?(\d+)", text)]
            rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * max(numbers))
            steps = [row[3] for row in rows]
            aliased = [match[1] for match in re.finditer(rf"(?:{TABLES}) (\w+)\b", text)]
            named = "|".join([TABLES, *(alias for alias in aliased if len(alias) == 1)])
            wrong = [step for step in steps if re.match(rf"SCAN (?:{named})\b", step)]
            by_workspace_alone = [step for step in steps if step.endswith("(workspace=?)")]
            if wrong or by_workspace_alone:
                scans[name] = steps
    assert not scans
