"""SQLite's threads: a slow read is interrupted, a failed open is retried, and stopping does not hang."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import weakref
from contextlib import asynccontextmanager, closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.waiting import eventually

from headrace.db.errors import Unavailable
from headrace.db.schema import sqlite as schema
from headrace.db.sql import Sql
from headrace.db.sqlite import worker as sqlite_worker
from headrace.db.sqlite.connection import connect
from headrace.db.sqlite.database import SqliteDatabase
from headrace.db.sqlite.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from headrace.db.base import Tx

ENDLESS = Sql(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000000000)"
    " SELECT max(i) FROM n"
)
ONE = Sql("SELECT 1")


async def fetch(tx: Tx, sql: Sql) -> Any:
    """A transaction of one statement."""
    return await tx.fetch(sql)


@asynccontextmanager
async def database(directory: Path, **options: Any) -> AsyncIterator[SqliteDatabase]:
    """A database with one thread for reads."""
    path = str(directory / "threads.db")
    with closing(connect(path, read_only=False, synchronous="OFF")) as connection:
        facts = schema.prepare(connection, path, "mlflow-artifacts:/0")
        connection.execute("PRAGMA journal_mode = WAL")
    db = SqliteDatabase(path, facts, readers=1, **options)
    try:
        yield db
    finally:
        await db.close()


async def test_a_read_that_takes_too_long_is_ended_and_the_thread_goes_on(tmp_path: Path) -> None:
    async with database(tmp_path, read_limit_s=0.2) as db:
        with pytest.raises(Unavailable, match="took too long"):
            await db.read(fetch, ENDLESS)
        assert await db.read(fetch, ONE) == [(1,)]
        assert await db.read(fetch, ONE) == [(1,)]


async def test_a_read_whose_caller_left_frees_its_thread(tmp_path: Path) -> None:
    """Whether the read is running or queued."""
    async with database(tmp_path) as db:
        left = [asyncio.ensure_future(db.read(fetch, ENDLESS)) for _ in range(3)]
        while db.load()["read"][0] == 0:
            await asyncio.sleep(0.01)
        for task in left:
            task.cancel()
        assert await asyncio.wait_for(db.read(fetch, ONE), 30) == [(1,)]


async def test_closing_interrupts_endless_reads(tmp_path: Path) -> None:
    async with database(tmp_path) as db:
        reading = asyncio.ensure_future(db.read(fetch, ENDLESS))
        while db.load()["read"][0] == 0:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(db.close(), 30)
        with pytest.raises(Unavailable):
            await reading


async def test_a_connection_that_cannot_be_opened_fails_one_job_and_is_tried_again(
    tmp_path: Path,
) -> None:
    """As when the process has no descriptors left for a moment."""
    path = str(tmp_path / "later" / "threads.db")
    worker = Worker("opens-later", lambda: connect(path, read_only=False, synchronous="OFF"))
    try:
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError, match="unable to open"):
                await worker.call(lambda c: c.execute("SELECT 1").fetchall())
        (tmp_path / "later").mkdir()
        assert await worker.call(lambda c: c.execute("SELECT 1").fetchall()) == [(1,)]
    finally:
        worker.stop()


class Rows:
    """The rows that a job holds when it fails, or returns."""


async def outcome(worker: Worker, *, fails: bool) -> weakref.ref[Rows]:
    """Refers to what a job held that has ended."""
    found: list[weakref.ref[Rows]] = []

    def job(_: sqlite3.Connection) -> Rows:
        rows = Rows()
        found.append(weakref.ref(rows))
        if fails:
            raise ValueError
        return rows

    with suppress(ValueError):
        await worker.call(job)
    return found[0]


@pytest.mark.parametrize("fails", [False, True], ids=["result", "error"])
async def test_what_a_job_held_is_freed_without_the_cycle_collector(fails: bool) -> None:
    """Otherwise reads that find too many rows fill the memory until the collector runs."""
    worker = Worker("frees", lambda: sqlite3.connect(":memory:"))
    gc.disable()
    try:
        held = await outcome(worker, fails=fails)
        await asyncio.to_thread(eventually, lambda: held() is None, 10)
    finally:
        gc.enable()
        worker.stop()


async def test_a_thread_that_hangs_does_not_keep_the_process_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For example in a call of the file system, which cannot be interrupted."""
    monkeypatch.setattr(sqlite_worker, "STOP_TIMEOUT_S", 0.1)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_: sqlite3.Connection) -> None:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()

    worker = Worker("hangs", lambda: sqlite3.connect(":memory:"))
    hanging = worker.call(hang)
    await asyncio.to_thread(worker.stop)
    assert worker.busy
    released.set()
    await hanging
    await asyncio.to_thread(eventually, lambda: not worker.busy, 10)
