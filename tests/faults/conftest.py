"""Fixtures of the fault tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults.fuzzed import ENVIRONMENT, OPTIONS, populate
from tests.fix_database import empty_database
from tests.fix_server import headrace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server


@pytest.fixture(scope="module")
def populated_server(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, dict[str, list[str]]]]:
    """A server with runs, models and experiments, and the values of fields that find them."""
    directory = tmp_path_factory.mktemp("populated")
    with (
        empty_database(database, request, directory) as uri,
        headrace(uri, directory, *OPTIONS, environment=ENVIRONMENT) as server,
    ):
        yield server, populate(server.url)
