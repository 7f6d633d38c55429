"""Many batches in one transaction, on PostgreSQL with COPY: each row once, and correct latest metrics."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import pytest

from headrace.api.tracking.runs import batch
from headrace.api.tracking.runs.types import MetricIn, ParamIn, TagIn
from headrace.commit.group import GroupCommit
from headrace.db.base import COPY_ROWS
from headrace.db.open import open_database
from headrace.db.sql import Bulk, Sql
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from headrace.db.base import Database, Tx

RUNS = [f"{n:032x}" for n in range(4)]
BATCHES = 12
VALUES = [math.nan, math.inf, -math.inf, -0.0, 1.5, 7.0]


@pytest.fixture
async def db(uri: str) -> AsyncIterator[Database]:
    """A database with some active runs."""
    opened = await open_database(Settings(backend_store_uri=uri))

    async def make_runs(tx: Tx) -> None:
        fixed = {"experiment_id": "0", "lifecycle_stage": "'active'"}
        insert = Bulk("runs", run_uuid="text", fixed=fixed)
        await tx.executemany(insert, [(run,) for run in RUNS])

    await opened.write(make_runs)
    yield opened
    await opened.close()


def batches(seed: int) -> list[batch.Batch]:
    """More points and params than one statement takes, some points twice, in random order."""
    dice = random.Random(seed)
    made = []
    for n in range(BATCHES):
        points = [
            MetricIn(f"metric {dice.randrange(40)}", dice.choice(VALUES), n // 3, dice.randrange(9))
            for _ in range(120)
        ]
        params = [ParamIn(f"param {n} {m}", f"é {n % 3}") for m in range(80)]
        tags = [TagIn(f"tag {m}", str(n)) for m in range(dice.randrange(9))]
        made.append(batch.from_parts(RUNS[n % len(RUNS)], points, params, tags))
    assert sum(len(b.points) for b in made) > COPY_ROWS
    assert sum(len(b.params) for b in made) > COPY_ROWS
    return made


async def stored(db: Database, table: str, columns: str) -> list[tuple[Any, ...]]:
    """All rows of a table."""

    async def read(tx: Tx) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await tx.fetch(Sql(f"SELECT {columns} FROM {table}"))]

    return sorted(await db.read(read))


def expected_points(made: list[batch.Batch]) -> list[tuple[Any, ...]]:
    return sorted({point for one in made for point in one.points})


def latest(points: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The greatest (step, timestamp, value) of each run and key."""
    best: dict[tuple[str, str], tuple[Any, ...]] = {}
    for point in points:
        key, timestamp, step, run, value, _ = point
        known = best.get((key, run))
        if known is None or (step, timestamp, value) > (known[2], known[1], known[4]):
            best[key, run] = point
    return iter(sorted(best.values()))


async def check(db: Database, made: list[batch.Batch]) -> None:
    """The database has exactly the rows of the batches."""
    points = "key, timestamp, step, run_uuid, value, is_nan"
    wanted = expected_points(made)
    assert await stored(db, "metrics", points) == wanted
    # If points differ only in NaN, either may be the latest.
    found = [row[:5] for row in await stored(db, "latest_metrics", points)]
    assert found == [row[:5] for row in latest(wanted)]
    params = sorted((b.run_id, key, value) for b in made for key, value in b.params)
    assert await stored(db, "params", "run_uuid, key, value") == params
    tags = {(b.run_id, key): value for b in made for key, value in b.tags.items()}
    found = await stored(db, "tags", "run_uuid, key, value")
    assert found == sorted((*pair, value) for pair, value in tags.items())


async def test_a_large_group_is_written(db: Database) -> None:
    made = batches(1)
    assert await db.write(batch.apply, made) == [None] * BATCHES
    await check(db, made)


async def test_a_large_group_that_is_sent_again_is_written_once(db: Database) -> None:
    """Some of its rows exist already."""
    made, more = batches(1), batches(2)
    await db.write(batch.apply, made)
    for one in more:
        one.params.clear()
    both = made + more
    assert await db.write(batch.apply, both) == [None] * len(both)
    await check(db, both)


async def test_points_alone_are_written_once_too(db: Database) -> None:
    """A group of points alone, small or large, uses its own statements."""
    made = batches(3)
    for one in made:
        one.params.clear()
        one.tags.clear()
    writer = GroupCommit(db)
    for _ in range(2):
        for group in (made[:2], made):
            for answer in [writer.submit(batch.KIND, one, one.cost_bytes()) for one in group]:
                await answer
    await writer.close()
    await check(db, made)


async def test_a_changed_param_in_a_large_group_fails_alone(db: Database) -> None:
    first = batch.from_parts(RUNS[0], [], [ParamIn("param 4 7", "another")], [])
    await db.write(batch.apply, [first])
    made, wrong = batches(1), 4  # its "param 4 7" is not "another"
    writer = GroupCommit(db)
    answers = [writer.submit(batch.KIND, one, one.cost_bytes()) for one in made]
    for n, answer in enumerate(answers):
        if n == wrong:
            with pytest.raises(Exception, match="Changing param values is not allowed"):
                await answer
        else:
            assert await answer is None
    await writer.close()
    kept = [one for n, one in enumerate(made) if n != wrong]
    await check(db, [first, *kept])
