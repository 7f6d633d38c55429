"""Real clients use datasets, scorers and review queues: they read from headrace what they read from stock.

Both serve one database: what one has made, the other changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from tests.fix_database import empty_database
from tests.fix_server import headrace, stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_clients import Client
    from tests.fix_server import Server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]
# The server of each of the two acts.
ORDERS: Final = (
    ("stock", "stock"),
    ("headrace", "headrace"),
    ("stock", "headrace"),
    ("headrace", "stock"),
)


@pytest.fixture(scope="module")
def servers(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """Stock, and headrace without the bridge, on one database."""
    directory = tmp_path_factory.mktemp(f"evaluation-{database}")
    off = {"HEADRACE_BRIDGE": "off"}
    with (
        empty_database(database, request, directory) as uri,
        stock(uri, directory) as theirs,
        headrace(uri, directory, environment=off) as ours,
    ):
        yield {"stock": theirs, "headrace": ours}


def test_both_acts_read_the_same_whoever_serves_them(
    tracing_client: Client, servers: dict[str, Server], tmp_path: Path
) -> None:
    read = {}
    for order in ORDERS:
        name = f"{tracing_client.name}: {' and '.join(order)}"
        read[order] = [
            tracing_client.run(
                "evaluation.py", name, str(act), uri=servers[which].url, directory=tmp_path
            )
            for act, which in enumerate(order, start=1)
        ]
    expected = read[ORDERS[0]]
    assert len(expected[0]["rows"]) == 121
    assert len(expected[1]["scorers"]) == 3
    for order in ORDERS[1:]:
        assert read[order] == expected, order
