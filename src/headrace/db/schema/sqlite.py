"""MLflow's tables in a SQLite file, on a sqlite3 connection in autocommit mode."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Final

from headrace.db.schema import auth, heads, indexes, seed
from headrace.db.schema.auth import AuthFacts
from headrace.db.schema.facts import (
    STAMP,
    Columns,
    Facts,
    UnusableDatabase,
    can_create,
    check_schema,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_REASONS: Final = {  # by the beginning of SQLite's error name
    "SQLITE_NOTADB": "the file is not a SQLite database",
    "SQLITE_CORRUPT": "the file is damaged; restore a backup, or try: sqlite3 FILE .recover",
    "SQLITE_CANTOPEN": "the file cannot be opened; check its path and permissions",
    "SQLITE_READONLY": "the file or its directory cannot be written; check their permissions",
    "SQLITE_PERM": "no permission to open the file",
    "SQLITE_BUSY": "another process holds the file; stop its servers first, or try again when it has finished",
    "SQLITE_FULL": "the disk is full",
}

_OWN_INDEXES: Final = r"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'headrace\_%' ESCAPE '\'"


def prepare(
    connection: sqlite3.Connection, uri: str, default_location: str, *, workspaces: bool = False
) -> Facts:
    """The facts of a database that can be served; creates MLflow's tables in one without them.

    `uri`: for messages. `default_location`: artifact location of experiment 0. `connection`:
    isolation_level None, no transaction. `workspaces`: the server has them. Raises
    UnusableDatabase. Many processes may run it at once.
    """
    with _explained(uri):
        revisions, columns = read_tables(connection)
        if can_create(revisions, columns):
            return _create(connection, uri, default_location, workspaces=workspaces)
        facts = check_schema(revisions, columns, uri)
        _adopt(connection, facts, uri, default_location, workspaces=workspaces)
        return facts


def inspect(connection: sqlite3.Connection, uri: str) -> Facts | None:
    """As `prepare`, but writes nothing; None when MLflow's tables can be created."""
    with _explained(uri):
        revisions, columns = read_tables(connection)
        if can_create(revisions, columns):
            return None
        return check_schema(revisions, columns, uri)


def prepare_users(connection: sqlite3.Connection, uri: str) -> AuthFacts:
    """As `prepare`, for the tables of users, which other tables do not concern."""
    with _explained(uri):
        revisions, columns = read_tables(connection, auth.STAMP)
        if not auth.can_create(revisions, columns):
            return auth.check_schema(revisions, columns, uri)
        # A second process waits here, and then finds the tables of the first.
        with _transaction(connection):
            revisions, columns = read_tables(connection, auth.STAMP)
            if not auth.can_create(revisions, columns):
                return auth.check_schema(revisions, columns, uri)
            if auth.STAMP in columns:
                connection.execute(f"DROP TABLE {auth.STAMP}")
            for statement in statements("auth_sqlite.sql"):
                connection.execute(statement)
            connection.execute(auth.STAMP_HEAD.sqlite)
            _, columns = read_tables(connection, auth.STAMP)
        return AuthFacts(auth.HEAD, columns, created=True)


def inspect_users(connection: sqlite3.Connection, uri: str) -> AuthFacts | None:
    """As `prepare_users`, but writes nothing; None when the tables can be created."""
    with _explained(uri):
        revisions, columns = read_tables(connection, auth.STAMP)
        if auth.can_create(revisions, columns):
            return None
        return auth.check_schema(revisions, columns, uri)


def statements(file: str = "sqlite.sql") -> list[str]:
    """The statements of a file of this folder, in order."""
    found: list[str] = []
    text = ""
    source = resources.files(__package__).joinpath(file).read_text("utf-8")
    for line in source.splitlines(keepends=True):
        if line.startswith("--"):
            continue
        text += line
        if sqlite3.complete_statement(text):
            found.append(text.strip())
            text = ""
    assert not text.strip(), f"{file} ends inside a statement"
    return found


def read_tables(connection: sqlite3.Connection, stamp: str = STAMP) -> tuple[list[str], Columns]:
    """The rows of `stamp`, Alembic's table, and the columns of every table; headrace's indexes, without columns.

    Driver errors pass through.
    """
    columns: dict[str, dict[str, bool]] = {}
    rows = connection.execute(
        'SELECT m.name, c.name, c."notnull" AND c.dflt_value IS NULL AND c.hidden = 0'
        " AND NOT (c.pk AND upper(c.type) = 'INTEGER')"
        " FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS c"
        " WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    for table, column, required in rows:
        columns.setdefault(table, {})[column] = bool(required)
    for name, text in connection.execute(_OWN_INDEXES):
        if indexes.is_ours(name, text or ""):
            columns[name] = {}
    revisions: list[str] = []
    if "version_num" in columns.get(stamp, ()):
        revisions = [row[0] for row in connection.execute(f"SELECT version_num FROM {stamp}")]
    return revisions, columns


def _create(
    connection: sqlite3.Connection, uri: str, default_location: str, *, workspaces: bool
) -> Facts:
    # A second process waits here, and then finds the tables of the first.
    with _transaction(connection):
        revisions, columns = read_tables(connection)
        if not can_create(revisions, columns):
            facts = check_schema(revisions, columns, uri)
        else:
            if STAMP in columns:
                connection.execute(f"DROP TABLE {STAMP}")
            for statement in (*statements(), *indexes.of_new_databases("sqlite")):
                connection.execute(statement)
            for sql, args in seed.new_database(default_location):
                connection.execute(sql.sqlite, args)
            return Facts(heads.CURRENT, read_tables(connection)[1], created=True)
    _adopt(connection, facts, uri, default_location, workspaces=workspaces)
    return facts


def _adopt(
    connection: sqlite3.Connection,
    facts: Facts,
    uri: str,
    default_location: str,
    *,
    workspaces: bool,
) -> None:
    if workspaces:
        seed.check_workspaces(facts, uri)
    else:
        for table, sql in seed.of_other_workspaces(facts):
            if other := connection.execute(sql.sqlite).fetchone():
                raise UnusableDatabase(seed.other_workspace_text(uri, table, other[0]))
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
    """The driver's error with a text for the user."""
    name = getattr(error, "sqlite_errorname", "") or ""
    reason = next((text for start, text in _REASONS.items() if name.startswith(start)), str(error))
    transient = name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return UnusableDatabase(f"{uri}: {reason}.", transient=transient)
