"""The group commit on real databases: early refusals, the order of locks, interruptions."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from headrace.api.tracking.runs import batch, create, update
from headrace.api.tracking.runs.types import CreateRun, MetricIn, ParamIn, RunStatus, TagIn
from headrace.commit.direct import DirectCommit
from headrace.commit.group import GroupCommit
from headrace.contract.errors import ApiError
from headrace.db.coroutines import run_to_end
from headrace.db.errors import raised
from headrace.db.open import open_database, open_direct
from headrace.db.sql import Bulk, Sql
from headrace.db.sqlite import direct
from headrace.settings.table import Settings

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from headrace.db.base import Database, Tx
    from headrace.db.sqlite.direct import DirectSqlite

RUNS = [f"{n:032x}" for n in range(20)]
INSERT = Bulk(
    "runs",
    run_uuid="text",
    fixed={"experiment_id": "0", "lifecycle_stage": "'active'", "status": "'RUNNING'"},
)
COUNT = Sql("SELECT count(*) FROM runs WHERE name = $1")


async def make_runs(tx: Tx) -> None:
    """The runs of these tests."""
    await tx.executemany(INSERT, [(run,) for run in RUNS])


@pytest.fixture
async def db(uri: str) -> AsyncIterator[Database]:
    """A database with some active runs."""
    opened = await open_database(Settings(backend_store_uri=uri))
    await opened.write(make_runs)
    yield opened
    await opened.close()


async def test_a_metric_of_an_unknown_model_costs_no_second_transaction(db: Database) -> None:
    """It is refused inside the one transaction of its group."""
    writer = GroupCommit(db)
    wrong = MetricIn("m", 1.0, 1, 1)
    wrong.model_id = "m-nosuchmodel"
    groups: list[int] = []
    writer.on_group = lambda operations, wait_s, flush_s: groups.append(operations)
    before = dict(raised)
    made = [batch.from_parts(run, [MetricIn("m", 1.0, 1, 1)], [], []) for run in RUNS]
    bad = [batch.from_parts(run, [wrong], [], []) for run in RUNS[:3]]
    asked = [writer.submit(batch.KIND, one, one.cost_bytes()) for one in made + bad]
    heard = await asyncio.gather(*asked, return_exceptions=True)
    await writer.close()
    assert heard[: len(made)] == [None] * len(made)
    assert all(isinstance(one, ApiError) and one.status == 400 for one in heard[len(made) :])
    assert groups == [len(asked)]
    assert dict(raised) == before


async def test_runs_are_locked_in_one_order(uri: str, database: str) -> None:
    """Two processes that end the same runs in different orders cause no deadlock."""
    if database == "sqlite":
        pytest.skip("one transaction at a time")
    one, two = [await open_database(Settings(backend_store_uri=uri)) for _ in range(2)]
    await one.write(make_runs)
    before = raised["Retryable"], raised["Blocked"]
    dice = random.Random(1)

    async def end_runs(db: Database) -> None:
        for turn in range(60):
            runs = dice.sample(RUNS, 15)
            changes = [update.Change(run, RunStatus.FINISHED, turn, f"{turn}") for run in runs]
            await db.write_group(update.apply, changes, lock_s=5)

    await asyncio.gather(end_runs(one), end_runs(one), end_runs(two), end_runs(two))
    assert (raised["Retryable"], raised["Blocked"]) == before
    await one.close()
    await two.close()


def test_the_cost_of_an_operation_is_its_size_in_bytes() -> None:
    """The size of keys and values in UTF-8, so that the limit of the queue is a limit of memory."""
    run = RUNS[0]
    ascii_, wide = (
        batch.from_parts(run, [], [ParamIn("p", text)], [TagIn("t", text)]).cost_bytes()
        for text in ("x" * 1000, "語" * 1000)
    )
    assert wide - ascii_ == 2 * 2000
    plain = create.NewRun(CreateRun(experiment_id="0", run_name="r")).cost_bytes()
    tags = [TagIn("t", "語" * 1000)]
    assert (
        create.NewRun(CreateRun(experiment_id="0", run_name="r", tags=tags)).cost_bytes()
        >= plain + 3000
    )


class Interrupted:
    """An SQLite connection that raises KeyboardInterrupt where `press(moment, statement)` is true."""

    def __init__(self, real: sqlite3.Connection, press: Callable[[str, str], bool]) -> None:
        self._real = real
        self._press = press

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *args: Any) -> Any:
        """The statement, with an interruption before or after it."""
        if self._press("before", sql):
            raise KeyboardInterrupt
        cursor = self._real.execute(sql, *args)
        if self._press("after", sql):
            raise KeyboardInterrupt
        return cursor


def stored(db: DirectSqlite, name: str) -> int:
    """Runs of that name."""

    async def read(tx: Tx) -> int:
        row = await tx.fetchrow(COUNT, name)
        assert row is not None
        return int(row[0])

    return run_to_end(db.read(read))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
def test_ctrl_c_at_a_commit(
    statement: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread's operation in the group is answered and written once, wherever the first thread is interrupted."""
    pressed: list[str] = []

    def press(when: str, sql: str) -> bool:
        if armed.is_set() and (when, sql) == (moment, statement) and not pressed:
            pressed.append(sql)
            return True
        return False

    armed = threading.Event()
    connect = direct.connect
    monkeypatch.setattr(
        direct, "connect", lambda *args, **options: Interrupted(connect(*args, **options), press)
    )
    db = open_direct(Settings(backend_store_uri=f"sqlite:///{tmp_path}/m.db"))
    commit = DirectCommit(db)
    answers: list[Any] = []

    def work() -> None:
        new = create.NewRun(CreateRun(experiment_id="0", run_name="theirs"))
        answers.append(commit.submit(create.KIND, new).result())

    mine = create.NewRun(CreateRun(experiment_id="0", run_name="mine"))
    other = threading.Thread(target=work)
    with db:  # both wait for their turn
        other.start()
        while commit.depth < 1:
            pass
    other.join(10)
    assert answers == [None]
    armed.set()
    # The operation of another thread is in the group of the one that is interrupted.
    with db:
        again = threading.Thread(target=work)
        again.start()
        while commit.depth < 1:
            pass
        waiting = commit._pending[0]
        with pytest.raises(KeyboardInterrupt):
            commit._commit_next()
        committed = (statement, moment) == ("COMMIT", "after")
        assert waiting.future.done() == committed
        assert commit.depth == (0 if committed else 1)
    again.join(10)
    assert answers == [None, None]
    assert stored(db, "theirs") == 2
    commit.submit(create.KIND, mine).result()
    assert stored(db, "mine") == 1
    run_to_end(commit.close())
    run_to_end(db.close())
