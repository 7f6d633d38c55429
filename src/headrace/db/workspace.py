"""A database of which one workspace is used: its transactions run their statements for this workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.contract.workspaces import DEFAULT, workspace_not_found
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from headrace.db.base import Database, Load, Row, Tx

T = TypeVar("T")
_EXISTS: Final = Sql("SELECT 1 FROM workspaces WHERE name = $1 {for share}")


class TxIn:
    """A transaction whose statements are those of one workspace (`Sql.scoped`)."""

    __slots__ = ("_name", "_tx", "alone", "array", "copy_new", "dialect", "schema", "wrote")

    def __init__(self, tx: Tx, name: str) -> None:
        self._tx = tx
        self._name = name
        self.dialect = tx.dialect
        self.schema = tx.schema
        self.alone = tx.alone
        self.array = tx.array
        self.copy_new = tx.copy_new  # only into tables without the column
        self.wrote = tx.wrote

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        return await self._tx.fetch(sql.scoped(self._name), *args)

    async def fetchrow(self, sql: Sql, *args: Any) -> Row | None:
        return await self._tx.fetchrow(sql.scoped(self._name), *args)

    async def execute(self, sql: Sql, *args: Any) -> int:
        return await self._tx.execute(sql.scoped(self._name), *args)

    async def executemany(self, sql: Sql, rows: Sequence[Sequence[Any]]) -> int:
        return await self._tx.executemany(sql.scoped(self._name), rows)


async def _in_workspace(tx: Tx, name: str, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    return await fn(TxIn(tx, name), *args)


async def _in_existing_workspace(
    tx: Tx, name: str, fn: Callable[..., Awaitable[T]], *args: Any
) -> T:
    """The same in a workspace that nobody deletes before the transaction ends.

    Otherwise the transaction could add rows to a workspace that is gone.
    """
    if await tx.fetchrow(_EXISTS, name) is None:
        raise workspace_not_found(name)
    return await fn(TxIn(tx, name), *args)


class DatabaseIn:
    """One workspace of a `Database`. Closing it is the task of the database's owner."""

    def __init__(self, db: Database, name: str) -> None:
        self._db = db
        self._name = name
        self.dialect = db.dialect
        self.schema = db.schema
        self.write_lanes = db.write_lanes
        self.row_count = db.row_count
        self.replicas = db.replicas

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await self._db.read(_in_workspace, self._name, fn, *args)

    async def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await self._db.read_point(_in_workspace, self._name, fn, *args)

    def version(self) -> int | None:
        return self._db.version()

    async def read_by_keys(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        return await self._db.read_by_keys(_in_workspace, self._name, fn, *args)

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        inside = _in_workspace if self._name == DEFAULT else _in_existing_workspace
        return await self._db.write(inside, self._name, fn, *args)

    async def write_group(
        self, fn: Callable[..., Awaitable[T]], *args: Any, lock_s: float, alone: bool = False
    ) -> T:
        return await self._db.write_group(
            _in_workspace, self._name, fn, *args, lock_s=lock_s, alone=alone
        )

    async def ping(self) -> None:
        await self._db.ping()

    def load(self) -> Mapping[str, Load]:
        return self._db.load()

    async def close(self) -> None:
        await self._db.close()
