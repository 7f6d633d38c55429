"""headrace creates the same schema as stock MLflow, and stock accepts it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import pytest
from tests.fix_postgres import fresh_database
from tests.sql.catalog import (
    Catalog,
    differences,
    postgres_catalog,
    sqlite_catalog,
    without_own_indexes,
)
from tests.sql.stock import Opened, open_stores

from headrace.db.schema import heads, indexes, postgres, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.db.schema.facts import Facts

LOCATION = "mlflow-artifacts:/0"


@dataclass
class Pair:
    """A database made by headrace, before and after stock MLflow opened it, and one made by stock."""

    facts: Facts
    before: Catalog
    after: Catalog
    opened: Opened
    stock: Catalog
    made: Opened


@pytest.fixture(scope="module")
def pairs(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str
) -> Iterator[dict[str, Pair]]:
    directory = tmp_path_factory.mktemp("pairs")
    ours, theirs = directory / "ours.db", directory / "theirs.db"
    with closing(sqlite3.connect(ours, isolation_level=None)) as connection:
        facts = sqlite.prepare(connection, "the file", LOCATION)

    async def prepare(uri: str) -> Facts:
        connection = await asyncpg.connect(uri)
        try:
            return await postgres.prepare(connection, "the database", LOCATION)
        finally:
            await connection.close()

    with fresh_database(postgres_server) as our_uri, fresh_database(postgres_server) as their_uri:
        pg_facts = asyncio.run(prepare(our_uri))
        before, pg_before = sqlite_catalog(ours), postgres_catalog(our_uri)
        opened = open_stores(f"sqlite:///{ours}", our_uri, f"sqlite:///{theirs}", their_uri)
        yield {
            "sqlite": Pair(
                facts, before, sqlite_catalog(ours), opened[0], sqlite_catalog(theirs), opened[2]
            ),
            "postgres": Pair(
                pg_facts,
                pg_before,
                postgres_catalog(our_uri),
                opened[1],
                postgres_catalog(their_uri),
                opened[3],
            ),
        }


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_a_new_database_equals_one_made_by_stock(pairs: dict[str, Pair], name: str) -> None:
    pair = pairs[name]
    assert pair.facts.created and pair.facts.head == heads.CURRENT and pair.facts.missing == ()
    assert "Creating initial" in pair.made.log
    assert without_own_indexes(differences(pair.before, pair.stock)) == []


@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_stock_opens_a_new_database_without_migrating_it(pairs: dict[str, Pair], name: str) -> None:
    pair = pairs[name]
    assert pair.opened.experiments == [["0", "Default", LOCATION]]
    assert "database tables" not in pair.opened.log
    assert differences(pair.after, pair.before) == []


async def test_tables_go_into_the_first_schema_of_the_search_path(postgres_empty_uri: str) -> None:
    connection = await asyncpg.connect(postgres_empty_uri)
    try:
        await connection.execute("CREATE SCHEMA mlops; SET search_path = mlops")
        facts = await postgres.prepare(connection, "it", LOCATION)
        assert facts.created and facts.missing == ()
        schemas = await connection.fetch(
            "SELECT schemaname, count(*) FROM pg_tables WHERE schemaname IN ('public', 'mlops') GROUP BY 1"
        )
        assert [tuple(row) for row in schemas] == [
            ("mlops", len(set(facts.columns) - {index.name for index in indexes.ALL}))
        ]
    finally:
        await connection.close()
