"""Stock MLflow and headrace take turns on one database; the rows are what either alone would have left."""

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

# Who tells each of the three acts.
TELLINGS = {
    "stock alone": ("stock", "stock", "stock"),
    "headrace alone": ("headrace", "headrace", "headrace"),
    "there and back": ("stock", "headrace", "stock"),
    "back and there": ("headrace", "stock", "headrace"),
}
Told = tuple[dict[str, list[str]], list[Any]]


@pytest.fixture(scope="session")
def tell(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Told]]:
    """Tells the story on a database of its own, once per telling: the rows left, and what each act read."""
    told: dict[str, Told] = {}
    # Asked for here and not at the first telling, so that it outlives the databases on it.
    server = request.getfixturevalue("postgres_server") if database == "postgres" else None
    with contextlib.ExitStack() as stack:

        def once(telling: str) -> Told:
            if telling not in told:
                directory = tmp_path_factory.mktemp(telling.replace(" ", "-"))
                uri = f"sqlite:///{directory}/mlflow.db"
                if server is not None:
                    uri = stack.enter_context(fresh_database(server))
                told[telling] = play(TELLINGS[telling], uri, directory)
            return told[telling]

        yield once


def play(tellers: tuple[str, ...], uri: str, directory: Path) -> Told:
    """Play the acts; each teller opens the database anew and lets go of it."""
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
            # Where the default experiment keeps artifacts is a setting of whoever opens the database first.
            experiment["artifact_location"] = None
    return rows.comparable(found, range(started_ms, int(time.time() * 1000) + 1)), read


@pytest.mark.parametrize("telling", [name for name in TELLINGS if name != "stock alone"])
def test_the_rows_are_those_that_stock_alone_leaves(
    tell: Callable[[str], Told], telling: str
) -> None:
    expected, _ = tell("stock alone")
    found, _ = tell(telling)
    assert set(found) == set(expected)
    for table, lines in expected.items():
        assert found[table] == lines, table


@pytest.mark.parametrize("telling", [name for name in TELLINGS if name != "stock alone"])
def test_every_act_reads_what_it_reads_of_stock_alone(
    tell: Callable[[str], Told], telling: str
) -> None:
    _, expected = tell("stock alone")
    _, read = tell(telling)
    for act, (ours, stock) in enumerate(zip(read, expected, strict=True), start=1):
        assert ours == stock, f"act {act}"
