"""headrace's indexes on a SQLite file.

SQLite creates an index in one transaction, in which no other connection can write; reads continue.
So each index has a transaction of its own, and its table is read before, outside of it.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from headrace.db.schema import indexes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from headrace.db.schema.indexes import Index

_STATEMENT: Final = "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?"


def create(
    connection: sqlite3.Connection,
    wanted: Iterable[Index],
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> list[str]:
    """Create the indexes that do not exist, or that a migration changed; return lines for people."""
    lines = []
    chosen = list(wanted)
    for number, index in enumerate(chosen):
        found = connection.execute(_STATEMENT, (index.name,)).fetchone()
        if found is not None and indexes.is_ours(index.name, found[0] or ""):
            lines.append(f"exists: {index.name}, for {index.use}")
            continue
        progress(number, len(chosen), f"{index.name}: reading the table")
        # From now on the pages are in the cache of the system, and the lock is short.
        connection.execute(f"SELECT count(*) FROM {index.table} NOT INDEXED").fetchone()
        progress(number, len(chosen), f"{index.name}: creating; writes wait")
        started_s = perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(f"DROP INDEX IF EXISTS {index.name}")
            connection.execute(index.statement("sqlite"))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        lines.append(
            f"made: {index.name}, for {index.use} (writes waited {perf_counter() - started_s:.1f} s)"
        )
    return lines


def drop(connection: sqlite3.Connection) -> list[str]:
    """Drop every index of headrace; return lines for people."""
    lines = []
    for index in indexes.ALL:
        if connection.execute(_STATEMENT, (index.name,)).fetchone():
            connection.execute(f"DROP INDEX {index.name}")
            lines.append(f"dropped: {index.name}")
    return lines
