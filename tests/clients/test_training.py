"""Real trainings with real clients: headrace's answers equal the data that stock MLflow reads from the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_clients import mlflow3
from tests.fix_database import empty_database
from tests.fix_server import headrace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_clients import Client
    from tests.fix_server import Server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]


@pytest.fixture(scope="session")
def uri(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URI of one empty database for all tests."""
    with empty_database(database, request, tmp_path_factory.mktemp("training")) as found:
        yield found


@pytest.fixture(scope="session")
def server(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """headrace on it."""
    with headrace(uri, tmp_path_factory.mktemp("server")) as running:
        yield running


def test_a_training_reads_back_as_stock_reads_it(
    client: Client, server: Server, uri: str, tmp_path: Path
) -> None:
    name = f"training with {client.name}"
    trained = client.run("train.py", name, uri=server.url, directory=tmp_path)
    experiment = trained["experiment_id"]
    through_headrace = client.run("dump.py", experiment, uri=server.url, directory=tmp_path)
    by_stock = mlflow3().run("dump.py", experiment, uri=uri, directory=tmp_path)
    if client.name == "mlflow 2.22":
        # That client has no logged models and shows no such link.
        assert not any(m["in"] or m["out"] for m in through_headrace.pop("models").values())
        by_stock.pop("models")
    assert through_headrace == by_stock
    check_training(through_headrace, trained["runs"])


def check_training(shown: dict[str, Any], runs: dict[str, str]) -> None:
    """All data of the training is shown, whether logged by hand or by autolog."""
    autologged = shown["runs"][runs["autologged"]]
    assert autologged["info"]["status"] == "FINISHED"
    assert autologged["params"]["solver"] == "liblinear"
    assert "training_accuracy_score" in autologged["metrics"]
    assert autologged["inputs"], "autolog logs the training data as an input"
    children = [
        run
        for run in shown["runs"].values()
        if run["tags"].get("mlflow.parentRunId") == runs["searched"]
    ]
    assert len(children) == 3
    by_hand = shown["runs"][runs["by_hand"]]
    assert by_hand["metrics"]["nan"] == "nan"
    assert by_hand["metrics"]["inf"] == "1.7976931348623157e+308"
    assert by_hand["params"]["unicode"] == "значение 🚀"
    assert len(by_hand["metrics"]) == 154
    series = shown["runs"][runs["in_batches"]]["histories"]["wave"]
    assert [step for _, _, step in series] == list(range(1000))
    assert len(shown["found"]) == 3
    assert shown["frame"]["run_id"], "search_runs gives a DataFrame with rows"


def test_set_experiment_from_eight_processes_at_once_makes_one_experiment(
    client: Client, server: Server, tmp_path: Path
) -> None:
    for attempt in range(3):
        name = f"at once {client.name} {attempt}"
        ids = client.run("set_experiment.py", name, "8", uri=server.url, directory=tmp_path)
        assert len(ids) == 8
        assert len(set(ids)) == 1, ids
        assert ids[0].isdecimal(), ids
