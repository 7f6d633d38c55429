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
    """Connections to both servers. `subject` is the server on our side: headrace, or stock again.

    `prefix` differs by database, so that every dialogue uses both of MLflow's prefixes.
    `stock_texts` and `our_texts` map a server's own address and directory to a common name.
    """

    database: str
    prefix: str
    subject: str
    stock: Wire
    ours: Wire
    stock_texts: dict[str, str]
    our_texts: dict[str, str]
    stock_uri: str
    our_uri: str

    def level(self) -> None:
        """Create experiments until the next id of both is the same; it differs after a request that one refused."""
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
        wires, texts, uris = [], [], []
        for name, start in (
            ("stock", stock),
            ("ours", headrace if subject == "headrace" else stock),
        ):
            directory = tmp_path_factory.mktemp(f"{name}-{database}")
            uri = stack.enter_context(empty_database(database, request, directory))
            options = () if start is stock else ("--chart-sampling", "stock")
            started = stack.enter_context(start(uri, directory, *options))
            wires.append(stack.enter_context(Wire(started.url)))
            uris.append(uri)
            texts.append({str(directory): "<directory>", started.url: "<server>"})
        prefix = "/api" if database == "sqlite" else "/ajax-api"
        yield Pair(database, prefix, subject, *wires, *texts, *uris)
