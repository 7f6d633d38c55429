"""Many processes that start at the same moment on one empty database all start successfully."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
from tests.fix_server import headrace
from tests.wire import Wire

from headrace.db.schema import heads, postgres, sqlite

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

PROCESSES = 8
LOCATION = "mlflow-artifacts:/0"
Answers = Any  # multiprocessing's queue of (head, created), or of (the error, None)


def start_on_sqlite(path: str, barrier: Barrier, answers: Answers) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as connection:
        barrier.wait(60)
        facts = sqlite.prepare(connection, path, LOCATION)
        answers.put((facts.head, facts.created, len(facts.missing)))


def start_on_postgres(uri: str, barrier: Barrier, answers: Answers) -> None:
    async def start() -> None:
        connection = await asyncpg.connect(uri)
        try:
            barrier.wait(60)
            facts = await postgres.prepare(connection, uri, LOCATION)
        finally:
            await connection.close()
        answers.put((facts.head, facts.created, len(facts.missing)))

    asyncio.run(start())


def start_together(target: Any, place: str) -> list[tuple[str, bool, int]]:
    """The answers of PROCESSES processes that ran `target(place, …)` at the same moment."""
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(PROCESSES), spawn.Queue()
    processes = [
        spawn.Process(target=target, args=(place, barrier, answers)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        process.kill()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    return [answers.get(timeout=5) for _ in processes]


def the_one_maker_and_the_others(answers: list[tuple[str, bool, int]]) -> None:
    found = [(heads.CURRENT, False, 0)] * (PROCESSES - 1) + [(heads.CURRENT, True, 0)]
    assert sorted(answers) == found


def test_eight_processes_start_on_one_empty_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    the_one_maker_and_the_others(start_together(start_on_sqlite, str(path)))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (1,)


def test_eight_processes_start_on_one_empty_postgres_database(postgres_empty_uri: str) -> None:
    the_one_maker_and_the_others(start_together(start_on_postgres, postgres_empty_uri))
    with psycopg.connect(postgres_empty_uri) as connection:
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (1,)


def serve_together(uri: str, directory: Path) -> None:
    """Start four servers at once on one empty database; each must start and serve experiment 0."""
    starting = [headrace(uri, directory) for _ in range(4)]  # each runs from here on
    with ExitStack() as stack:
        servers = [stack.enter_context(server) for server in starting]
        for server in servers:
            with Wire(server.url) as wire:
                answer = wire.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")
                assert answer.json()["experiment"]["name"] == "Default"


def test_four_servers_start_on_one_empty_sqlite_file(tmp_path: Path) -> None:
    serve_together(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", tmp_path)


def test_four_servers_start_on_one_empty_postgres_database(
    postgres_empty_uri: str, tmp_path: Path
) -> None:
    serve_together(postgres_empty_uri, tmp_path)
