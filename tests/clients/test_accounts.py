"""The clients' methods for users, roles and permissions get from headrace what they get from stock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_logins import ADMIN, ADMIN_PASSWORD, with_users
from tests.fix_server import stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_clients import Client

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def stock_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A stock server with users."""
    directory = tmp_path_factory.mktemp("stock")
    with with_users(f"sqlite:///{directory}/mlflow.db", directory, start=stock) as server:
        yield server.url


@pytest.fixture
def url(uri: str, tmp_path: Path) -> Iterator[str]:
    """A headrace server with users."""
    with with_users(uri, tmp_path) as server:
        yield server.url


def call(client: Client, url: str, directory: Path) -> list[Any]:
    version = "2" if client.name == "mlflow 2.22" else "3"
    login = {"MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": ADMIN_PASSWORD}
    found: list[Any] = client.run(
        "accounts.py", version, "ann", uri=url, directory=directory, environment=login
    )
    return found


def test_every_method_gets_what_stock_answers(
    client: Client, url: str, stock_url: str, tmp_path: Path
) -> None:
    got = call(client, url, tmp_path)
    assert got == call(client, stock_url, tmp_path)
    assert len(got) >= 5
