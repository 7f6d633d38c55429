"""The database under test: which kinds a test runs on (`--db=sqlite`, `--db=postgres`, or both), and its URI."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.fix_postgres import fresh_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASES = ("sqlite", "postgres")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the whole suite."""
    parser.addoption(
        "--db",
        choices=(*DATABASES, "both"),
        default="both",
        help="database under test (default: both, one after the other)",
    )
    parser.addoption(
        "--subject",
        choices=("headrace", "stock"),
        default="headrace",
        help="server that the differential suite compares with stock MLflow",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that run on each database, so that the others need not run twice."""
    if "database" in getattr(item, "fixturenames", ()):
        item.add_marker("on_database")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that uses `database` on each database that was chosen."""
    if "database" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--db")
        names = DATABASES if chosen == "both" else (chosen,)
        metafunc.parametrize("database", names, scope="session")


@contextmanager
def empty_database(
    database: str, request: pytest.FixtureRequest, directory: Path, name: str = "mlflow"
) -> Iterator[str]:
    """The URI of a database without tables: the file `name`.db in `directory`, or a database on `postgres_server`."""
    if database == "sqlite":
        yield f"sqlite:///{directory}/{name}.db"
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as uri:
        yield uri


@pytest.fixture
def empty_uri(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URI of a database without tables, of the kind under test."""
    with empty_database(database, request, tmp_path) as uri:
        yield uri


@pytest.fixture
def uri(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of a new database of the kind under test.

    On PostgreSQL it has MLflow's tables, because a copy of a database is faster than a new schema.
    """
    if database == "sqlite":
        return f"sqlite:///{tmp_path}/mlflow.db"
    found: str = request.getfixturevalue("postgres_uri")
    return found
