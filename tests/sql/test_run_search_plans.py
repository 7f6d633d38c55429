"""The page of a search on a large database keeps its plan: it reads the runs of its experiment, and few others.

With the settings of the connections for searches, on the database that headrace makes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from tests.sql.test_plans import touched

from headrace import search
from headrace.api.tracking.runs import packed_sql
from headrace.db.postgres.connection import POINT_SESSION, SEARCH_SESSION
from headrace.db.sql import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

EXPERIMENT_RUNS = 1_000
PAGE = 100
SIZES = [
    pytest.param(30_000, id="30,000 runs"),
    pytest.param(
        1_000_000, id="1,000,000 runs", marks=[pytest.mark.soak, pytest.mark.timeout(1800)]
    ),
]


@dataclass(frozen=True)
class Searched:
    """A search, and how many rows it may read: of runs, and of the tables of their data.

    With fewer than `from_runs` runs in the database, the planner rightly reads all rows of a key.
    """

    filter: str | None
    order_by: tuple[str, ...]
    most_runs: int
    most_data: int
    from_runs: int = 0


SEARCHES = {
    "newest": Searched(None, (), 2 * PAGE, 0),
    "broad": Searched(
        "metrics.loss < 0.9 AND params.kind = 'k0'",
        ("metrics.score DESC",),
        EXPERIMENT_RUNS,
        3 * EXPERIMENT_RUNS,
        from_runs=500_000,
    ),
    "selective": Searched(
        "params.kind = 'k1' AND params.batch = 'b7' AND metrics.loss < 2",
        ("metrics.score DESC",),
        EXPERIMENT_RUNS,
        3 * EXPERIMENT_RUNS,
        from_runs=500_000,
    ),
    "a rare tag": Searched("tags.rare = 'yes'", ("metrics.score DESC",), EXPERIMENT_RUNS, 100),
    "a status": Searched("attributes.status = 'FAILED'", (), EXPERIMENT_RUNS, 0),
}


def fill(runs: int) -> Iterator[str]:
    """Statements that make experiments of 1,000 runs each, which are in turn in the table."""
    experiments = runs // EXPERIMENT_RUNS
    series = f"FROM generate_series(0, {runs - 1}) AS s(n)"
    run = "lpad(to_hex(n), 32, '0')"
    yield (
        "INSERT INTO experiments (experiment_id, name, lifecycle_stage) SELECT 1000 + n, 'e' || n, 'active'"
        f" FROM generate_series(0, {experiments - 1}) AS s(n)"
    )
    yield (
        "INSERT INTO runs (run_uuid, experiment_id, start_time, status, lifecycle_stage)"
        f" SELECT {run}, 1000 + n % {experiments}, n,"
        f" CASE WHEN n % 50 = 0 THEN 'FAILED' ELSE 'FINISHED' END, 'active' {series}"
    )
    for key in ("loss", "score"):
        yield (
            "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan)"
            f" SELECT {run}, '{key}', ((n::bigint * 7919) % 10007) / 10007.0, n, 1, false {series}"
        )
    for key, value in (
        ("kind", f"'k' || ((n / {experiments}) % 2)"),
        ("batch", f"'b' || ((n / {experiments}) % 100)"),
    ):
        yield f"INSERT INTO params (run_uuid, key, value) SELECT {run}, '{key}', {value} {series}"
    yield f"INSERT INTO tags (run_uuid, key, value) SELECT {run}, 'name', 'n' || n {series}"
    yield f"INSERT INTO tags (run_uuid, key, value) SELECT {run}, 'rare', 'yes' {series} WHERE n < 5"
    yield "ANALYZE"


@pytest.fixture(params=SIZES)
async def large(
    postgres_uri: str, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[str, int]]:
    """The URI of a database, and its number of runs."""
    connection = await asyncpg.connect(postgres_uri)
    for text in fill(request.param):
        await connection.execute(text, timeout=1200)
    await connection.close()
    yield postgres_uri, request.param


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan, and all below it."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def test_a_search_reads_the_runs_of_its_experiment_and_few_others(
    large: tuple[str, int],
) -> None:
    uri, runs = large
    connection = await asyncpg.connect(uri, server_settings=SEARCH_SESSION)
    wrong = {}
    for name, searched in SEARCHES.items():
        if runs < searched.from_runs:
            continue
        page = search.runs_page(
            experiment_ids=[1000],
            filter=searched.filter,
            order_by=searched.order_by,
            stages=("active",),
            max_results=PAGE,
            page_token=None,
            dialect="postgres",
        )
        text = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement(page.text).postgres}"
        plan = json.loads(await connection.fetchval(text, *page.args))[0]["Plan"]
        all_rows = touched(plan)
        data = touched(plan, but="runs")
        is_parallel = any("Workers Planned" in node for node in nodes(plan))
        # An index and the table are one node here, two for a bitmap scan.
        if all_rows - data > 2 * searched.most_runs or data > searched.most_data or is_parallel:
            wrong[name] = (all_rows - data, data, is_parallel, plan)
    await connection.close()
    assert not wrong


async def test_the_data_of_a_page_is_read_by_run(large: tuple[str, int]) -> None:
    """With the generic plan that its connections keep."""
    connection = await asyncpg.connect(large[0], server_settings=POINT_SESSION)
    run_ids = [f"{number:032x}" for number in range(PAGE)]
    await connection.execute(f"PREPARE data(varchar[], bigint) AS {packed_sql.TEXTS.postgres}")
    ids = ",".join(run_ids)
    found = await connection.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE data('{{{ids}}}', {packed_sql.MOST_ITEMS + 1})"
    )
    await connection.close()
    plan = json.loads(found)[0]["Plan"]
    scanned = {node.get("Relation Name") for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
    assert scanned <= {None, "inputs"}, "only inputs is empty"
    # Five or six values of each run; each passes three nodes.
    assert touched(plan) < 60 * PAGE
