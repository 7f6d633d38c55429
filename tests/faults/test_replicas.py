"""Reads on replicas: as fresh as on the primary, from whichever server, and without errors when a replica is away."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from tests import waiting
from tests.faults.load import Once, eventually, start
from tests.faults.stored import rows
from tests.fix_pgbouncer import needs_pgbouncer, pgbouncer
from tests.fix_postgres import PostgresServer, standby, with_database
from tests.fix_server import headrace
from tests.prometheus import samples
from tests.waiting import in_background

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

USED_WITHIN_S = 10.0


class Pair(NamedTuple):
    """A primary and its standby."""

    primary: PostgresServer
    replica: PostgresServer

    def uri(self, number: int) -> str:
        """The database on the primary (0) or the replica (1)."""
        return with_database(self[number].uri, "tracking")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    root = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    primary = PostgresServer(root)
    try:
        primary.run("CREATE DATABASE tracking")
        with standby(primary) as replica:
            yield Pair(primary, replica)
    finally:
        primary.stop()
        shutil.rmtree(root)


def replicated(pair: Pair, directory: Path, *options: str) -> Any:
    """A server with the replica."""
    replica = ("--read-replica-backend-store-uri", pair.uri(1))
    return headrace(pair.uri(0), directory, *replica, "--no-bridge", *options)


def figures(wire: Once) -> dict[str, float]:
    """The figures of the replica: up, lag, and reads by the server that answered."""
    shown = {}
    for (name, labels), value in samples(wire).items():
        if name.startswith("headrace_replica_"):
            shown[dict(labels).get("answered_by", name.removeprefix("headrace_replica_"))] = value
    return shown


def uses(wire: Once) -> bool:
    """Whether every process of the server sends reads to the replica."""
    return figures(wire)["up"] == 1


def is_left_out(wire: Once) -> bool:
    return figures(wire)["up"] == 0


def named(wire: Once, name: str) -> int:
    """The number of runs with a name."""
    return found(wire, f"attributes.run_name = '{name}'")


def found(wire: Once, text: str) -> int:
    """The number of runs that a filter finds."""
    body = {"experiment_ids": ["0"], "filter": text}
    return len(wire.made("runs/search", body).get("runs", []))


def shows(uri: str, text: str, expected: object) -> None:
    """Wait until a standby shows a value. Its database and tables are missing until it has replayed them."""
    unknown = (psycopg.errors.UndefinedTable, psycopg.OperationalError)
    what = f"{text} is {expected}"
    waiting.eventually(lambda: rows(uri, text) == [(expected,)], 10, what=what, ignored=unknown)


@contextmanager
def ready(pair: Pair, directory: Path, *options: str) -> Iterator[tuple[Server, Once]]:
    """A server whose replica is in use."""
    with replicated(pair, directory, *options) as server, Once(server.url) as wire:
        eventually(lambda: uses(wire), USED_WITHIN_S)
        yield server, wire


def test_a_write_is_read_at_once_through_any_server(pair: Pair, tmp_path: Path) -> None:
    """One server writes, another with two processes reads from the replica, while clients write."""
    with (
        ready(pair, tmp_path) as (one, writer),
        ready(pair, tmp_path, "--workers", "2") as (other, _),
    ):
        load = start(3, one.url, writer.new_run())
        for number in range(40):
            name = f"fresh-{number}"
            run_id = writer.new_run(name=name)
            with Once(other.url) as reader:  # a new connection: any of the two processes
                assert named(reader, name) == 1
                tag = {"run_id": run_id, "key": "n", "value": str(number)}
                writer.made("runs/set-tag", tag)
                body = {"experiment_ids": ["0"], "filter": f"tags.n = '{number}'"}
                (run,) = reader.made("runs/search", body)["runs"]
                assert run["info"]["run_id"] == run_id
        for thread in load:
            thread.stop()
            assert set(thread.answers) == {"200"}
        with Once(other.url) as reader:
            eventually(lambda: figures(reader)["replica"] > 80, 5)
            shown = figures(reader)
            assert shown["replica"] > shown["primary"], shown
            assert "replicas in use: 1 of 1" in reader.ask("GET", "/readyz").body.decode()


def test_a_replica_that_is_behind_is_left_out(pair: Pair, tmp_path: Path) -> None:
    """Its reads come from the primary, its lag is shown, and it is used again when it has caught up."""
    with ready(pair, tmp_path) as (server, wire):
        pair.replica.run("SELECT pg_wal_replay_pause()")
        state = "SELECT pg_get_wal_replay_pause_state()"
        try:
            wire.new_run(name="wakes the replay")
            shows(pair.uri(1), state, "paused")
            wire.new_run(name="not replayed")
            assert named(wire, "not replayed") == 1
            eventually(lambda: is_left_out(wire), 5)
            eventually(lambda: figures(wire)["lag_seconds"] > 1.5, 10)
            assert figures(wire)["lag_bytes"] > 0
            assert "replicas in use: 0 of 1" in wire.ask("GET", "/readyz").body.decode()
            assert named(wire, "not replayed") == 1
        finally:
            pair.replica.run("SELECT pg_wal_replay_resume()")
        eventually(lambda: uses(wire), USED_WITHIN_S)
        before = figures(wire)["replica"]
        assert named(wire, "not replayed") == 1
        eventually(lambda: figures(wire)["replica"] > before, 5)
        assert figures(wire)["lag_seconds"] < 1
        assert "is left out: it is " in server.log()


@pytest.mark.parametrize("fault", ["killed", "silent"])
def test_a_replica_that_goes_away_costs_no_read(fault: str, pair: Pair, tmp_path: Path) -> None:
    """Clients search meanwhile: every answer is 200. The replica is used again when it is back."""
    with ready(pair, tmp_path) as (server, wire):
        wire.new_run(name="searched")
        stop = threading.Event()
        answers: list[int] = []

        def search() -> None:
            with Once(server.url) as client:
                while not stop.is_set():
                    body = {"experiment_ids": ["0"], "filter": "attributes.run_name = 'searched'"}
                    answer = client.post("runs/search", body)
                    answers.append(answer.status)
                    assert answer.status == 200, str(answer)
                    assert len(answer.json()["runs"]) >= 1

        clients = [in_background(search) for _ in range(4)]
        eventually(lambda: len(answers) > 50, 20)
        if fault == "killed":
            pair.replica.kill()
        else:
            pair.replica.freeze()
        try:
            eventually(lambda: is_left_out(wire), 15)
            count = len(answers)
            eventually(lambda: len(answers) > count + 50, 20)
        finally:
            if fault == "killed":
                pair.replica.start()
            else:
                pair.replica.thaw()
        eventually(lambda: uses(wire), USED_WITHIN_S)
        stop.set()
        for client in clients:
            client.result(30)
        assert set(answers) == {200}


def test_a_write_that_the_primary_does_not_show_yet_is_not_shown(
    pair: Pair, tmp_path: Path
) -> None:
    """A COMMIT waits for a standby that does not exist, while the replica has replayed it."""
    nobody = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'"
    everybody = "ALTER SYSTEM RESET synchronous_standby_names"
    shown = "SELECT count(*) FROM runs WHERE status = 'KILLED'"
    killed = "attributes.status = 'KILLED'"
    with ready(pair, tmp_path) as (_, wire):
        run_id = wire.new_run(name="before")

        def update() -> None:
            with psycopg.connect(pair.uri(0)) as connection:
                text = f"UPDATE runs SET status = 'KILLED' WHERE run_uuid = '{run_id}'"
                connection.execute(text.encode())

        pair.primary.run(nobody, "SELECT pg_reload_conf()")
        try:
            names = "SHOW synchronous_standby_names"
            eventually(lambda: rows(pair.uri(0), names) == [("nobody",)], 10)
            committing = in_background(update)
            shows(pair.uri(1), shown, 1)
            assert rows(pair.uri(0), shown) == [(0,)]
            for _ in range(5):
                eventually(lambda: uses(wire), USED_WITHIN_S)
                assert found(wire, killed) == 0, "the next read could miss it again"
            assert not committing.done()
        finally:
            pair.primary.run(everybody, "SELECT pg_reload_conf()")
        committing.result(10)
        assert found(wire, killed) == 1
        assert figures(wire)["primary"] >= 5


def test_a_server_that_is_no_replica_is_not_used(pair: Pair, tmp_path: Path) -> None:
    """Neither the primary under another name, nor a standby with another database."""
    pair.primary.run("CREATE DATABASE elsewhere")
    elsewhere = with_database(pair.replica.uri, "elsewhere")
    itself = pair.uri(0).replace("127.0.0.1", "localhost")
    exists = "SELECT 1 FROM pg_database WHERE datname = 'elsewhere'"
    shows(pair.uri(1), exists, 1)
    for uri, reason in (
        (itself, "it is not a standby that tells its position"),
        (elsewhere, "it is a replica of another database"),
    ):
        options = ("--read-replica-backend-store-uri", uri, "--no-bridge")
        with headrace(pair.uri(0), tmp_path, *options) as server, Once(server.url) as wire:
            eventually(lambda: f"is left out: {reason}" in server.log(), 10)  # noqa: B023 waits in this turn
            wire.new_run(name="read from the primary")
            assert named(wire, "read from the primary") >= 1
            assert figures(wire)["replica"] == 0


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_both_servers_behind_poolers(mode: str, pair: Pair, tmp_path: Path) -> None:
    """Reads use the replica, and are as fresh."""
    with pgbouncer(pair.uri(0), mode) as primary, pgbouncer(pair.uri(1), mode) as replica:
        options = ("--read-replica-backend-store-uri", replica, "--postgres-pooler", mode)
        with (
            headrace(primary, tmp_path, *options, "--no-bridge") as server,
            Once(server.url) as wire,
        ):
            eventually(lambda: uses(wire), USED_WITHIN_S)
            for number in range(10):
                wire.new_run(name=f"pooled-{mode}-{number}")
                assert named(wire, f"pooled-{mode}-{number}") == 1
            assert figures(wire)["replica"] > 10 * figures(wire)["primary"]


def test_a_replica_that_is_ahead_of_a_new_primary_is_not_used(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """It has received what the promoted standby has not. Writes on the new primary pass its position."""
    own_postgres.run("CREATE DATABASE tracking")
    with standby(own_postgres) as heir, standby(own_postgres) as ahead:
        pair = Pair(own_postgres, ahead)
        hosts = f"127.0.0.1:{own_postgres.port},127.0.0.1:{heir.port}"
        options = ("--read-replica-backend-store-uri", pair.uri(1), "--no-bridge")
        uri = f"postgresql://postgres@{hosts}/tracking"
        with headrace(uri, tmp_path, *options) as server, Once(server.url) as wire:
            eventually(lambda: uses(wire), USED_WITHIN_S)
            wire.new_run(name="kept")
            received = "SELECT count(*) FROM runs WHERE name = '{}'".format
            heirs = with_database(heir.uri, "tracking")
            shows(heirs, received("kept"), 1)
            heir.kill()
            for _ in range(20):
                wire.new_run(name="lost")
            shows(pair.uri(1), received("lost"), 20)
            assert named(wire, "lost") == 20
            own_postgres.kill()
            heir.start()
            heir.run("SELECT pg_promote()")
            eventually(lambda: wire.post("runs/create", {"experiment_id": "0"}).status == 200, 10)
            for number in range(60):
                assert named(wire, "lost") == 0
                wire.new_run(name=f"passes-{number}")
                assert named(wire, f"passes-{number}") == 1
            assert is_left_out(wire)
