"""Rows locked by another session, and time limits of the role: other runs are written, and there is no 500."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.faults.load import Once, Writer, eventually, in_threads, point, start
from tests.faults.stored import check_acknowledged, rows
from tests.fix_server import headrace
from tests.prometheus import requests_in_flight, total
from tests.waiting import in_background

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from tests.fix_server import Server
    from tests.wire import Answer

CLIENTS = 6


@contextmanager
def held(uri: str, statement: str) -> Iterator[None]:
    """Another session runs a statement and keeps its transaction open."""
    with psycopg.connect(uri) as connection:
        connection.execute(statement.encode())
        yield
        connection.rollback()


def metric(run_id: str, step: int) -> dict[str, Any]:
    """A batch of one point."""
    return {"run_id": run_id, "metrics": [point("m", step, step)]}


def test_a_locked_row_delays_only_its_run(tmp_path: Path, postgres_uri: str) -> None:
    """Clients of other runs get 200 while the lock is held; those of the locked run get 429."""
    with headrace(postgres_uri, tmp_path) as server, Once(server.url) as wire:
        mine, locked = wire.new_run(name="mine"), wire.new_run(name="locked")
        for run_id in (mine, locked):
            wire.made("runs/log-batch", metric(run_id, 1))
        refused: list[Answer] = []

        def log_to_locked() -> None:
            with Once(server.url) as own:
                refused.append(own.post("runs/log-batch", metric(locked, 2)))

        lock = f"UPDATE latest_metrics SET value = 2 WHERE run_uuid = '{locked}'"
        with held(postgres_uri, lock):
            writers = start(CLIENTS, server.url, mine)
            in_threads([log_to_locked, log_to_locked])
            all_go_on(writers)
            for writer in writers:
                writer.stop()
        assert set().union(*(w.answers for w in writers)) == {"200"}
        heard = [(one.status, one.json()["error_code"]) for one in refused]
        assert heard == [(429, "REQUEST_LIMIT_EXCEEDED")] * 2
        points = f"SELECT step FROM metrics WHERE run_uuid = '{locked}'"
        assert rows(postgres_uri, points) == [(1,)]
        wire.made("runs/log-batch", metric(locked, 2))
        check_acknowledged(postgres_uri, mine, writers)


def all_go_on(writers: list[Writer]) -> None:
    """Wait until every writer gets two more acknowledgements."""
    before = [len(writer.batches) for writer in writers]
    eventually(
        lambda: all(len(w.batches) > n + 1 for w, n in zip(writers, before, strict=True)), 10
    )


def test_writes_that_wait_for_a_lock_follow_its_release(tmp_path: Path, postgres_uri: str) -> None:
    """The operations are written in their order; meanwhile /metrics shows a run that is set aside."""
    with headrace(postgres_uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run()
        tags: list[Future[int]] = []
        with held(postgres_uri, f"SELECT * FROM runs WHERE run_uuid = '{run_id}' FOR UPDATE"):
            for value in range(3):
                body = tag(run_id, value)
                tags.append(in_background(partial(send, server, "runs/set-tag", body)))
                # So that they arrive in this order.
                eventually(lambda: requests_in_flight(wire) == len(tags), 30)
            eventually(lambda: total(wire, "headrace_runs_set_aside") == 1, 30)
        assert [one.result(30) for one in tags] == [200] * 3
        assert rows(postgres_uri, "SELECT value FROM tags WHERE key = 't'") == [("2",)]


def tag(run_id: str, value: int) -> dict[str, Any]:
    """A request that sets the tag `t`."""
    return {"run_id": run_id, "key": "t", "value": str(value)}


def send(server: Server, name: str, body: dict[str, Any]) -> int:
    """The status of a request on a new connection."""
    with Once(server.url) as wire:
        return wire.post(name, body).status


def test_writes_that_wait_for_a_lock_delay_no_other_run(tmp_path: Path, postgres_uri: str) -> None:
    """Even if they outnumber the connections for writes; they are written when the lock is released."""
    with headrace(postgres_uri, tmp_path) as server, Once(server.url) as wire:
        run_id = wire.new_run(name="mine")
        experiment_id = wire.made("experiments/create", {"name": "locked"})["experiment_id"]
        body = {"experiment_id": experiment_id, "key": "k", "value": "v"}
        set_tag = partial(send, server, "experiments/set-experiment-tag", body)
        lock = f"SELECT * FROM experiments WHERE experiment_id = {experiment_id} FOR UPDATE"
        with held(postgres_uri, lock):
            tags = [in_background(set_tag) for _ in range(CLIENTS)]
            eventually(lambda: requests_in_flight(wire) == len(tags), 30)
            writers = start(CLIENTS, server.url, run_id)
            time.sleep(1)  # so that the requests reach the locks
            all_go_on(writers)
            for writer in writers:
                writer.stop()
        assert [one.result(30) for one in tags] == [200] * CLIENTS
        assert set().union(*(w.answers for w in writers)) == {"200"}


@pytest.mark.parametrize(
    "settings",
    [
        {"lock_timeout": "300ms"},
        {"statement_timeout": "300ms"},
        {"idle_in_transaction_session_timeout": "50ms", "idle_session_timeout": "30ms"},
        {"default_transaction_isolation": "serializable"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_of_the_role_are_no_errors(
    settings: dict[str, str], tmp_path: Path, postgres_uri: str
) -> None:
    """Other runs are written while one is locked; that one is written when the lock is released."""
    name = urlsplit(postgres_uri).path[1:]
    with psycopg.connect(postgres_uri, autocommit=True) as admin:
        for key, value in settings.items():
            admin.execute(f"ALTER DATABASE \"{name}\" SET {key} = '{value}'".encode())
    with headrace(postgres_uri, tmp_path) as server, Once(server.url) as wire:
        mine, locked = wire.new_run(name="mine"), wire.new_run(name="locked")
        with held(
            postgres_uri,
            "SET idle_in_transaction_session_timeout = 0;"
            f"SELECT * FROM runs WHERE run_uuid = '{locked}' FOR UPDATE",
        ):
            writers = start(CLIENTS, server.url, mine)
            waiting = in_background(partial(send, server, "runs/log-batch", metric(locked, 1)))
            time.sleep(1)  # so that the time limits expire
            all_go_on(writers)
            for writer in writers:
                writer.stop()
        assert waiting.result(30) == 200
        assert set().union(*(w.answers for w in writers)) == {"200"}
        check_acknowledged(postgres_uri, mine, writers)
        assert "Traceback" not in server.log()
