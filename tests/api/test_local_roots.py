"""The server reads and writes local paths only below its own artifact directories."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fix_server import Server
    from tests.wire import Answer

SECRET = b"what no client may have"
API = "/api/2.0/mlflow"
NAMED = "--local-artifact-roots (HEADRACE_LOCAL_ARTIFACT_ROOTS)"


class Client:
    """Creates objects for the cases and calls every route that touches a run's artifacts."""

    def __init__(self, server: Server, wire: Wire) -> None:
        self.server = server
        self.wire = wire

    def made(self, path: str, **body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        answer = self.wire.ask("POST", f"{API}/{path}", json.dumps(body).encode(), headers)
        assert answer.status == 200, str(answer)
        return answer.json()

    def run_at(self, location: str) -> Any:
        """A run of a new experiment with that artifact location."""
        given = {"artifact_location": location} if location else {}
        exp = self.made("experiments/create", name=f"at {location}", **given)["experiment_id"]
        return self.made("runs/create", experiment_id=exp)["run"]["info"]

    def upload(self, run_id: str, path: str) -> Answer:
        target = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path={path}"
        return self.wire.ask("POST", target, b"written by the server")

    def everything(self, run_id: str, name: str) -> list[Answer]:
        version = f"name={name}&version=1&path=secret"
        return [
            self.wire.ask("GET", f"{API}/artifacts/list?run_id={run_id}"),
            self.wire.ask("GET", f"/get-artifact?run_id={run_id}&path=secret"),
            self.wire.ask("GET", f"/model-versions/get-artifact?{version}"),
            self.upload(run_id, "new"),
        ]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("server")
    with (
        headrace(f"sqlite:///{directory}/mlflow.db", directory) as server,
        Wire(server.url) as wire,
    ):
        yield Client(server, wire)


SPELLINGS: dict[str, Callable[[Path], str]] = {
    "a path": str,
    "a file URI": lambda path: f"file://{path}",
    "a file URI with a host": lambda path: f"file://localhost{path}",
    "climbing out of a root": lambda path: f"{path.parent}/mlartifacts/../elsewhere",
    "climbing, encoded": lambda path: f"file://{path.parent}/mlruns/%2e%2e/elsewhere",
    "a name that a root begins": lambda path: f"{path.parent}/mlruns-of-others",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_location_elsewhere_is_for_clients_only(client: Client, spelling: str) -> None:
    elsewhere = client.server.directory / "elsewhere"
    run = client.run_at(SPELLINGS[spelling](elsewhere))
    run_id, name = run["run_id"], spelling.replace(" ", "-")
    for directory in (elsewhere, elsewhere.parent / "mlruns-of-others"):
        place = directory / run_id / "artifacts"
        place.mkdir(parents=True)
        (place / "secret").write_bytes(SECRET)
    client.made("registered-models/create", name=name)
    client.made("model-versions/create", name=name, source=f"runs:/{run_id}/", run_id=run_id)
    before = sorted(client.server.directory.rglob("*"))
    for answer in client.everything(run_id, name):
        assert NAMED in answer.body.decode(), str(answer)
        assert answer.status == 400
        assert SECRET not in answer.body
    assert sorted(client.server.directory.rglob("*")) == before
    # The run itself works: clients write to its location.
    assert client.made("runs/log-metric", run_id=run_id, key="k", value=1.0, timestamp=1) == {}


@pytest.mark.parametrize("root", ["mlruns", "mlartifacts", "named", "also named"])
def test_locations_below_the_servers_directories_are_served(tmp_path: Path, root: str) -> None:
    named = f"{tmp_path}/named, file://{tmp_path}/also named"
    with (
        headrace(
            f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "--local-artifact-roots", named
        ) as server,
        Wire(server.url) as wire,
    ):
        client = Client(server, wire)
        run_id = client.run_at(f"{tmp_path}/{root}/7")["run_id"]
        assert client.upload(run_id, "d/new").status == 200
        written = tmp_path / root / "7" / run_id / "artifacts/d/new"
        assert written.read_bytes() == b"written by the server"
        answer = wire.ask("GET", f"/get-artifact?run_id={run_id}&path=d/new")
        assert answer.body == b"written by the server"


def test_a_link_below_a_root_that_leads_outside_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns/link").symlink_to(outside)
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server, Wire(server.url) as wire:
        client = Client(server, wire)
        run_id = client.run_at(f"{tmp_path}/mlruns/link")["run_id"]
        # The path does not exist: a directory outside must not be created either.
        for there in (False, True):
            place = outside / run_id / "artifacts"
            if there:
                place.mkdir(parents=True)
                (place / "secret").write_bytes(SECRET)
            for answer in (
                client.upload(run_id, "new"),
                wire.ask("GET", f"/get-artifact?run_id={run_id}&path=secret"),
                wire.ask("GET", f"{API}/artifacts/list?run_id={run_id}"),
            ):
                assert answer.status == 400, str(answer)
                assert b"resolved path is outside the artifact directory" in answer.body
            assert list(outside.rglob("*")) == (
                [outside / run_id, place, place / "secret"] if there else []
            )


def test_a_root_may_itself_be_a_link(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "mlruns").symlink_to(disk)
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server, Wire(server.url) as wire:
        client = Client(server, wire)
        run_id = client.run_at(f"{tmp_path}/mlruns/1")["run_id"]
        assert client.upload(run_id, "new").status == 200
        assert (disk / "1" / run_id / "artifacts/new").exists()


def test_a_database_that_clients_wrote_without_a_server_is_served(tmp_path: Path) -> None:
    """MLflow puts the artifacts of such a database into ./mlruns, with absolute paths."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path, "--no-serve-artifacts") as server, Wire(server.url) as wire:
        run_id = Client(server, wire).run_at("")["run_id"]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        root = database.execute("SELECT artifact_uri FROM runs").fetchone()[0]
    assert root.startswith(f"{tmp_path}/mlruns/")
    with headrace(uri, tmp_path) as server, Wire(server.url) as wire:
        assert Client(server, wire).upload(run_id, "new").status == 200
    # From another directory its place has to be named.
    (tmp_path / "other").mkdir()
    named = ("--local-artifact-roots", f"{tmp_path}/mlruns")
    for options, status in (((), 400), (named, 200)):
        with (
            headrace(uri, tmp_path / "other", *options) as server,
            Wire(server.url) as wire,
        ):
            answer = wire.ask("GET", f"/get-artifact?run_id={run_id}&path=new")
            assert answer.status == status, str(answer)


def test_a_slash_allows_every_path(tmp_path: Path) -> None:
    options = ("--local-artifact-roots", "/")
    with (
        headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, *options) as server,
        Wire(server.url) as wire,
    ):
        client = Client(server, wire)
        run_id = client.run_at(f"{tmp_path}/anywhere")["run_id"]
        assert client.upload(run_id, "new").status == 200


def test_an_artifact_location_does_not_climb_out_of_the_destination(client: Client) -> None:
    for location in ("mlflow-artifacts:/../elsewhere", "mlflow-artifacts:/%2e%2e/elsewhere"):
        run_id = client.run_at(location)["run_id"]
        answer = client.upload(run_id, "new")
        assert (answer.status, answer.json()["message"]) == (400, "Invalid path")
