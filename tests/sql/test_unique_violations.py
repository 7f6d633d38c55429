"""A unique violation names its table and columns, on both databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import asyncpg
import pytest

from headrace.db.errors import UniqueViolation
from headrace.db.postgres.errors import translate as of_postgres
from headrace.db.sqlite.errors import translate as of_sqlite

if TYPE_CHECKING:
    from headrace.db.errors import DatabaseError

TABLES = (
    "CREATE TABLE one (id INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    "CREATE TABLE two (key TEXT, run_uuid TEXT, PRIMARY KEY (key, run_uuid))",
    "INSERT INTO one VALUES (1, 'a (b)=(c)')",
    "INSERT INTO two VALUES ('k', 'r')",
)
CASES = (
    ("INSERT INTO one VALUES (2, 'a (b)=(c)')", "one", {"name"}),
    ("INSERT INTO one VALUES (1, 'other')", "one", {"id"}),
    ("INSERT INTO two VALUES ('k', 'r')", "two", {"key", "run_uuid"}),
)


def check(error: DatabaseError, table: str, columns: set[str]) -> None:
    assert isinstance(error, UniqueViolation)
    assert (error.table, error.columns) == (table, columns)


def test_sqlite_names_the_key() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in TABLES:
            connection.execute(statement)
        for statement, table, columns in CASES:
            with pytest.raises(sqlite3.IntegrityError) as said:
                connection.execute(statement)
            check(of_sqlite(said.value), table, columns)
        connection.execute("CREATE UNIQUE INDEX lower_name ON one (lower(name))")
        with pytest.raises(sqlite3.IntegrityError) as said:
            connection.execute("INSERT INTO one VALUES (3, 'A (b)=(c)')")
        check(of_sqlite(said.value), "", set())


async def test_postgres_names_the_key(postgres_empty_uri: str) -> None:
    connection = await asyncpg.connect(postgres_empty_uri)
    try:
        for statement in TABLES:
            await connection.execute(statement)
        for statement, table, columns in CASES:
            with pytest.raises(asyncpg.UniqueViolationError) as said:
                await connection.execute(statement)
            check(of_postgres(said.value), table, columns)
    finally:
        await connection.close()


async def test_an_id_that_is_taken_is_not_a_name_that_is_taken(postgres_uri: str) -> None:
    """As after a restore with an old sequence."""
    connection = await asyncpg.connect(postgres_uri)
    try:
        await connection.execute(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'a', 'active')"
        )
        with pytest.raises(asyncpg.UniqueViolationError) as said:
            await connection.execute(
                "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'b', 'active')"
            )
        check(of_postgres(said.value), "experiments", {"experiment_id"})
    finally:
        await connection.close()
