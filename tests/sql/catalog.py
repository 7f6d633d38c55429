"""The structure and rows of a database as comparable values, independent of time and order."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from pathlib import Path

Catalog = dict[str, Any]
# In the list of objects of SQLite, and in those of the indexes of both databases.
_OWN_INDEX = re.compile(r"(objects|indexes), (first|second) only: \(('index', )?'headrace_")

_POSTGRES = {
    "columns": """
        SELECT c.relname, c.relkind::text,
               row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
               a.attgenerated::text, a.attcollation,
               pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = current_schema()::regnamespace AND a.attnum > 0
          AND NOT a.attisdropped AND c.relkind <> 'i'""",
    # NOT NULL is a constraint with a name since PostgreSQL 18; stock's migrations leave old names there.
    "constraints": """
        SELECT c.relname, k.conname, pg_get_constraintdef(k.oid), k.convalidated
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        WHERE k.connamespace = current_schema()::regnamespace AND k.contype <> 'n'""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    "triggers": """
        SELECT tgname, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
        WHERE NOT tgisinternal""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace""",
    "sequences": """
        SELECT sequencename, data_type::text, start_value, min_value, max_value, increment_by, cycle,
               cache_size, last_value
        FROM pg_sequences WHERE schemaname = current_schema()""",
    "owned sequences": """
        SELECT s.relname, t.relname, d.refobjsubid, d.deptype::text
        FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        JOIN pg_class t ON t.oid = d.refobjid WHERE d.deptype IN ('a', 'i')""",
}


def sqlite_catalog(path: Path) -> Catalog:
    """Tables, columns, keys, indexes, triggers, rows and file settings of an SQLite file."""
    with closing(sqlite3.connect(path)) as connection:

        def ask(sql: str) -> list[Any]:
            return connection.execute(sql).fetchall()

        objects = ask("SELECT type, name, tbl_name, sql FROM sqlite_master")
        tables = sorted(name for kind, name, _, _ in objects if kind == "table")
        return {
            "objects": sorted(
                (kind, name, table, _parts(sql)) for kind, name, table, sql in objects
            ),
            "columns": {table: ask(f"PRAGMA table_xinfo('{table}')") for table in tables},
            "keys": {table: sorted(ask(f"PRAGMA foreign_key_list('{table}')")) for table in tables},
            "indexes": {
                name: ask(f"PRAGMA index_xinfo('{name}')")
                for kind, name, _, _ in objects
                if kind == "index"
            },
            "rows": {table: _timeless(ask(f"SELECT * FROM '{table}'")) for table in tables},
            "settings": [ask(f"PRAGMA {name}") for name in ("user_version", "application_id")],
        }


def postgres_catalog(uri: str) -> Catalog:
    """Columns, constraints, indexes, triggers, functions, sequences and rows of a PostgreSQL database."""
    with psycopg.connect(uri) as connection:

        def ask(sql: str) -> list[Any]:
            return sorted(connection.execute(sql.encode()).fetchall(), key=repr)

        catalog: Catalog = {name: ask(sql) for name, sql in _POSTGRES.items()}
        tables = sorted({row[0] for row in catalog["columns"] if row[1] == "r"})
        catalog["rows"] = {table: _timeless(ask(f'SELECT * FROM "{table}"')) for table in tables}
        return catalog


def differences(one: Catalog, other: Catalog) -> list[str]:
    """The differences of two catalogs. (pytest takes minutes to describe them.)"""
    found: list[str] = []
    for part in one.keys() | other.keys():
        left, right = (
            {repr(item) for item in (value.items() if isinstance(value, dict) else value)}
            for value in (one.get(part, ()), other.get(part, ()))
        )
        found += [f"{part}, first only: {item}" for item in left - right]
        found += [f"{part}, second only: {item}" for item in right - left]
    return sorted(found)


def without_own_indexes(found: list[str]) -> list[str]:
    """The differences that are not indexes of headrace. There must be some of these."""
    others = [line for line in found if not _OWN_INDEX.match(line)]
    assert len(others) < len(found), "headrace's indexes are missing"
    return others


def _timeless(rows: list[Any]) -> list[Any]:
    """Rows with a placeholder for every time in milliseconds."""
    return [
        tuple("a time" if isinstance(value, int) and value > 10**12 else value for value in row)
        for row in rows
    ]


def _parts(sql: str | None) -> list[str]:
    """The sorted lines of a CREATE statement: stock's order of constraints varies."""
    return sorted(line.strip().rstrip(", ").replace('"', "") for line in (sql or "").splitlines())
