"""Stock MLflow and headrace take turns on one database and leave the same rows as either alone."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests import rows
from tests.fix_clients import mlflow3
from tests.fix_postgres import fresh_database
from tests.fix_server import headrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]

# The program that plays each of the three acts.
ORDERS = {
    "stock alone": ("stock", "stock", "stock"),
    "headrace alone": ("headrace", "headrace", "headrace"),
    "there and back": ("stock", "headrace", "stock"),
    "back and there": ("headrace", "stock", "headrace"),
}
Played = tuple[dict[str, list[str]], list[Any]]


@pytest.fixture(scope="session")
def played(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Played]]:
    """Play the acts once per order, each on its own database; the rows, and the data that each act read."""
    results: dict[str, Played] = {}
    # Requested here and not at the first order, so that it outlives its databases.
    server = request.getfixturevalue("postgres_server") if database == "postgres" else None
    with contextlib.ExitStack() as stack:

        def once(order: str) -> Played:
            if order not in results:
                directory = tmp_path_factory.mktemp(order.replace(" ", "-"))
                uri = f"sqlite:///{directory}/mlflow.db"
                if server is not None:
                    uri = stack.enter_context(fresh_database(server))
                results[order] = play(ORDERS[order], uri, directory)
            return results[order]

        yield once


def play(tellers: tuple[str, ...], uri: str, directory: Path) -> Played:
    """Play the acts; each program opens the database and closes it."""
    started_ms = int(time.time() * 1000)
    read = []
    for act, teller in enumerate(tellers, start=1):
        if teller == "stock":
            read.append(mlflow3().run("story.py", str(act), uri=uri, directory=directory))
            continue
        with headrace(uri, directory) as server:
            read.append(mlflow3().run("story.py", str(act), uri=server.url, directory=directory))
    found = rows.tables(uri)
    for experiment in found["experiments"]:
        if experiment["experiment_id"] == 0:
            # The artifact location of the default experiment depends on the first program to open the database.
            experiment["artifact_location"] = None
    return rows.comparable(found, range(started_ms, int(time.time() * 1000) + 1)), read


@pytest.mark.parametrize("order", [name for name in ORDERS if name != "stock alone"])
def test_the_rows_are_those_that_stock_alone_leaves(
    played: Callable[[str], Played], order: str
) -> None:
    expected, _ = played("stock alone")
    found, _ = played(order)
    assert set(found) == set(expected)
    for table, lines in expected.items():
        assert found[table] == lines, table


@pytest.mark.parametrize("order", [name for name in ORDERS if name != "stock alone"])
def test_every_act_reads_the_same_as_with_stock_alone(
    played: Callable[[str], Played], order: str
) -> None:
    _, expected = played("stock alone")
    _, read = played(order)
    for act, (ours, stock) in enumerate(zip(read, expected, strict=True), start=1):
        assert ours == stock, f"act {act}"
