"""The population of search_population.py on both databases, loaded once a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fix_postgres import fresh_database
from tests.search_population import PostgresSearch, SqliteSearch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteSearch]:
    """The rows in an SQLite file."""
    search = SqliteSearch(str(tmp_path_factory.mktemp("search") / "mlflow.db"))
    yield search
    search.close()


@pytest.fixture(scope="session")
def on_postgres(postgres_server: str, postgres_template: str) -> Iterator[PostgresSearch]:
    """The rows in a PostgreSQL database."""
    with fresh_database(postgres_server, postgres_template) as uri:
        search = PostgresSearch(uri)
        yield search
        search.close()
