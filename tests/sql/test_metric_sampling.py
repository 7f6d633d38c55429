"""Long histories are sampled with an index walk, which finds the same points as sorting all of them."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from headrace.api.tracking.metrics import sampling_sql as sampling
from headrace.db.open import open_database
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.db.base import Database

RUN = "0" * 32
POINTS = 3_000
EVERYTHING = (-(2**63) + 1, 2**63 - 1)
LAYOUTS = {
    "one point a step": lambda n: n,
    "gaps, from below zero": lambda n: n * 7 - 10_000,
    "three points a step": lambda n: n // 3,
    "few points a step, unevenly": lambda n: random.Random(n // 40).randrange(90) + n // 40 * 100,
}
LAST_TAKES_ITS_PLACE = [-10_000, -4_750, 500, (POINTS - 1) * 7 - 10_000]  # of "gaps", four of them
TOO_MANY = "all points at one step"


def points(key: str) -> list[tuple[Any, ...]]:
    """Rows of a history with the layout of steps that its key names."""
    step_of = LAYOUTS.get(key, lambda _: 0)
    rows = [(key, n % 5 / 3, n % 11, RUN, step_of(n), n % 17 == 0) for n in range(POINTS)]
    return list(dict.fromkeys(rows))


@pytest.fixture
async def db(uri: str) -> AsyncIterator[Database]:
    """Histories of every layout."""
    rows = [row for key in (*LAYOUTS, TOO_MANY) for row in points(key)]
    random.Random(1).shuffle(rows)
    columns = "INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES"
    run = f"INSERT INTO runs (run_uuid, experiment_id) VALUES ('{RUN}', 0)"
    opened = await open_database(Settings(backend_store_uri=uri))
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(run)
            connection.executemany(f"INSERT {columns} (?, ?, ?, ?, ?, ?)", rows)
    else:
        with psycopg.connect(uri) as connection:
            connection.execute(run.encode())
            sql = f"INSERT {columns} (%s, %s, %s, %s, %s, %s)"
            connection.cursor().executemany(sql.encode(), rows)
    yield opened
    await opened.close()


async def test_the_walk_finds_what_the_sort_finds(db: Database) -> None:
    """For every layout of steps, any number of buckets, and a range of steps."""

    async def both(tx: Any, key: str, limit: int, start: int, end: int) -> tuple[Any, Any]:
        found = await sampling.walked(tx, RUN, key, limit, start, end)
        wanted = await tx.fetch(sampling.SORTED, RUN, key, limit, start, end)
        return found, wanted

    for key in LAYOUTS:
        for limit in (1, 2, 7, 320, 1_499):
            for start, end in (EVERYTHING, (-500, 700)):
                found, wanted = await db.read(both, key, limit, start, end)
                if len(wanted) > limit:  # there are more points than buckets
                    assert [tuple(row) for row in found] == [tuple(row) for row in wanted], key


async def test_a_history_at_one_step_is_not_walked(db: Database) -> None:
    """Each step of a walk would scan all points before it."""
    assert await db.read(sampling.walked, RUN, TOO_MANY, 7, *EVERYTHING) is None


@pytest.fixture
def all_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories are long from 100 points on."""
    shorter = {
        name: getattr(sampling.IS_LONG, name).replace(f"OFFSET {sampling.LONG}", "OFFSET 100")
        for name in ("postgres", "sqlite")
    }
    monkeypatch.setattr(sampling, "IS_LONG", sampling.Sql(**shorter))


async def test_long_histories_are_walked(
    db: Database, all_are_long: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the last point replaces the last sampled point."""
    monkeypatch.setattr(sampling, "SORTED", None)
    rows = await db.read(sampling.sampled, RUN, "gaps, from below zero", 4, *EVERYTHING)
    assert [row[2] for row in rows] == LAST_TAKES_ITS_PLACE


async def test_without_the_index_nothing_is_walked(
    db: Database, all_are_long: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in databases of MLflow before 3.12."""

    async def drop(tx: Any) -> None:
        await tx.fetch(sampling.Sql("DROP INDEX index_metrics_run_uuid_key_step"))

    await db.write(drop)
    monkeypatch.setattr(sampling, "walked", None)
    rows = await db.read(sampling.sampled, RUN, "gaps, from below zero", 4, *EVERYTHING)
    assert [row[2] for row in rows] == LAST_TAKES_ITS_PLACE
