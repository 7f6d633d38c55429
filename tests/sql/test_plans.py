"""The frequent statements on a large database: each finds its rows through an index and reads few others."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from headrace import search
from headrace.api.tracking.experiments import sql as experiments_sql
from headrace.api.tracking.metrics import extremes_sql, sampling_sql, sql
from headrace.api.tracking.runs import batch_sql
from headrace.api.tracking.runs import sql as runs_sql
from headrace.contract.scalars import INT64_MAX, INT64_MIN
from headrace.db.open import open_database
from headrace.db.sql import statement as statement_of
from headrace.db.upkeep import health
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from headrace.db.base import Dialect
    from headrace.db.sql import Sql

RUNS = 3_000
LONG, POINTS = (
    100,
    500,
)  # how many of the runs have histories, all of the same keys, and of how many points
KEYS = ("loss", "accuracy")
NUMBER = "CAST(substr(run_uuid, 2) AS integer)"  # of a run
RUN, OTHER = "r7", "r70"
EVERY_STEP = (INT64_MIN, INT64_MAX)
# Statement, arguments, number of relevant rows.
HOT: dict[str, tuple[Sql, tuple[Any, ...], int]] = {
    "history": (sql.HISTORY_PAGE, (RUN, "loss", 10_001, 0), POINTS),
    "a page of a history": (sql.HISTORY_PAGE, (RUN, "loss", 100, 100), POINTS),
    "parts of a history": (sql.HISTORY_PARTS, (RUN, "loss", 100, 1000, 50), POINTS),
    "a part of a history": (
        sql.HISTORY_PART,
        (RUN, "loss", 100, 149, 149, 99, 99, 99.0, False, 1000),
        50,
    ),
    "a step of a history": (sql.HISTORY_STEP, (RUN, "loss", 99, 99, 99.0, False, 200), 200),
    "how long a history is": (sql.HISTORY_LENGTH, (RUN, "loss"), POINTS),
    "histories of two runs": (sql.BULK, ([RUN, OTHER], "loss", 25_000), 2 * POINTS),
    "sampled history": (sampling_sql.SORTED, (RUN, "loss", 20, *EVERY_STEP), POINTS),
    "length of a history": (sampling_sql.COUNT, (RUN, "loss", *EVERY_STEP), POINTS),
    "two steps of a history": (sampling_sql.STEPS, (RUN, "loss", *EVERY_STEP, 3), 5),
    "a point of a history": (sampling_sql.POINT, (RUN, "loss", 44, 0), 1),
    "extent of a history": (extremes_sql.EXTENT, (RUN, "loss", *EVERY_STEP, 1_001), POINTS),
    "first point of a history": (extremes_sql.FIRST, (RUN, "loss", *EVERY_STEP, 1), 1),
    "last point of a history": (extremes_sql.LAST, (RUN, "loss", *EVERY_STEP, 1), 1),
    "newest point of a history": (health.LATEST_AND_NEWEST, (RUN, "loss"), 3),
    "runs": (runs_sql.RUNS, ([RUN, OTHER],), 2),
    "stages of runs": (runs_sql.STAGES, ([RUN, OTHER],), 2),
    "latest metrics of runs": (runs_sql.METRICS, ([RUN, OTHER], 10_001), 2 * len(KEYS)),
    "params of runs": (runs_sql.PARAMS, ([RUN, OTHER], 10_001), 2 * len(KEYS)),
    "tags of runs": (runs_sql.TAGS, ([RUN, OTHER], 10_001), 2 * len(KEYS)),
    "long tags of runs": (
        runs_sql.LONG_TAGS,
        ([RUN, OTHER], 2_001, list(KEYS)),
        2 * len(KEYS),
    ),
    "whole runs": (runs_sql.WHOLE_RUNS, ([RUN, OTHER],), 2 + 6 * len(KEYS)),
    "params that are there": (batch_sql.STORED_PARAMS, ([RUN], ["loss"]), 1),
    "an experiment": (experiments_sql.BY_ID, (3,), 1),
}
# A search reads the runs of its experiments whole: MLflow's schema has no index for them. Of what was logged it
# reads the rows that its conditions are about; here so many runs have them.
RARE = 5
SEARCHES = {
    "a rare tag": ("tags.rare = 'yes'", []),
    "a rare metric": ("metrics.rare > 1", ["metrics.rare DESC"]),
    "a rare param of runs with a metric": ("params.rare = 'yes' AND metrics.loss > 1", []),
}
TOUCHED = 3  # at most this many rows for each requested row, plus a few
FEW = 12


def statements(series: str) -> list[str]:
    """Statements that fill the database; `series` is a table of numbers (n) from 0 to its argument."""
    runs = series.format(limit=RUNS)
    points = series.format(limit=POINTS)
    few = f"(SELECT run_uuid FROM runs WHERE {NUMBER} < {LONG}) AS few"
    made = [
        f"INSERT INTO experiments (name, lifecycle_stage) SELECT 'experiment ' || n, 'active' FROM {runs}",
        "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage)"
        f" SELECT 'r' || n, 0, 'active' FROM {runs}",
    ]
    for key in KEYS:
        made += [
            "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan)"
            f" SELECT run_uuid, '{key}', n, n, n, false FROM {few} CROSS JOIN {points}",
            "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan)"
            f" SELECT run_uuid, '{key}', {POINTS}, {POINTS}, {POINTS}, false FROM runs",
            f"INSERT INTO params (run_uuid, key, value) SELECT run_uuid, '{key}', 'v' FROM runs",
            f"INSERT INTO tags (run_uuid, key, value) SELECT run_uuid, '{key}', 'v' FROM runs",
        ]
    few = f"(SELECT run_uuid FROM runs WHERE {NUMBER} < {RARE}) AS few"
    return [
        *made,
        f"INSERT INTO tags (run_uuid, key, value) SELECT run_uuid, 'rare', 'yes' FROM {few}",
        f"INSERT INTO params (run_uuid, key, value) SELECT run_uuid, 'rare', 'yes' FROM {few}",
        "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan)"
        f" SELECT run_uuid, 'rare', 2, 1, 1, false FROM {few}",
    ]


def page_of(name: str, dialect: Dialect) -> search.Page:
    """A search for runs."""
    wanted, order_by = SEARCHES[name]
    return search.runs_page(
        experiment_ids=[0],
        filter=wanted,
        order_by=order_by,
        stages=("active",),
        max_results=100,
        page_token=None,
        dialect=dialect,
    )


@pytest.fixture(scope="module")
def sqlite_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As a server leaves it, without statistics."""
    path = tmp_path_factory.mktemp("plans") / "mlflow.db"
    series = (
        "(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < {limit})"
        " SELECT n FROM s) AS series"
    )

    async def make() -> None:
        await (await open_database(Settings(backend_store_uri=f"sqlite:///{path}"))).close()

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements(series):
            connection.execute(statement)
    yield path


@pytest.mark.parametrize("name", HOT)
@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
def test_sqlite_touches_no_more_rows_than_asked(
    name: str, analyzed: bool, sqlite_path: Path
) -> None:
    """Counted in steps of SQLite's virtual machine; a sorted row takes about fifty."""
    statement, args, asked = HOT[name]
    bound = [json.dumps(one) if isinstance(one, list) else one for one in args]
    scans, steps = work_of(sqlite_path, statement.sqlite, bound, analyzed)
    assert not scans
    assert steps < 200 * asked + 3000, "it reads the points of that key of all runs"


@pytest.mark.parametrize("name", SEARCHES)
def test_sqlite_looks_at_each_run_once(name: str, sqlite_path: Path) -> None:
    """And reads only the requested part of its data."""
    page = page_of(name, "sqlite")
    scans, steps = work_of(sqlite_path, statement_of(page.text).sqlite, page.args, False)
    assert [scan for scan in scans if not scan.startswith(("SCAN runs", "SCAN r"))] == []
    assert steps < 60 * RUNS


def work_of(
    path: Path, statement: str, args: Sequence[Any], analyzed: bool
) -> tuple[list[str], int]:
    """The tables that a statement scans, and its number of steps of SQLite's virtual machine."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 10
        return 0

    with closing(sqlite3.connect(path)) as connection:
        if analyzed:
            connection.execute("BEGIN")  # never committed, so the next test does not see it
            connection.execute("ANALYZE")
            connection.execute("ANALYZE sqlite_schema")
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", args)
        tables = r"SCAN (metrics|latest_metrics|params|tags|runs|m|r)\b(?! VIRTUAL)"
        scans = [row[3] for row in plan if re.match(tables, row[3])]
        connection.set_progress_handler(count, 10)
        assert connection.execute(statement, args).fetchall(), "nothing was looked for"
        connection.set_progress_handler(None, 0)
    return scans, steps


@pytest.fixture
async def postgres(postgres_uri: str) -> Any:
    """With the statistics that autovacuum gathers."""
    connection = await asyncpg.connect(postgres_uri)
    for statement in statements("generate_series(0, {limit}) AS series(n)"):
        await connection.execute(statement)
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


def touched(node: dict[str, Any], but: str = "") -> float:
    """The number of rows that a plan and its children read, without those of one table."""
    rows = sum(
        node.get(name, 0)
        for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    )
    counts = node.get("Relation Name", but) != but
    own = rows * node["Actual Loops"] if counts else 0
    return own + sum(touched(child, but) for child in node.get("Plans", ()))


async def explained(connection: asyncpg.Connection[Any], sql: str, args: Sequence[Any]) -> Any:
    """The plan with actual row counts."""
    found = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *args)
    return json.loads(found)[0]["Plan"]


async def test_postgres_touches_no_more_rows_than_asked(postgres: asyncpg.Connection[Any]) -> None:
    """As EXPLAIN ANALYZE counts them."""
    wrong = {}
    for name, (statement, args, asked) in HOT.items():
        plan = await explained(postgres, statement.postgres, args)
        if touched(plan) > TOUCHED * asked + FEW:
            wrong[name] = (touched(plan), plan)
    for name in SEARCHES:
        page = page_of(name, "postgres")
        plan = await explained(postgres, statement_of(page.text).postgres, page.args)
        if touched(plan, but="runs") > TOUCHED * RARE + FEW:
            wrong[name] = (touched(plan, but="runs"), plan)
    assert not wrong
