"""Statements on one SQLite connection."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from headrace.db.sqlite.errors import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Dialect, Row, Schema
    from headrace.db.sql import Bulk, Sql

# Rows of one statement in the event loop, about 0.5 ms; a longer result is read in a thread.
MAX_POINT_ROWS: Final = 500
# Rows that are fetched without a lock; see `SqliteDatabase._fetching`.
FEW_ROWS: Final = 500
# For a connection that no other thread fetches from at the same time.
ALONE: Final = nullcontext()
_to_json: Final = msgspec.json.Encoder().encode


class SqliteTx:
    """Statements on one connection; the methods never suspend."""

    __slots__ = ("_connection", "_fetching", "schema")
    dialect: Dialect = "sqlite"
    alone = False

    def __init__(
        self,
        connection: sqlite3.Connection,
        schema: Schema,
        fetching: AbstractContextManager[Any] = ALONE,
    ) -> None:
        """`fetching` is a lock that is held while many rows are fetched."""
        self._connection = connection
        self._fetching = fetching
        self.schema = schema

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        try:
            cursor = self._connection.execute(sql.sqlite, args)
            rows = cursor.fetchmany(FEW_ROWS)
            if len(rows) == FEW_ROWS:
                with self._fetching:
                    rows += cursor.fetchall()
        except sqlite3.Error as error:
            raise translate(error) from error
        return cast("list[Row]", rows)

    async def fetchrow(self, sql: Sql, *args: Any) -> Row | None:
        try:
            cursor = self._connection.execute(sql.sqlite, args)
            row = cursor.fetchone()
            cursor.close()
        except sqlite3.Error as error:
            raise translate(error) from error
        return cast("Row | None", row)

    async def execute(self, sql: Sql, *args: Any) -> int:
        try:
            return self._connection.execute(sql.sqlite, args).rowcount
        except sqlite3.Error as error:
            raise translate(error) from error

    def wrote(self, rows: int) -> None:
        """Does nothing: SQLite counts rows itself."""

    async def executemany(self, sql: Sql, rows: Sequence[Sequence[Any]]) -> int:
        try:
            return self._connection.executemany(sql.sqlite, rows).rowcount
        except sqlite3.Error as error:
            raise translate(error) from error

    async def copy_new(self, into: Bulk, rows: Sequence[Sequence[Any]]) -> bool:
        return False  # SQLite has no special method for many rows

    def array(self, values: Sequence[Any]) -> Any:
        return _to_json(values).decode()


class TooManyRows(Exception):
    """A point read found more rows than the event loop should wait for."""


class PointTx(SqliteTx):
    """A transaction in the event loop, which raises TooManyRows rather than block it."""

    __slots__ = ()

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        cursor = self._connection.execute(sql.sqlite, args)
        rows = cursor.fetchmany(MAX_POINT_ROWS + 1)
        if len(rows) > MAX_POINT_ROWS:
            cursor.close()
            raise TooManyRows
        return cast("list[Row]", rows)
