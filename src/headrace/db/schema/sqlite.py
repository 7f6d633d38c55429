"""MLflow's tables in an SQLite file, on a stdlib connection in autocommit mode."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Final

from headrace.db.schema import heads, seed
from headrace.db.schema.facts import (
    STAMP,
    Columns,
    Facts,
    UnusableDatabase,
    creatable,
    judge,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_REASONS: Final = {  # by how SQLite's name of the error begins
    "SQLITE_NOTADB": "the file is not an SQLite database",
    "SQLITE_CORRUPT": "the file is damaged; restore a backup, or try: sqlite3 FILE .recover",
    "SQLITE_CANTOPEN": "the file cannot be opened; look at its path and permissions",
    "SQLITE_READONLY": "the file or its directory cannot be written; look at their permissions",
    "SQLITE_PERM": "no permission to open the file",
    "SQLITE_BUSY": "another process holds the file; try again when it has finished",
    "SQLITE_FULL": "the disk is full",
}


def prepare(connection: sqlite3.Connection, uri: str, default_location: str) -> Facts:
    """Facts of a database that can be served; one without MLflow's tables gets them first.

    `uri`: as shown to people. `default_location`: artifacts of experiment 0. `connection`:
    isolation_level None, no transaction. Raises UnusableDatabase. Safe to run in many processes at once.
    """
    with _explained(uri):
        revisions, columns = look(connection)
        if creatable(revisions, columns):
            return _create(connection, uri, default_location)
        facts = judge(revisions, columns, uri)
        _adopt(connection, facts, uri, default_location)
        return facts


def inspect(connection: sqlite3.Connection, uri: str) -> Facts | None:
    """As `prepare`, but nothing is written; None where MLflow's tables can be made."""
    with _explained(uri):
        revisions, columns = look(connection)
        if creatable(revisions, columns):
            return None
        return judge(revisions, columns, uri)


def statements() -> list[str]:
    """The statements of sqlite.sql, in order."""
    found: list[str] = []
    text = ""
    source = resources.files(__package__).joinpath("sqlite.sql").read_text("utf-8")
    for line in source.splitlines(keepends=True):
        if line.startswith("--"):
            continue
        text += line
        if sqlite3.complete_statement(text):
            found.append(text.strip())
            text = ""
    assert not text.strip(), "sqlite.sql ends inside a statement"
    return found


def look(connection: sqlite3.Connection) -> tuple[list[str], Columns]:
    """The rows of alembic_version, and every table that is there. Driver errors pass through."""
    columns: dict[str, dict[str, bool]] = {}
    rows = connection.execute(
        'SELECT m.name, c.name, c."notnull" AND c.dflt_value IS NULL AND c.hidden = 0'
        " AND NOT (c.pk AND upper(c.type) = 'INTEGER')"
        " FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS c"
        " WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    for table, column, required in rows:
        columns.setdefault(table, {})[column] = bool(required)
    revisions: list[str] = []
    if "version_num" in columns.get(STAMP, ()):
        revisions = [
            row[0] for row in connection.execute("SELECT version_num FROM alembic_version")
        ]
    return revisions, columns


def _create(connection: sqlite3.Connection, uri: str, default_location: str) -> Facts:
    # A second process waits here, and then finds what the first has made.
    with _transaction(connection):
        revisions, columns = look(connection)
        if not creatable(revisions, columns):
            facts = judge(revisions, columns, uri)
        else:
            if STAMP in columns:
                connection.execute(f"DROP TABLE {STAMP}")
            for statement in statements():
                connection.execute(statement)
            for sql, args in seed.new_database(default_location):
                connection.execute(sql.sqlite, args)
            return Facts(heads.CURRENT, look(connection)[1], created=True)
    _adopt(connection, facts, uri, default_location)
    return facts


def _adopt(connection: sqlite3.Connection, facts: Facts, uri: str, default_location: str) -> None:
    if seed.asks_workspace(facts):
        other = connection.execute(seed.OTHER_WORKSPACE.sqlite).fetchone()
        if other:
            raise UnusableDatabase(seed.other_workspace_text(uri, other[0]))
    if connection.execute(seed.HAS_DEFAULT_EXPERIMENT.sqlite).fetchone() is None:
        sql, args = seed.default_experiment(default_location)
        connection.execute(sql.sqlite, args)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise explained(error, uri) from error


def explained(error: sqlite3.Error, uri: str) -> UnusableDatabase:
    """The driver's error in words for the person who named the database."""
    name = getattr(error, "sqlite_errorname", "") or ""
    reason = next((text for start, text in _REASONS.items() if name.startswith(start)), str(error))
    transient = name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return UnusableDatabase(f"{uri}: {reason}.", transient=transient)
