"""The model registry under concurrent writers on real servers: version numbers, aliases, tags of logged models."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_database import empty_database
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = {"Content-Type": "application/json"}
WRITERS = 6
EACH = 8


class Client:
    """Calls of one server, on a connection of its own."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def send(self, method: str, path: str, **body: object) -> tuple[int, Any]:
        """Status and answer of a request."""
        data = json.dumps(body).encode()
        answer = self.wire.ask(method, f"/api/2.0/mlflow/{path}", data, JSON)
        return answer.status, answer.json()

    def ok(self, method: str, path: str, **body: object) -> Any:
        """The answer of a request that succeeds."""
        status, answer = self.send(method, path, **body)
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def urls(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """Servers on one database: two on PostgreSQL, one on SQLite."""
    directory = tmp_path_factory.mktemp("registry")
    with ExitStack() as stack:
        uri = stack.enter_context(empty_database(database, request, directory))
        count = 1 if database == "sqlite" else 2
        yield [stack.enter_context(headrace(uri, directory)).url for _ in range(count)]


@pytest.fixture
def client(urls: list[str]) -> Iterator[Client]:
    """Calls of the first server."""
    with Wire(urls[0]) as wire:
        yield Client(wire)


def together(urls: list[str], write: Any) -> list[Any]:
    """The results of `write(client, writer, turn)` for every turn of concurrent writers."""

    def turns(writer: int) -> list[Any]:
        with Wire(urls[writer % len(urls)]) as wire:
            return [write(Client(wire), writer, turn) for turn in range(EACH)]

    with ThreadPoolExecutor(WRITERS) as pool:
        return [result for results in pool.map(turns, range(WRITERS)) for result in results]


def test_versions_made_at_once_are_numbered_without_gap_or_repetition(
    urls: list[str], client: Client
) -> None:
    client.ok("POST", "registered-models/create", name="numbers")

    def create(client: Client, writer: int, turn: int) -> int:
        made = client.ok(
            "POST",
            "model-versions/create",
            name="numbers",
            source=f"s3://bucket/{writer}/{turn}",
            tags=[{"key": "turn", "value": str(turn)}],
        )
        return int(made["model_version"]["version"])

    assert sorted(together(urls, create)) == list(range(1, WRITERS * EACH + 1))


def test_versions_are_made_moved_and_deleted_at_once(urls: list[str], client: Client) -> None:
    client.ok("POST", "registered-models/create", name="busy")
    client.ok("POST", "model-versions/create", name="busy", source="s3://bucket/first")

    def change(client: Client, writer: int, turn: int) -> None:
        made = client.ok("POST", "model-versions/create", name="busy", source="s3://bucket/x")
        number = made["model_version"]["version"]
        client.ok(
            "POST",
            "model-versions/transition-stage",
            name="busy",
            version=number,
            stage="Production",
            archive_existing_versions=True,
        )
        client.ok("POST", "registered-models/alias", name="busy", alias="newest", version=number)
        client.ok("POST", "registered-models/set-tag", name="busy", key="by", value=str(writer))
        client.ok("PATCH", "registered-models/update", name="busy", description=str(turn))
        if turn % 2:
            client.ok("DELETE", "model-versions/delete", name="busy", version=number)

    together(urls, change)
    found = client.ok("POST", "registered-models/get-latest-versions", name="busy")
    stages = [one["current_stage"] for one in found["model_versions"]]
    assert sorted(stages) in (["Archived", "None"], ["Archived", "None", "Production"])


def test_a_logged_model_notes_every_version_made_from_it_at_once(
    urls: list[str], client: Client
) -> None:
    experiment = client.ok("POST", "experiments/create", name="noted")["experiment_id"]
    info = client.ok("POST", "logged-models", experiment_id=experiment)["model"]["info"]
    for writer in range(WRITERS):
        client.ok("POST", "registered-models/create", name=f"noted-{writer}")

    def create(client: Client, writer: int, turn: int) -> tuple[str, int]:
        made = client.ok(
            "POST",
            "model-versions/create",
            name=f"noted-{writer}",
            source=f"models:/{info['model_id']}",
            model_id=info["model_id"],
        )["model_version"]
        return made["name"], int(made["version"])

    made = together(urls, create)
    tags = client.ok("GET", f"logged-models/{info['model_id']}")["model"]["info"]["tags"]
    noted = json.loads({tag["key"]: tag["value"] for tag in tags}["mlflow.modelVersions"])
    assert sorted((note["name"], note["version"]) for note in noted) == sorted(made)


def test_one_of_many_concurrent_creators_of_a_name_succeeds(urls: list[str]) -> None:
    def create(client: Client, writer: int, turn: int) -> int:
        return client.send("POST", "registered-models/create", name=f"taken-{turn}")[0]

    statuses = together(urls, create)
    assert sorted(statuses) == [200] * EACH + [400] * (WRITERS - 1) * EACH


def test_a_refused_version_leaves_nothing_behind(client: Client) -> None:
    client.ok("POST", "registered-models/create", name="clean")
    status, answer = client.send(
        "POST",
        "model-versions/create",
        name="clean",
        source="s3://bucket/x",
        run_id="r",
        model_id="m-nobody",
    )
    assert (status, answer["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    experiment = client.ok("POST", "experiments/create", name="clean")["experiment_id"]
    info = client.ok("POST", "logged-models", experiment_id=experiment)["model"]["info"]
    tags = [{"key": "mlflow.modelVersions", "value": "not JSON"}]
    client.ok("PATCH", f"logged-models/{info['model_id']}/tags", tags=tags)
    status, answer = client.send(
        "POST",
        "model-versions/create",
        name="clean",
        source=f"models:/{info['model_id']}",
        model_id=info["model_id"],
    )
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    found = client.ok("POST", "registered-models/get-latest-versions", name="clean")
    assert found == {}
