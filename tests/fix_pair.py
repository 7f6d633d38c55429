"""A stock server and a headrace server side by side, each on a database of its own."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.fix_database import empty_database
from tests.fix_server import headrace, stock
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Pair:
    """Connections to both servers. `subject` is what plays our side: headrace, or stock again.

    `prefix` differs by database, so that both of MLflow's prefixes are exercised by every dialogue.
    The texts of a server are what it says of itself (its address, its directory), with a common name.
    """

    database: str
    prefix: str
    subject: str
    stock: Wire
    ours: Wire
    stock_texts: dict[str, str]
    our_texts: dict[str, str]

    def level(self) -> None:
        """Bring both servers to the same next experiment id: what one alone refused has moved them apart."""
        stock, ours = new_experiment(self.stock), new_experiment(self.ours)
        while stock != ours:
            if stock < ours:
                stock = new_experiment(self.stock)
            else:
                ours = new_experiment(self.ours)


def new_experiment(wire: Wire) -> int:
    """The id of a new experiment with a random name."""
    body = json.dumps({"name": uuid.uuid4().hex}).encode()
    path = "/api/2.0/mlflow/experiments/create"
    answer = wire.ask("POST", path, body, {"Content-Type": "application/json"})
    return int(answer.json()["experiment_id"])


@pytest.fixture(scope="session")
def pair(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Both servers, ready, on empty databases of the kind under test."""
    subject = request.config.getoption("--subject")
    with ExitStack() as stack:
        wires, texts = [], []
        for name, start in (
            ("stock", stock),
            ("ours", headrace if subject == "headrace" else stock),
        ):
            directory = tmp_path_factory.mktemp(f"{name}-{database}")
            uri = stack.enter_context(empty_database(database, request, directory))
            started = stack.enter_context(start(uri, directory))
            wires.append(stack.enter_context(Wire(started.url)))
            texts.append({str(directory): "<directory>", started.url: "<server>"})
        prefix = "/api" if database == "sqlite" else "/ajax-api"
        yield Pair(database, prefix, subject, *wires, *texts)
