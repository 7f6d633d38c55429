"""headrace gives the recorded answers of a stock server for the gateway's settings, without the bridge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.compat.examples import Replay, load
from tests.fix_database import empty_database
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.compat
FILE = Path(__file__).with_name("examples-genai.jsonl")
# Recorded requests that headrace leaves to stock: calls of models.
BRIDGED: Final = frozenset(range(524, 527))


@pytest.fixture
def wire(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wire]:
    """A connection to headrace without the bridge, on an empty database."""
    with (
        empty_database(database, request, tmp_path) as uri,
        headrace(uri, tmp_path, environment={"HEADRACE_BRIDGE": "off"}) as server,
        Wire(server.url) as connection,
    ):
        for name in ("one", "two"):  # so that ids of experiments are as recorded
            body = json.dumps({"name": name}).encode()
            path = "/api/2.0/mlflow/experiments/create"
            connection.ask("POST", path, body, {"Content-Type": "application/json"})
        yield connection


def test_recorded_requests_are_answered_as_stock_answered(wire: Wire) -> None:
    replay = Replay(wire)
    wrong = {
        example.number: found
        for example in load(("gateway",), FILE)
        if example.number not in BRIDGED and (found := replay.play(example)[2])
    }
    assert not wrong, json.dumps(wrong, indent=1)
