"""Which databases a test runs on: `--db=sqlite`, `--db=postgres`, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

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
        help="what the differential suite compares with stock MLflow",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what runs once on each database, so that the rest need not run twice."""
    if "database" in getattr(item, "fixturenames", ()):
        item.add_marker("on_database")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for `database` on each database that was chosen."""
    if "database" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--db")
        names = DATABASES if chosen == "both" else (chosen,)
        metafunc.parametrize("database", names, scope="session")
