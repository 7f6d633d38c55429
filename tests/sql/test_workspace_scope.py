"""Every statement on a table with the column `workspace` finds and writes the rows of one workspace."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest
from tests.sql.dumps import restore_sqlite
from tests.sql.test_statements import NEWEST, statements

if TYPE_CHECKING:
    from headrace.db.sql import Sql

# Modules whose statements serve no request of a workspace, or look for rows of all of them.
OTHER_MODULES: Final = {
    "headrace.db.upkeep": "upkeep works on the whole database",
    "headrace.db.schema": "before requests are served",
    "headrace.auth.owners_sql": "owners of ids of a request, which are checked for themselves",
    "headrace.auth.foreign_sql": "the workspaces of ids of a request",
    "headrace.api.server.workspaces.deletion_sql.CONFLICTS": "names that `default` has as well",
    "headrace.api.accounts.grants": "rows that a grant names",
}
# Statements that find rows by ids, in a request or a group whose ids were checked before.
BY_ID: Final = {
    "headrace.api.tracking.runs.create_sql.LOCATIONS": "of the experiments of a group of new runs",
    "headrace.api.tracking.runs.create_sql.CREATE": "the same",
    "headrace.api.tracking.runs.create_sql.CREATE_ALONE": "the same",
    "headrace.api.traces.traces.single_sql.WRITE": "of the experiment of a new trace",
    "headrace.api.traces.traces.write_sql.EXPERIMENTS": "of the experiments of a group of traces",
}
# A row that is joined by its id belongs to the workspace of the row that refers to it.
_TABLES: Final = re.compile(
    r"\b(?:FROM|INTO|UPDATE|JOIN(?!\s+\w+\s+\w\s+ON\s+\w\.\w+_id = \w\.\w+_id))\s+(\w+)",
    re.IGNORECASE,
)
# A server with workspaces has no table without the column.
_WITHOUT_COLUMN: Final = ("._plain", "_WITHOUT_WORKSPACES")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The tables that have the column."""
    path = restore_sqlite(NEWEST, tmp_path_factory.mktemp("scope") / "newest.db")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c"
            " WHERE m.type = 'table' AND c.name = 'workspace'"
        )
        return frozenset(name for (name,) in rows)


def unscoped(where: str, sql: Sql, tables: frozenset[str]) -> list[str]:
    """The tables with the column that a statement uses without a workspace."""
    text = getattr(sql, "postgres", None) or sql.sqlite
    used = {name.lower() for name in _TABLES.findall(text)} & tables
    if not used or where.startswith(tuple(OTHER_MODULES)) or where.endswith(_WITHOUT_COLUMN):
        return []
    other = sql.scoped("team-a")
    scoped = getattr(other, "postgres", None) or other.sqlite
    # Each use of such a table needs a condition, or the column and the value of an INSERT.
    uses = sum(name.lower() in tables for name in _TABLES.findall(text))
    return sorted(used) if scoped.count("'team-a'") < uses else []


def test_no_statement_escapes_its_workspace(tables: frozenset[str]) -> None:
    found = {
        where: names
        for where, sql in statements()
        if (names := unscoped(where, sql, tables)) and where not in BY_ID
    }
    assert found == {}


def test_the_list_of_statements_by_id_is_current(tables: frozenset[str]) -> None:
    named = dict(statements())
    assert [where for where in BY_ID if not unscoped(where, named[where], tables)] == []
