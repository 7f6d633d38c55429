"""Signals, draining, worker processes and their supervisor, on real servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from tests.fix_proxy import Proxy, address_of
from tests.fix_server import base_environment, free_port, headrace
from tests.processes import children, has_ended
from tests.prometheus import requests_in_flight
from tests.waiting import eventually, in_background
from tests.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

from tests.fix_server import Server

LIMIT_S = 60
JSON = {"Content-Type": "application/json"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and POSIX signals")


def create_experiment(url: str, name: str) -> Answer:
    """A write on a new connection. If the connection breaks, `Wire` retries and may find the port closed."""
    with Wire(url) as wire:
        body = json.dumps({"name": name}).encode()
        return wire.ask("POST", "/api/2.0/mlflow/experiments/create", body, JSON)


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the write lock of a SQLite file, so that a write waits for us."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def waiting_write(server: Server, name: str) -> Future[Answer]:
    """A write that the server has received and that waits for the lock of the file."""
    call = in_background(lambda: create_experiment(server.url, name))
    with Wire(server.url) as wire:
        eventually(lambda: requests_in_flight(wire) == 1)
    assert not call.done()
    return call


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(number: int, tmp_path: Path) -> None:
    """Requests in flight are answered, new ones are refused, and the exit code is 0."""
    with headrace("sqlite:///mlflow.db", tmp_path) as server:
        with locked(tmp_path / "mlflow.db"):
            call = waiting_write(server, "in flight")
            server.process.send_signal(number)
            eventually(lambda: "draining: 1 requests" in server.log())
            with pytest.raises(ConnectionRefusedError):
                create_experiment(server.url, "too late")
        assert server.process.wait(LIMIT_S) == 0
        assert call.result(LIMIT_S).status == 200
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM experiments")]
    assert names == ["Default", "in flight"]


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """Without a wait for requests in flight."""
    with headrace("sqlite:///mlflow.db", tmp_path) as server, locked(tmp_path / "mlflow.db"):
        call = waiting_write(server, "in flight")
        server.process.terminate()
        eventually(lambda: "draining: 1 requests" in server.log())
        server.process.terminate()
        assert server.process.wait(LIMIT_S) == 128 + signal.SIGTERM
        assert isinstance(call.exception(LIMIT_S), OSError)
        assert "second signal" in server.log()


def test_the_drain_timeout_ends_the_wait(tmp_path: Path) -> None:
    """With exit code 1 and a line about the interrupted requests."""
    options = ("--drain-timeout-s", "0.2")
    with headrace("sqlite:///mlflow.db", tmp_path, *options) as server:
        with locked(tmp_path / "mlflow.db"):
            call = waiting_write(server, "in flight")
            server.process.terminate()
            assert server.process.wait(LIMIT_S) == 1
            assert isinstance(call.exception(LIMIT_S), OSError)
        assert "1 requests are cut off" in server.log()


def test_an_idle_connection_does_not_hold_a_stop_up(tmp_path: Path) -> None:
    """Keep-alive connections are closed."""
    with headrace("sqlite:///mlflow.db", tmp_path) as server, Wire(server.url) as wire:
        assert wire.ask("GET", "/health").status == 200
        server.process.terminate()
        assert server.process.wait(LIMIT_S) == 0
        assert "draining: 0 requests" in server.log()


def test_workers_share_the_port_and_stop_together(postgres_empty_uri: str, tmp_path: Path) -> None:
    """Three processes, one address; one signal ends all of them."""
    with headrace(postgres_empty_uri, tmp_path, "--workers", "3") as server:
        workers = eventually(lambda: children(server.process.pid))
        assert len(workers) == 3
        eventually(lambda: "ready in" in server.log())
        for n in range(20):
            assert create_experiment(server.url, f"e{n}").status == 200
        server.process.terminate()
        assert server.process.wait(LIMIT_S) == 0
        assert all(has_ended(pid) for pid in workers)
        text = server.log()
    assert text.count("ready in") == 1
    assert "processes  3" in text


@contextmanager
def locked_experiments(uri: str, url: str) -> Iterator[Future[Answer]]:
    """A write that the server has received and that waits for a lock on its table."""
    with psycopg.connect(uri) as connection:
        connection.execute("LOCK TABLE experiments IN ACCESS EXCLUSIVE MODE")
        call = in_background(lambda: create_experiment(url, "in flight"))
        eventually(lambda: _waits_for_lock(connection))
        yield call


def test_a_signal_to_the_whole_group_drains_too(postgres_empty_uri: str, tmp_path: Path) -> None:
    """As some process managers do: the workers then get the signal twice."""
    with headrace(postgres_empty_uri, tmp_path, "--workers", "2") as server:
        eventually(lambda: "ready in" in server.log())
        with locked_experiments(postgres_empty_uri, server.url) as call:
            os.killpg(server.process.pid, signal.SIGTERM)
            eventually(lambda: "draining: 1 requests" in server.log())
        assert server.process.wait(LIMIT_S) == 0
        assert call.result(LIMIT_S).status == 200


def test_a_second_signal_stops_all_workers_at_once(postgres_empty_uri: str, tmp_path: Path) -> None:
    """Ctrl+C twice: all processes end without a wait."""
    with headrace(postgres_empty_uri, tmp_path, "--workers", "2") as server:
        eventually(lambda: "ready in" in server.log())
        workers = children(server.process.pid)
        with locked_experiments(postgres_empty_uri, server.url) as call:
            os.killpg(server.process.pid, signal.SIGINT)
            eventually(lambda: "draining: 1 requests" in server.log())
            os.killpg(server.process.pid, signal.SIGINT)
            assert server.process.wait(LIMIT_S) == 128 + signal.SIGINT
            assert isinstance(call.exception(LIMIT_S), OSError)
        assert all(has_ended(pid) for pid in workers)


def _waits_for_lock(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    return row is not None and row[0] > 0


def test_a_dead_worker_is_replaced(postgres_empty_uri: str, tmp_path: Path) -> None:
    """After any kind of end; requests are served meanwhile."""
    with headrace(postgres_empty_uri, tmp_path, "--workers", "2") as server:
        pid = server.process.pid
        eventually(lambda: "ready in" in server.log())
        before = set(children(pid))
        victim, survivor = sorted(before)
        os.kill(victim, signal.SIGKILL)
        assert create_experiment(server.url, "meanwhile").status == 200
        after = eventually(lambda: (now := set(children(pid)) - {victim}) - before and now)
        assert survivor in after
        assert len(after) == 2
        assert f"worker process {victim} ended (signal 9)" in server.log()
        os.kill(survivor, signal.SIGTERM)  # drains that one alone
        eventually(lambda: f"worker process {survivor} ended (exit code 0)" in server.log())
        eventually(lambda: len(set(children(pid)) - {victim, survivor}) == 2)
        assert create_experiment(server.url, "afterwards").status == 200
        server.process.terminate()
        assert server.process.wait(LIMIT_S) == 0


def test_workers_do_not_outlive_their_supervisor(postgres_empty_uri: str, tmp_path: Path) -> None:
    """Not even when it is killed."""
    with headrace(postgres_empty_uri, tmp_path, "--workers", "2") as server:
        eventually(lambda: "ready in" in server.log())
        workers = children(server.process.pid)
        server.process.kill()
        server.process.wait(LIMIT_S)
        for worker in workers:
            eventually(lambda pid=worker: has_ended(pid))
        assert "the supervisor has ended" in server.log()


def test_a_worker_that_cannot_start_ends_the_start(postgres_empty_uri: str, tmp_path: Path) -> None:
    """Said once, exit code 1."""
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "server", "--port", "0", "--workers", "3"],
        cwd=tmp_path,
        env=base_environment() | {"MLFLOW_BACKEND_STORE_URI": postgres_empty_uri + "_not"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("Error: ") == 1
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_sqlite_file_has_one_process(tmp_path: Path) -> None:
    """Even if more are requested."""
    with headrace("sqlite:///mlflow.db", tmp_path, "--workers", "4") as server:
        assert children(server.process.pid) == []


def test_servers_that_start_together_on_an_empty_file_all_start(tmp_path: Path) -> None:
    """One of them creates the tables, the others find them."""
    with contextlib.ExitStack() as stack:
        pending = [
            stack.enter_context(_starting("sqlite:///mlflow.db", tmp_path)) for _ in range(4)
        ]
        for server in pending:
            assert server.stdout is not None
            assert "headrace" in server.stdout.readline()
        text = [server.stdout.readline() for server in pending if server.stdout]
        assert len(text) == 4
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        count = connection.execute("SELECT count(*) FROM experiments").fetchone()
    assert count == (1,)


def test_servers_that_start_together_on_an_empty_database_all_start(
    postgres_empty_uri: str, tmp_path: Path
) -> None:
    """The same on PostgreSQL."""
    with contextlib.ExitStack() as stack:
        pending = [stack.enter_context(_starting(postgres_empty_uri, tmp_path)) for _ in range(4)]
        for server in pending:
            assert server.stdout is not None
            assert "headrace" in server.stdout.readline()
    with psycopg.connect(postgres_empty_uri) as connection:
        count = connection.execute("SELECT count(*) FROM experiments").fetchone()
    assert count == (1,)


@contextmanager
def _starting(uri: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    server = subprocess.Popen(
        [sys.executable, "-m", "headrace", "server", "--port", "0", "--backend-store-uri", uri],
        cwd=directory,
        env=base_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield server
    finally:
        server.terminate()
        server.communicate(timeout=LIMIT_S)


def test_a_database_that_comes_up_later_is_waited_for(
    postgres_empty_uri: str, tmp_path: Path
) -> None:
    """A compose file starts both at once. The password in the URI is not in the log."""
    parts = urlsplit(postgres_empty_uri)
    port = free_port()
    later = parts._replace(netloc=f"{parts.username}:s3cret@127.0.0.1:{port}")
    with _starting(urlunsplit(later), tmp_path) as server:
        assert server.stdout is not None
        time.sleep(1)  # most often it has tried the port by then; the test holds if it has not
        assert server.poll() is None
        with Proxy(*address_of(postgres_empty_uri), listen=port):
            first = server.stdout.readline()
            assert first.startswith("headrace ")
            rest = "".join(server.stdout.readline() for _ in range(6))
            assert f"postgres:***@127.0.0.1:{port}/" in rest
            assert "s3cret" not in rest
