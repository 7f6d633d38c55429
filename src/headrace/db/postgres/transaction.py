"""Statements on one PostgreSQL connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import asyncpg

from headrace.db.base import COPY_ROWS
from headrace.db.errors import NotNew, UniqueViolation
from headrace.db.postgres.errors import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Dialect, Row, RowCount, Schema
    from headrace.db.postgres.pool import Connection
    from headrace.db.sql import Bulk, Sql


class PostgresTx:
    """Statements on one connection."""

    __slots__ = ("_connection", "_copies", "_row_count", "alone", "schema")
    dialect: Dialect = "postgres"

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        row_count: RowCount,
        *,
        alone: bool = False,
        copies: bool = False,
    ) -> None:
        self._connection = connection
        self.schema = schema
        self.alone = alone
        self._copies = copies
        self._row_count = row_count

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        try:
            return cast("list[Row]", await self._connection.fetch(sql.postgres, *args))
        except asyncpg.PostgresError as error:
            raise translate(error) from error

    async def fetchrow(self, sql: Sql, *args: Any) -> Row | None:
        try:
            return cast("Row | None", await self._connection.fetchrow(sql.postgres, *args))
        except asyncpg.PostgresError as error:
            raise translate(error) from error

    async def execute(self, sql: Sql, *args: Any) -> int:
        try:
            status: str = await self._connection.execute(sql.postgres, *args)
        except asyncpg.PostgresError as error:
            raise translate(error) from error
        touched = int(status.rsplit(" ", 1)[-1])
        self._row_count.rows += touched
        return touched

    async def executemany(self, sql: Sql, rows: Sequence[Sequence[Any]]) -> int:
        return await self.execute(sql, *zip(*rows, strict=True))

    def wrote(self, rows: int) -> None:
        self._row_count.rows += rows

    async def copy_new(self, into: Bulk, rows: Sequence[Sequence[Any]]) -> bool:
        if not self._copies or len(rows) < COPY_ROWS:
            return False
        try:
            await self._connection.copy_records_to_table(
                into.table, records=rows, columns=into.columns
            )
        except asyncpg.PostgresError as error:
            known = translate(error)
            raise NotNew(known.text) if isinstance(known, UniqueViolation) else known from error
        self._row_count.rows += len(rows)
        return True

    def array(self, values: Sequence[Any]) -> Any:
        return values
