"""The classes of SQLite's errors: only those that a retry may resolve are answered with 429."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from headrace.db.errors import DatabaseError, Unavailable, UniqueViolation
from headrace.db.sqlite.connection import connect
from headrace.db.sqlite.errors import translate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A database file with one table of one row."""
    file = str(tmp_path / "errors.db")
    with closing(connect(file, read_only=False, synchronous="OFF")) as connection:
        connection.execute("CREATE TABLE one (key TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO one VALUES ('a')")
    return file


def refused(connection: sqlite3.Connection, statement: str) -> DatabaseError:
    """The class of our error for a statement that SQLite refuses."""
    with pytest.raises(sqlite3.Error) as said:
        connection.execute(statement)
    return translate(said.value)


def test_a_statement_that_cannot_run_is_not_worth_a_second_try(path: str) -> None:
    with closing(connect(path, read_only=False, synchronous="OFF")) as connection:
        error = refused(connection, "SELECT * FROM absent")
    assert type(error) is DatabaseError
    assert "no such table" in error.text


def test_a_file_that_another_holds_is_worth_one(path: str) -> None:
    with (
        closing(connect(path, read_only=False, synchronous="OFF")) as holder,
        closing(connect(path, read_only=False, synchronous="OFF", busy_timeout_ms=0)) as other,
    ):
        holder.execute("BEGIN EXCLUSIVE")
        assert isinstance(refused(other, "INSERT INTO one VALUES ('b')"), Unavailable)


def test_a_key_that_exists_is_told_apart(path: str) -> None:
    with closing(connect(path, read_only=False, synchronous="OFF")) as connection:
        assert isinstance(refused(connection, "INSERT INTO one VALUES ('a')"), UniqueViolation)
