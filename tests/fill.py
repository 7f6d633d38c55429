"""Inserts rows directly into a database when the API would take too long to create them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def fill(uri: str, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows, in their order, in one transaction."""
    if uri.startswith("sqlite"):
        places = ", ".join("?" * len(columns.split(",")))
        with closing(sqlite3.connect(urlsplit(uri).path[1:], timeout=30)) as file, file:
            file.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)
    else:
        with psycopg.connect(uri) as connection:
            copying = connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode())
            with copying as copied:
                for row in rows:
                    copied.write_row(row)
