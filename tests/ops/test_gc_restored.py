"""`headrace gc` during restores by users, and after a kill: files and rows are deleted together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from tests.faults.load import API, Once
from tests.fix_s3 import BUCKET
from tests.fix_server import base_environment, free_port, headrace, stock
from tests.ops.test_gc import files, ours, rows, run_sql

from headrace.db.upkeep import garbage as sql
from headrace.db.upkeep.access import opened
from headrace.settings.table import Settings
from headrace.storage.locations import Locations
from headrace.upkeep.garbage import GarbageCollection, GcRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.fix_s3 import S3

    from headrace.db.base import Database

T = TypeVar("T")
FILES = 10_000  # so many that a collection takes visible time
LIMIT_S = 60
ORPHANS = f"SELECT source_name FROM runs WHERE run_uuid LIKE '{sql.ORPHAN}%'"


@pytest.fixture
def uri(uri: str, tmp_path: Path) -> str:
    """A database whose default experiment keeps its artifacts in the directory of the test."""
    if uri.startswith("postgres"):
        run_sql(uri, f"UPDATE experiments SET artifact_location = '{tmp_path}/art/0'")
    return uri


@contextmanager
def server(uri: str, directory: Path) -> Iterator[Once]:
    """A connection to a server whose runs keep their artifacts in the directory `art`."""
    root = ("--no-serve-artifacts", "--default-artifact-root", f"{directory}/art")
    with headrace(uri, directory, *root) as process, Once(process.url) as wire:
        yield wire


def deleted_run(wire: Once, count: int = 1) -> str:
    """Create a deleted run with a point and `count` files."""
    run_id = wire.new_run()
    point = {"key": "m", "value": 1, "timestamp": 1, "step": 0}
    wire.made("runs/log-batch", {"run_id": run_id, "metrics": [point]})
    info = wire.ask("GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}").json()["run"]["info"]
    directory = Path(info["artifact_uri"].removeprefix("file://"))
    directory.mkdir(parents=True)
    for n in range(count):
        (directory / f"{n}.bin").write_bytes(b"weights")
    wire.made("runs/delete", {"run_id": run_id})
    return run_id


def deleted_model(wire: Once, directory: Path) -> str:
    """A deleted logged model with a file."""
    made = wire.made("logged-models", {"experiment_id": "0", "name": "m"})["model"]["info"]
    place = Path(made["artifact_uri"].removeprefix("file://"))
    assert place.is_relative_to(directory)
    place.mkdir(parents=True)
    (place / "model.bin").write_bytes(b"weights")
    answer = wire.ask("DELETE", f"/api/2.0/mlflow/logged-models/{made['model_id']}", b"")
    assert answer.status == 200, str(answer)
    model_id: str = made["model_id"]
    return model_id


class Interleaved:
    """A database; `between` runs once, right before the first transaction that removes runs or models."""

    def __init__(self, db: Database, between: Callable[[], None]) -> None:
        self._db = db
        self._between = [between]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """As the database does it."""
        if fn in (sql.delete_runs, sql.delete_models) and self._between:
            self._between.pop()()
        return await self._db.write(fn, *args)


async def test_a_run_restored_while_its_page_is_collected_keeps_rows_and_files(
    uri: str, tmp_path: Path
) -> None:
    """The page was read before the restore; the transaction that deletes the row checks again."""
    with server(uri, tmp_path) as wire:
        restored, gone = deleted_run(wire), deleted_run(wire)
        model = deleted_model(wire, tmp_path)
        settings = Settings(backend_store_uri=uri, serve_artifacts=False)
        async with opened(uri) as db:
            between = lambda: run_sql(  # noqa: E731
                uri,
                f"UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL WHERE run_uuid = '{restored}'",
                f"UPDATE logged_models SET lifecycle_stage = 'active' WHERE model_id = '{model}'",
            )
            locations = Locations(settings, anywhere=True)
            changed: Any = Interleaved(db, between)
            removed = await GarbageCollection(changed, locations, GcRequest()).collect()
            locations.close()
        assert (removed.runs, removed.logged_models, removed.kept) == (1, 0, [])
    assert rows(uri, "SELECT run_uuid FROM runs") == [(restored,)]
    assert rows(uri, "SELECT run_uuid FROM metrics") == [(restored,)]
    left = files(tmp_path / "art")
    assert len(left) == 2 and not any(gone in path for path in left)


def killed_at_the_files(uri: str, directory: Path) -> None:
    """Start a collection and kill it when it has deleted the first files."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.commands.cli", "gc", uri],
        env=base_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LIMIT_S
    while len(os.listdir(directory)) >= FILES and process.poll() is None:  # noqa: PTH208 a fast look
        assert time.monotonic() < deadline, "nothing was collected"
    process.kill()
    assert process.wait() != 0, "it was over before it could be killed"


def test_a_collection_killed_among_the_files_is_finished_by_the_next(
    uri: str, tmp_path: Path
) -> None:
    """Rows are deleted before the first file; the rows that record the remaining files are invisible to clients."""
    with server(uri, tmp_path) as wire:
        run_id = deleted_run(wire, FILES)
        killed_at_the_files(uri, tmp_path / "art" / "0" / run_id / "artifacts")
        left = files(tmp_path / "art")
        assert left
        assert rows(uri, f"SELECT 1 FROM runs WHERE run_uuid = '{run_id}'") == []
        assert len(rows(uri, ORPHANS)) == 1
        assert wire.post("runs/restore", {"run_id": run_id}).status == 404
        everything = {"experiment_ids": ["0"], "run_view_type": "ALL"}
        assert wire.made("runs/search", everything).get("runs", []) == []
        done = ours(uri, "--keep-artifacts")
        assert done.returncode == 0, done.stdout
        assert files(tmp_path / "art") == left
        assert ours(uri).returncode == 0
    assert files(tmp_path / "art") == rows(uri, "SELECT 1 FROM runs") == []


def test_artifacts_that_cannot_be_removed_are_tried_again_by_the_next(
    uri: str, tmp_path: Path
) -> None:
    """They are reported each time, and the exit code shows that something remains."""
    with server(uri, tmp_path) as wire:
        run_id = deleted_run(wire)
    directory = tmp_path / "art" / "0" / run_id
    elsewhere = tmp_path / "elsewhere"
    (directory / "artifacts").rename(elsewhere)
    (directory / "artifacts").symlink_to(elsewhere)  # files behind a link are not removed
    for _ in range(2):
        done = ours(uri)
        assert done.returncode == 1
        assert f"kept: run {run_id}: its artifacts stay until the next gc" in done.stdout
    assert len(files(elsewhere)) == 1
    (directory / "artifacts").unlink()
    elsewhere.rename(directory / "artifacts")
    assert ours(uri).returncode == 0
    assert files(tmp_path / "art") == rows(uri, "SELECT 1 FROM runs") == []


def test_objects_of_an_unreachable_bucket_are_deleted_by_the_next_collection(
    s3: S3, tmp_path: Path
) -> None:
    """The row is deleted, its location is kept."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    place = ("--artifacts-destination", f"s3://{BUCKET}/gc")
    with (
        headrace(uri, tmp_path, *place, environment=s3.environment) as process,
        Once(process.url) as wire,
    ):
        run_id = wire.new_run()
        put = f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/model.bin"
        assert wire.ask("PUT", put, b"weights").status == 200
        wire.made("runs/delete", {"run_id": run_id})
    assert len(s3.keys("gc/")) == 1
    away = s3.environment | {"MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    done = ours(uri, *place, environment=away)
    assert (done.returncode, f"kept: run {run_id}: its artifacts stay" in done.stdout) == (1, True)
    assert len(s3.keys("gc/")) == 1
    done = ours(uri, *place, environment=s3.environment)
    assert done.returncode == 0, done.stdout
    assert s3.keys("gc/") == {}
    assert rows(uri, "SELECT 1 FROM runs") == []


def doctor(uri: str) -> str:
    """Return the output of `headrace doctor`."""
    argv = [sys.executable, "-m", "headrace", "doctor", uri]
    done = subprocess.run(
        argv, env=base_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def test_no_client_sees_the_rows_kept_for_the_next_collection(tmp_path: Path) -> None:
    """Neither in a search of all runs nor when the experiment is restored; only the doctor counts them."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with server(uri, tmp_path) as wire:
        experiment_id = wire.made("experiments/create", {"name": "e"})["experiment_id"]
        run_id = wire.new_run(experiment_id)
        wire.made("runs/delete", {"run_id": run_id})
    note = ("headrace-gc-00000000000000000000", f"run {run_id}", f"{tmp_path}/art/x")
    run_sql(
        uri,
        f"DELETE FROM runs WHERE run_uuid = '{run_id}'",
        f"INSERT INTO runs (run_uuid, name, source_name) VALUES {note}",
    )
    with stock(uri, tmp_path) as process, Once(process.url) as wire:
        wire.made("experiments/delete", {"experiment_id": experiment_id})
        wire.made("experiments/restore", {"experiment_id": experiment_id})
        everything = {"experiment_ids": ["0", experiment_id], "run_view_type": "ALL"}
        assert wire.made("runs/search", everything).get("runs", []) == []
    with server(uri, tmp_path) as wire:
        wire.made("experiments/delete", {"experiment_id": experiment_id})
        wire.made("experiments/restore", {"experiment_id": experiment_id})
        assert wire.made("runs/search", everything).get("runs", []) == []
        assert wire.ask("GET", f"{API}runs/get?run_id={note[0]}").status == 404
        for name in ("runs/delete", "runs/restore"):
            assert wire.post(name, {"run_id": note[0]}).status == 404
        assert (
            wire.post("runs/set-tag", {"run_id": note[0], "key": "k", "value": "v"}).status == 400
        )
    assert "of 1 removed runs or logged models still exist" in doctor(uri)
    assert rows(uri, "SELECT run_uuid, name, source_name FROM runs") == [note]
    assert ours(uri).returncode == 0
    assert rows(uri, "SELECT 1 FROM runs") == []
