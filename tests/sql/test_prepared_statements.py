"""Clients cannot choose how many prepared statements a connection keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.db.open import open_database
from headrace.db.postgres.connection import SEARCH_STATEMENTS
from headrace.db.sql import Sql
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from headrace.db.base import Tx

COUNT = Sql("SELECT count(*) FROM pg_prepared_statements")


async def test_a_connection_keeps_the_searches_used_last(postgres_uri: str) -> None:
    async def search(tx: Tx, number: int) -> int:
        await tx.fetch(Sql(f"SELECT {number} FROM runs"))
        return int((await tx.fetch(COUNT))[0][0])

    database = await open_database(Settings(backend_store_uri=postgres_uri, postgres_connections=1))
    try:
        counts = [await database.read(search, number) for number in range(SEARCH_STATEMENTS + 20)]
    finally:
        await database.close()
    assert max(counts) == SEARCH_STATEMENTS
