"""Every list in an answer has the same order under every plan of PostgreSQL."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
from tests.fill import fill

from headrace.api.registry.models import sql as models_sql
from headrace.api.registry.versions import sql as versions_sql
from headrace.api.registry.webhooks import sql as webhooks_sql
from headrace.api.tracking.experiments import sql as experiments_sql
from headrace.api.tracking.logged_models import sql as logged_models_sql
from headrace.api.tracking.metrics import sql as metrics_sql
from headrace.api.tracking.runs import inputs_sql, pieces_sql
from headrace.api.tracking.runs import sql as runs_sql
from headrace.db.base import RowCount
from headrace.db.open import open_database
from headrace.db.postgres.transaction import PostgresTx
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

RUNS = [f"{n:032x}" for n in range(12)]
MODELS = [f"m-{n:032x}" for n in range(12)]
NAMES = [f"model {n}" for n in range(12)]
VERSIONS = [(name, n) for name in NAMES for n in range(1, 5)]
EXPERIMENTS = list(range(1, 13))
KEYS = [f"k{n}" for n in range(30)]
ALL = runs_sql.ALL.rows
EVERY_KEY = ([name for name, _ in VERSIONS], [number for _, number in VERSIONS])
# Each list in an answer, in the order of the answer.
LISTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "latest metrics": (runs_sql.METRICS, (RUNS, ALL)),
    "params": (runs_sql.PARAMS, (RUNS, ALL)),
    "tags": (runs_sql.TAGS, (RUNS, ALL)),
    "datasets": (runs_sql.DATASETS, (RUNS, ALL, ALL)),
    "tags of datasets": (runs_sql.INPUT_TAGS, (RUNS, ALL)),
    "models read": (runs_sql.MODELS_IN, (RUNS, ALL)),
    "models written": (runs_sql.MODELS_OUT, (RUNS, ALL)),
    "metrics in parts": (pieces_sql.METRICS_PART, (RUNS[3], "", ALL)),
    "params in parts": (pieces_sql.PARAMS_PART, (RUNS[3], "", ALL)),
    "tags in parts": (pieces_sql.TAGS_PART, (RUNS[3], "", ALL)),
    "inputs": (pieces_sql.INPUTS, (RUNS[3],)),
    "summaries of datasets": (inputs_sql.SUMMARIES, (EXPERIMENTS, 1000)),
    "a history": (metrics_sql.HISTORY_PAGE, (RUNS[3], "m", ALL, 0)),
    "a part of a history": (
        metrics_sql.HISTORY_PART,
        (RUNS[3], "m", -5, 5, 9, 0, 0, 0.0, False, ALL),
    ),
    "a step of a history": (metrics_sql.HISTORY_STEP, (RUNS[3], "m", 0, 0, 0.0, False, ALL)),
    "histories": (metrics_sql.BULK, (RUNS, "m", ALL)),
    "tags of experiments": (experiments_sql.TAGS, (EXPERIMENTS, ALL)),
    "tags of models": (models_sql.TAGS, (NAMES, ALL)),
    "aliases of models": (models_sql.ALIASES, (NAMES, ALL)),
    "tags of a version": (versions_sql.TAGS, (NAMES[3], 2, ALL)),
    "tags of versions": (versions_sql.TAGS_OF_MANY, (*EVERY_KEY, ALL)),
    "aliases of a version": (versions_sql.ALIASES, (NAMES[3], 2, ALL)),
    "params of logged models": (logged_models_sql.PARAMS, (MODELS, ALL)),
    "tags of logged models": (logged_models_sql.TAGS, (MODELS, ALL)),
    "metrics of logged models": (logged_models_sql.METRICS, (MODELS, ALL)),
    "webhooks": (webhooks_sql.WEBHOOKS, (ALL, 0)),
    "events of webhooks": (webhooks_sql.EVENTS, ([f"w{n}" for n in range(12)],)),
}
# Ways to run a statement that PostgreSQL may take as tables grow.
PLANS: tuple[Sequence[str], ...] = (
    (),
    ("enable_seqscan",),
    ("enable_indexscan", "enable_bitmapscan", "enable_indexonlyscan"),
    ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin"),
    ("enable_hashjoin", "enable_mergejoin"),
    ("enable_nestloop", "enable_sort", "enable_hashagg"),
    ("enable_nestloop", "enable_mergejoin", "enable_incremental_sort"),
)
PARALLEL = (
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"
    " SET min_parallel_index_scan_size = 0; SET max_parallel_workers_per_gather = 2"
)
ROWS: dict[str, tuple[str, list[Any]]] = {
    "experiments": (
        "experiment_id, name, lifecycle_stage",
        [(n, f"e{n}", "active") for n in EXPERIMENTS],
    ),
    "runs": ("run_uuid, experiment_id, lifecycle_stage", [(r, 1, "active") for r in RUNS]),
    "latest_metrics": (
        "run_uuid, key, value, timestamp, step, is_nan",
        [(r, k, 1, 1, 1, False) for r in RUNS for k in KEYS],
    ),
    "metrics": (
        "run_uuid, key, timestamp, step, value, is_nan",
        [
            (r, "m", t, s, v, nan)
            for r in RUNS
            for t in range(5)
            for s in range(3)
            for v, nan in ((0, False), (0, True), (1, False))
        ],
    ),
    "params": ("run_uuid, key, value", [(r, k, "v") for r in RUNS for k in KEYS]),
    "tags": ("run_uuid, key, value", [(r, k, "v") for r in RUNS for k in KEYS]),
    "experiment_tags": ("experiment_id, key, value", [(e, k, "v") for e in EXPERIMENTS for k in KEYS]),
    "datasets": (
        "dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source",
        [(f"d{n}", 1, f"n{n % 3}", f"d{n}", "t", "s") for n in range(9)],
    ),
    "inputs": (
        "input_uuid, source_type, source_id, destination_type, destination_id, step",
        [(f"{r}d{n}", "DATASET", f"d{n}", "RUN", r, 0) for r in RUNS for n in range(9)]
        + [(f"{r}i{n}", "RUN_INPUT", r, "MODEL_INPUT", m, 0) for r in RUNS for n, m in enumerate(MODELS)]
        + [(f"{r}o{n}", "RUN_OUTPUT", r, "MODEL_OUTPUT", m, 0) for r in RUNS for n, m in enumerate(MODELS)],
    ),
    "input_tags": (
        "input_uuid, name, value",
        [(f"{r}d{n}", k, "v") for r in RUNS for n in range(9) for k in ("b", "mlflow.data.context", "a")],
    ),
    "registered_models": ("name, creation_time", [(n, 1) for n in NAMES]),
    "registered_model_tags": ("name, key, value", [(n, k, "v") for n in NAMES for k in KEYS]),
    "model_versions": (
        "name, version, current_stage",
        [(*key, "None") for key in VERSIONS],
    ),
    "registered_model_aliases": (
        "name, alias, version",
        [(name, f"a{n}", n % 4 + 1) for name in NAMES for n in range(12)],
    ),
    "model_version_tags": ("name, version, key, value", [(*v, k, "v") for v in VERSIONS for k in KEYS]),
    "logged_models": (
        "model_id, experiment_id, name, artifact_location, creation_timestamp_ms,"
        " last_updated_timestamp_ms, status, lifecycle_stage",
        [(m, 1, "n", "a", 1, 1, 2, "active") for m in MODELS],
    ),
    "logged_model_params": (
        "model_id, experiment_id, param_key, param_value",
        [(m, 1, k, "v") for m in MODELS for k in KEYS],
    ),
    "logged_model_tags": (
        "model_id, experiment_id, tag_key, tag_value",
        [(m, 1, k, "v") for m in MODELS for k in KEYS],
    ),
    "logged_model_metrics": (
        "model_id, metric_name, metric_timestamp_ms, metric_step, metric_value, experiment_id, run_id",
        [(m, k, t, t, 1, 1, r) for m in MODELS for k in KEYS[:3] for t in (1, 2) for r in RUNS[:3]],
    ),
    "webhooks": (
        "webhook_id, name, url, status, creation_timestamp, last_updated_timestamp",
        [(f"w{n}", "n", "u", "ACTIVE", 1, 1) for n in range(12)],
    ),
    "webhook_events": (
        "webhook_id, entity, action",
        [(f"w{n}", "prompt", action) for n in range(12) for action in ("created", "updated", "deleted")],
    ),
}  # fmt: skip


@pytest.fixture
async def connection(postgres_uri: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A database with rows in random order: inserted at random, half of them updated, then vacuumed."""
    chosen = random.Random(1)
    for table, (columns, rows) in ROWS.items():
        fill(postgres_uri, table, columns, chosen.sample(rows, len(rows)))
    with psycopg.connect(postgres_uri, autocommit=True) as plain:
        for table, (columns, _) in ROWS.items():
            first = columns.split(",")[0]
            plain.execute(
                f"UPDATE {table} SET {first} = {first} WHERE ctid = ANY(SELECT ctid FROM {table}"
                f" ORDER BY md5({table}::text) LIMIT {max(len(ROWS[table][1]) // 2, 1)})".encode()
            )
        plain.execute("VACUUM ANALYZE")
    opened = await asyncpg.connect(postgres_uri)
    yield opened
    await opened.close()


async def test_no_plan_changes_the_order_of_a_list(
    connection: asyncpg.Connection[Any], postgres_uri: str
) -> None:
    db = await open_database(Settings(backend_store_uri=postgres_uri))
    tx = PostgresTx(connection, db.schema, RowCount())
    first: dict[str, Any] = {}
    for plan in (*PLANS, PARALLEL):
        settings = plan if isinstance(plan, str) else "; ".join(f"SET {off} = off" for off in plan)
        await connection.execute(f"RESET ALL; {settings}" if settings else "RESET ALL")
        await connection.reload_schema_state()  # cached plans were made with other settings
        for name, (statement, args) in LISTS.items():
            text = statement.of(tx) if isinstance(statement, models_sql.Scoped) else statement
            found = [tuple(row) for row in await tx.fetch(text, *args)]
            assert len(found) > 2, name
            assert first.setdefault(name, found) == found, f"{name} with {settings}"
        for run_id, (_, logged) in (await runs_sql.get_many(tx, RUNS)).items():
            assert logged is not None
            for table in ("metrics", "params", "tags"):
                rows = [tuple(row) for row in getattr(logged, table)]
                kind = "latest metrics" if table == "metrics" else table
                of_run = [row for row in first[kind] if row[0] == run_id]
                assert rows == of_run, f"{table} of one run with {settings}"
    await db.close()
