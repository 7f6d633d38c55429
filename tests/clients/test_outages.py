"""Trainings with the clients of three MLflow releases survive outages: nothing is lost or stored twice."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.faults.load import eventually
from tests.faults.stored import check_latest, rows
from tests.fix_clients import mlflow2, mlflow3, mlflow318
from tests.fix_postgres import with_database
from tests.fix_proxy import Proxy, address_of
from tests.fix_server import free_port, headrace

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fix_postgres import PostgresServer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]

LENGTHS = pytest.mark.parametrize(
    "outage_s", [8.0, pytest.param(30.0, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]
)
STARTED_WITHIN_S = 120  # three imports of mlflow at once
# After an outage a client waits for about as long again; its attempts at a closed port are then 16 s apart.
WITHIN_S = 120
LOST_ANSWERS = 12


class Trainings:
    """A training with each of the clients, at the same time, through the server at `url`."""

    def __init__(self, url: str, directory: Path) -> None:
        self._directory = directory
        self._running = {}
        for client in (mlflow2(), mlflow3(), mlflow318()):
            name = client.name.replace(".", "-")  # logged models have no dots in their names
            self._running[name] = client.begin(
                "outlive.py", name, directory, uri=url, directory=directory
            )

    def rounds(self) -> list[int]:
        """The number of complete rounds of each."""
        self._check_alive()
        files = [self._directory / f"{name}.rounds" for name in self._running]
        return [len(file.read_bytes()) if file.exists() else 0 for file in files]

    def _check_alive(self) -> None:
        for name, process in self._running.items():
            assert process.poll() is None, f"{name}: {process.communicate()[1][-4000:]}"

    def wait_for_rounds(self, within_s: float = WITHIN_S) -> None:
        """Wait until each has completed two more rounds, so that one of them began after the call."""
        before = self.rounds()
        eventually(
            lambda: all(now > n + 1 for now, n in zip(self.rounds(), before, strict=True)), within_s
        )

    @contextmanager
    def commanded(self, word: str) -> Iterator[None]:
        """Meanwhile they all follow that file: `hold` or `calm`."""
        (self._directory / word).touch()
        files = [self._directory / f"{name}.{word}" for name in self._running]
        eventually(lambda: all(file.exists() for file in files), WITHIN_S)
        self._check_alive()
        yield
        (self._directory / word).unlink()

    def finish(self, uri: str) -> None:
        """Let them end; they must have raised nothing, and all that they logged must be stored once."""
        (self._directory / "stop").touch()
        for name, process in self._running.items():
            out, err = process.communicate(timeout=WITHIN_S)
            assert process.returncode == 0, f"{name}: {err[-4000:]}"
            check_story(uri, name, json.loads(out.splitlines()[-1]))
        check_latest(uri)

    def kill(self) -> None:
        """Kill the trainings that still run."""
        for process in self._running.values():
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """SIGKILL, unless it has ended."""
    process.kill()
    process.communicate()


def check_story(uri: str, name: str, story: dict[str, Any]) -> None:
    """The rows are those of a training without faults."""
    run_id, steps, rounds = story["run_id"], story["steps"], story["rounds"]
    assert rounds > 2, "it hardly did anything"

    def column(statement: str) -> Counter[Any]:
        return Counter(row if len(row) > 1 else row[0] for row in rows(uri, statement))

    def once(text: str, count: int) -> Counter[Any]:
        return Counter(f"{text} {n}" for n in range(count))

    of_run = f"WHERE run_uuid = '{run_id}'"
    assert column(f"SELECT key, step FROM metrics {of_run}") == Counter(
        (key, step) for key in ("loss", "accuracy", "epoch") for step in range(steps)
    )
    assert column(f"SELECT key FROM params {of_run}") == once("param", steps)
    tags = dict(rows(uri, f"SELECT key, value FROM tags {of_run}"))
    assert tags["step"] == str(steps - 1)
    assert "gone" not in tags
    histories = (
        "SELECT t.value FROM tags t JOIN runs r USING (run_uuid)"
        f" WHERE r.name LIKE '{name}%' AND t.key = 'mlflow.log-model.history'"
    )
    history = [one for (text,) in rows(uri, histories) for one in json.loads(text)]
    assert Counter(one["artifact_path"] for one in history) == once("model", rounds)
    names = column(f"SELECT name FROM runs WHERE name LIKE '{name}%' AND status = 'FINISHED'")
    assert names == once(f"{name} fold", rounds) + Counter([name])
    assert names == column(f"SELECT name FROM runs WHERE name LIKE '{name}%'")
    inputs = (
        "SELECT d.name FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
        f" WHERE i.destination_id = '{run_id}'"
    )
    assert column(inputs) == once(f"{name} data", rounds)
    models = f"SELECT name FROM logged_models WHERE name LIKE '{name}%' AND status = 2"
    assert column(models) == once(f"{name} model", story["models"])
    experiments = f"SELECT name FROM experiments WHERE name LIKE '{name}%'"
    assert column(experiments) == once(f"{name} experiment", rounds)
    versions = (
        "SELECT name FROM registered_models LEFT JOIN model_versions USING (name)"
        f" LEFT JOIN registered_model_aliases a USING (name) WHERE name LIKE '{name}%' AND alias = 'best'"
    )
    assert column(versions) == once(f"{name} registered", rounds)


@contextmanager
def trainings(url: str, directory: Path) -> Iterator[Trainings]:
    """Start trainings; they are killed at the end of the block unless `finish` was called."""
    all_of_them = Trainings(url, directory)
    try:
        all_of_them.wait_for_rounds(STARTED_WITHIN_S)
        yield all_of_them
    finally:
        all_of_them.kill()


@LENGTHS
def test_trainings_survive_an_outage_of_the_database(
    outage_s: float, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """PostgreSQL is killed during all kinds of requests, and again before they create runs, models, experiments."""
    uri = with_database(own_postgres.uri, "trainings")
    with psycopg.connect(own_postgres.uri, autocommit=True) as admin:
        admin.execute("CREATE DATABASE trainings")
    with headrace(uri, tmp_path) as server, trainings(server.url, tmp_path) as trained:
        own_postgres.kill()
        own_postgres.start()
        trained.wait_for_rounds()
        with trained.commanded("hold"):
            own_postgres.kill()
        time.sleep(outage_s)
        own_postgres.start()
        trained.wait_for_rounds()
        trained.finish(uri)


@LENGTHS
def test_trainings_survive_a_killed_server(outage_s: float, tmp_path: Path) -> None:
    """They create runs, models, experiments while it is away.

    No request is in flight at the kill, because clients since 3.18 then raise with every server.
    """
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    port = free_port()
    with ExitStack() as stack:
        server = stack.enter_context(headrace(uri, tmp_path, port=port))
        trained = stack.enter_context(trainings(server.url, tmp_path))
        with trained.commanded("hold"):
            server.kill()
        time.sleep(outage_s)
        stack.enter_context(headrace(uri, tmp_path, port=port))
        trained.wait_for_rounds()
        trained.finish(uri)


def test_trainings_survive_lost_answers(tmp_path: Path) -> None:
    """A request that a client repeats by itself takes effect once, although the server answers twice."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with (
        headrace(uri, tmp_path) as server,
        Proxy(*address_of(server.url)) as proxy,
        trainings(f"http://127.0.0.1:{proxy.port}", tmp_path) as trained,
    ):
        with trained.commanded("calm"):
            for number in range(LOST_ANSWERS):
                route = ("runs/log-metric", "runs/log-batch", "runs/set-tag", "runs/get")[
                    number % 4
                ]
                proxy.lose_answer_to(f"mlflow/{route}".encode(), then=proxy.reset)
                eventually(has_lost(proxy, number + 1), WITHIN_S)
        trained.wait_for_rounds()
        trained.finish(uri)


def has_lost(proxy: Proxy, answers: int) -> Callable[[], bool]:
    """Whether the proxy has lost that many answers."""
    return lambda: proxy.lost_answers >= answers
