"""Times of a page of runs on PostgreSQL: generic or custom plans, with and without our own index.

    python -m benchmarks.decisions.search_plans postgresql://postgres@localhost/scratch

100,000 runs in one experiment and 20,000 in 19 more, each with 10 metrics, 10 params and 3 tags;
the best of 9 answers, no parallel workers. The database must be one that headrace made; it is
filled if it has no runs.
"""

from __future__ import annotations

import asyncio
import sys
import time

import asyncpg

from headrace import search
from headrace.db.statements import statement

RUNS, MAIN = 120_000, 100_000
# Experiments of 100,000 and of about 1,000 runs.
BIG, SMALL = 1, 3
MODES = ("force_generic_plan", "force_custom_plan")
INDEX = "runs (experiment_id, start_time DESC NULLS LAST, run_uuid)"
CASES = (
    ("", ""),
    ("", "metrics.m0 DESC"),
    ("metrics.m0 > 0.5", "metrics.m0 DESC"),
    ("metrics.m0 > 0.5 AND params.p0 = 'x1'", ""),
    ("metrics.m0 > 0.5 AND params.p0 = 'x1'", "metrics.m1 DESC"),
    ("metrics.m0 > 0.999", ""),
    ("params.p1 = 'v7'", ""),
    ("tags.rare IS NOT NULL", ""),
    ("attributes.status = 'RUNNING'", ""),
)
FILL = (
    f"""INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)
    SELECT i, 'e' || i, 's3://x', 'active' FROM generate_series(1, 20) i ON CONFLICT DO NOTHING;
    INSERT INTO runs (run_uuid, name, user_id, status, start_time, lifecycle_stage, artifact_uri, experiment_id)
    SELECT md5(i::text), 'run-' || i, 'u', CASE WHEN i % 10 = 0 THEN 'RUNNING' ELSE 'FINISHED' END,
        1700000000000 + (i * 7919::bigint) % 100000000, CASE WHEN i % 50 = 0 THEN 'deleted' ELSE 'active' END,
        's3://x', CASE WHEN i <= {MAIN} THEN 1 ELSE 2 + i % 19 END FROM generate_series(1, {RUNS}) i""",
    f"""INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
    SELECT 'm' || k, CASE WHEN h % 97 = 0 THEN 0 ELSE (h % 100000) / 100000.0 END, 1, 0, h % 97 = 0, md5(i::text)
    FROM generate_series(1, {RUNS}) i, generate_series(0, 9) k,
        LATERAL (SELECT abs(hashint8(i * 10 + k))::bigint h) x""",
    f"""INSERT INTO params (key, value, run_uuid)
    SELECT 'p' || k, CASE k WHEN 0 THEN 'x' || (h % 20) WHEN 1 THEN 'v' || (h % 1000)
        ELSE (h % 100000)::text END, md5(i::text)
    FROM generate_series(1, {RUNS}) i, generate_series(0, 9) k,
        LATERAL (SELECT abs(hashint8(i * 10 + k + 5000000))::bigint h) x""",
    f"""INSERT INTO tags (key, value, run_uuid)
    SELECT k, k || i % 3000, md5(i::text) FROM generate_series(1, {RUNS}) i,
        unnest(ARRAY['mlflow.runName', 'mlflow.user', 'mlflow.source.name', 'rare']) k
    WHERE k <> 'rare' OR i % 999 = 0""",
    "VACUUM ANALYZE",
)


async def best_ms(connection: asyncpg.Connection, page: search.Page) -> float:
    """Return the milliseconds of the fastest answer."""
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        await connection.fetch(statement(page.text).postgres, *page.args)
        taken.append(time.perf_counter() - start)
    return min(taken) * 1000


async def answers(uri: str, mode: str) -> list[float]:
    """Return one figure per case and experiment."""
    settings = {"plan_cache_mode": mode, "jit": "off", "max_parallel_workers_per_gather": "0"}
    connection = await asyncpg.connect(uri, server_settings=settings)
    found = []
    for text, order in CASES:
        for experiment in (BIG, SMALL):
            page = search.runs_page(
                experiment_ids=[experiment],
                filter=text,
                order_by=[order] if order else [],
                stages=("active",),
                max_results=100,
                page_token=None,
                dialect="postgres",
            )
            found.append(await best_ms(connection, page))
    await connection.close()
    return found


async def main(uri: str) -> None:
    """Fill the database if it is empty, and print a table."""
    connection = await asyncpg.connect(uri)
    if not await connection.fetchval("SELECT count(*) FROM runs"):
        for statement in FILL:
            await connection.execute(statement)
    columns = []
    for index in (
        "DROP INDEX IF EXISTS headrace_runs_page",
        f"CREATE INDEX headrace_runs_page ON {INDEX}",
    ):
        await connection.execute(index)
        await connection.execute("ANALYZE runs")
        columns += [await answers(uri, mode) for mode in MODES]
    await connection.execute("DROP INDEX headrace_runs_page")
    await connection.close()
    rows = zip(((*case, e) for case in CASES for e in ("100,000", "1,000")), *columns, strict=True)
    print("| filter | order | runs | generic | custom | indexed, generic | indexed, custom |")  # noqa: T201
    for (text, order, runs), *figures in rows:
        cells = " | ".join(f"{figure:.1f}" for figure in figures)
        print(f"| `{text}` | `{order}` | {runs} | {cells} |")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
