"""The rows of a whole database in a comparable form: without random ids and current times."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

Table = list[dict[str, Any]]
_TABLES_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
_TABLES_POSTGRES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def tables(uri: str) -> dict[str, Table]:
    """Every table that has rows, as a list of column-to-value mappings."""
    found = {}
    with closing(connect(uri)) as connection:
        cursor = connection.cursor()
        cursor.execute(_TABLES_SQLITE if uri.startswith("sqlite") else _TABLES_POSTGRES)
        for (name,) in cursor.fetchall():
            cursor.execute(f'SELECT * FROM "{name}"')
            columns = [column[0] for column in cursor.description]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
            if rows:
                found[name] = rows
    return found


def counts(uri: str) -> dict[str, int]:
    """The number of rows of each table that is not empty."""
    return {name: len(rows) for name, rows in tables(uri).items()}


def connect(uri: str) -> Any:
    """A driver connection for reading."""
    if uri.startswith("sqlite"):
        return sqlite3.connect(f"file:{urlsplit(uri).path[1:]}?mode=ro", uri=True, timeout=30)
    return psycopg.connect(uri)


def comparable(found: dict[str, Table], now_ms: range) -> dict[str, list[str]]:
    """The tables as sorted lines of JSON; ids become names, times within `now_ms` become "now"."""
    names = dict(_names(found))
    pattern = re.compile("|".join(map(re.escape, names))) if names else None

    def plain(value: Any) -> Any:
        if isinstance(value, str) and pattern is not None:
            return pattern.sub(lambda m: names[m[0]], value)
        if isinstance(value, int) and value in now_ms:
            return "now"
        if isinstance(value, float | int | str) or value is None:
            return value
        return str(value)

    return {
        name: sorted(json.dumps({k: plain(v) for k, v in row.items()}, sort_keys=True) for row in rows)
        for name, rows in found.items()
    }  # fmt: skip


def _names(found: dict[str, Table]) -> Iterator[tuple[str, str]]:
    """Pairs of a random id and its replacement: a run's name, a dataset's name and digest, the ends of an input."""
    ends = {}
    for row in found.get("runs", []):
        ends[row["run_uuid"]] = f"run {row['name']}"
    for row in found.get("datasets", []):
        ends[row["dataset_uuid"]] = f"dataset {row['name']} {row['digest']}"
    yield from ends.items()
    for row in found.get("inputs", []):
        source, destination = (ends.get(row[k], row[k]) for k in ("source_id", "destination_id"))
        yield row["input_uuid"], f"input from {source} to {destination}"
