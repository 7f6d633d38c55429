"""Both databases can prepare every statement, and it uses only the columns that schema/used.py lists."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import asyncpg
from tests.fix_postgres import fresh_database
from tests.sql.dumps import restore_postgres, restore_sqlite

import headrace
from headrace.db.schema import auth, postgres, sqlite, used
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_postgres import PostgresServer

    from headrace.db.base import Dialect

# Some statements have a second text for older databases, or for newer ones.
NEWEST, OLD, NEXT = "3.17.2", "2.22.5", "3.18.0"
AT_CREATION = {"workspaces"}  # of which an older head has no row
# Tables that a deletion of a workspace empties if they exist, and nothing else uses.
EMPTIED = {
    "skills",
    "sql_assessment_daily_rollups",
    "sql_span_cost_daily_rollups",
    "sql_trace_metric_daily_rollups",
    "sql_trace_rollup_rebuild_queue",
}
_INSERT = re.compile(r"INSERT\s+INTO\s+(\w+)\s*\(([^)]*)\)", re.IGNORECASE)


def in_value(value: Any, name: str) -> Iterator[tuple[str, Sql]]:
    """The statements in a value, including its attributes and items."""
    if isinstance(value, Sql):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from in_value(item, f"{name}[{key}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from in_value(item, f"{name}[{number}]")
    elif type(value).__module__.startswith("headrace.api") and not isinstance(value, type):
        for slot in getattr(type(value), "__slots__", ()):
            yield from in_value(getattr(value, slot, None), f"{name}.{slot}")


def statements() -> list[tuple[str, Sql]]:
    """Every statement of a module, with its name."""
    found: dict[int, tuple[str, Sql]] = {}
    for info in pkgutil.walk_packages(headrace.__path__, "headrace."):
        # The plugin runs in clients: it has no statements, and imports mlflow.
        if info.name.endswith("__main__") or info.name.startswith("headrace.plugin"):
            continue
        module = importlib.import_module(info.name)
        for name, value in list(vars(module).items()):
            for where, sql in in_value(value, f"{info.name}.{name}"):
                found.setdefault(id(sql), (where, sql))
    return list(found.values())


def texts(dialect: Dialect) -> list[tuple[str, str]]:
    """The texts of all statements that the database has."""
    return [(where, getattr(sql, dialect)) for where, sql in statements() if hasattr(sql, dialect)]


# In a process of its own, where no test has made statements.
ESCAPED = """
import gc
from tests.sql.test_statements import statements
from headrace.db.sql import Sql
found = {id(sql) for _, sql in statements()}
made = [sql for sql in gc.get_objects() if isinstance(sql, Sql)]
assert len(made) > 200, "so few statements mean that this does not see them"
for sql in made:
    if id(sql) not in found:
        print(getattr(sql, "postgres", None) or sql.sqlite)
"""


def test_no_statement_escapes_these_tests() -> None:
    """The walk through the modules finds every statement that importing them makes."""
    done = subprocess.run(
        [sys.executable, "-c", ESCAPED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Prepared:
    """Prepares statements on a database of one release and records the columns that they use."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.named: set[tuple[str, str]] = set()
        self.filled: set[str] = set()
        self._connection = connection

    def problem(self, text: str) -> str | None:
        """SQLite's error for a statement, or None."""
        numbers = [int(number) for number in re.findall(r"\?(\d+)", text)]
        self._connection.set_authorizer(self._keep)
        try:
            self._connection.execute(f"EXPLAIN {text}", [None] * max(numbers, default=0))
        except sqlite3.Error as error:
            return str(error)
        finally:
            self._connection.set_authorizer(None)
        for table, columns in _INSERT.findall(text):
            self.filled.add(table.lower())
            self.named |= {(table.lower(), column.strip()) for column in columns.split(",")}
        return None

    def _keep(self, action: int, table: str | None, column: str | None, *_: object) -> int:
        if action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_UPDATE) and table and column:
            self.named.add((table, column))
        return sqlite3.SQLITE_OK


def test_sqlite_understands_every_statement_and_used_lists_what_they_name(tmp_path: Path) -> None:
    problems = []
    with (
        closing(sqlite3.connect(restore_sqlite(NEWEST, tmp_path / "new.db"))) as new,
        closing(sqlite3.connect(restore_sqlite(OLD, tmp_path / "old.db"))) as old,
        closing(sqlite3.connect(restore_sqlite(NEXT, tmp_path / "next.db"))) as next_,
    ):
        for statement in sqlite.statements("auth_sqlite.sql"):
            new.execute(statement)
        databases = (Prepared(new), Prepared(old), Prepared(next_))
        # Upkeep checks which tables exist before it uses them; serving does not need them.
        upkeep = (Prepared(new), Prepared(old))
        tables = {
            name
            for database in (new, next_)
            for (name,) in database.execute("SELECT name FROM sqlite_master")
        }
        for where, text in texts("sqlite"):
            asked = upkeep if where.startswith("headrace.db.upkeep") else databases
            said = [database.problem(text) for database in asked]
            if None not in said:
                problems.append(f"{where}: {said}")
    assert problems == []
    named = {
        (table, column)
        for database in databases
        for table, column in database.named
        if table in tables - AT_CREATION - EMPTIED and column != "ROWID"
    }
    listed = {
        (table, column)
        for tables_of in (used.USED, used.NEWER, auth.USED)
        for table, columns in tables_of.items()
        for column in columns
    }
    assert {(table, column) for table, column in named - listed if table not in auth.DEAD} == set()
    # db/schema/seed.py stamps the database that it has just created.
    assert (databases[0].filled | databases[1].filled) & used.NEVER_FILLED == {"alembic_version"}


async def test_postgres_understands_every_statement(
    postgres_uri: str, postgres_empty_uri: str, postgres_server: PostgresServer
) -> None:
    restore_postgres(OLD, postgres_empty_uri)
    problems = []
    with fresh_database(postgres_server) as next_uri:
        restore_postgres(NEXT, next_uri)
        uris = (postgres_uri, postgres_empty_uri, next_uri)
        connections = [await asyncpg.connect(uri) for uri in uris]
        try:
            await connections[0].execute(postgres.script("auth_postgres.sql"))
            for where, text in texts("postgres"):
                said: list[str] = []
                for connection in connections:
                    try:
                        await connection.prepare(text)
                        break
                    except asyncpg.PostgresError as error:
                        said.append(str(error))
                if len(said) == len(connections):
                    problems.append(f"{where}: {said}")
        finally:
            for connection in connections:
                await connection.close()
    assert problems == []
