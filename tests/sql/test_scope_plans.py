"""A search within a small scope reads only its rows, and one within a large scope each row once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from tests.sql.test_plans import explained, touched, work_of

from headrace import search
from headrace.auth.access import Scope
from headrace.db.open import open_database
from headrace.db.sql import statement
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from headrace.db.base import Dialect

ROWS = 5_000
FEW = 50
PROMPTS = 100  # how many of the models are prompts
TABLES = {"experiments": "experiments", "models": "registered_models", "versions": "model_versions"}
SCOPES = ("few", "few of each type", "all but few", "all but few of each type", "everything")
SERIES = {
    "sqlite": (
        "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {limit})"
        " SELECT n FROM s) AS series"
    ),
    "postgres": "generate_series(1, {limit}) AS series(n)",
}


def statements(dialect: Dialect) -> list[str]:
    """Statements that fill the database."""
    rows, prompts = (SERIES[dialect].format(limit=limit) for limit in (ROWS, PROMPTS))
    return [
        "INSERT INTO experiments (name, lifecycle_stage, creation_time)"
        f" SELECT 'experiment ' || n, 'active', n FROM {rows}",
        f"INSERT INTO registered_models (name, creation_time) SELECT 'model ' || n, n FROM {rows}",
        "INSERT INTO model_versions (name, version, current_stage, last_updated_time)"
        f" SELECT 'model ' || n, 1, 'None', n FROM {rows}",
        "INSERT INTO registered_model_tags (name, key, value)"
        f" SELECT 'model ' || n, 'mlflow.prompt.is_prompt', 'true' FROM {prompts}",
    ]


def page_of(table: str, scope: str, dialect: Dialect) -> search.Page:
    """A search within a scope."""
    prefix = "" if table == "experiments" else "model "
    ids = frozenset(f"{prefix}{n * (ROWS // FEW)}" for n in range(1, FEW + 1))
    few = Scope(ids, scope.startswith("few"))
    other = Scope(ids | {f"{prefix}1"}, few.only) if "each type" in scope else few
    request: dict[str, Any] = {
        "filter": None,
        "order_by": [],
        "max_results": 100,
        "page_token": None,
        "dialect": dialect,
    }
    if table == "experiments":
        readable = None if scope == "everything" else few
        return search.experiments_page(stages=("active",), readable=readable, **request)
    scopes = (None, None) if scope == "everything" else (few, other)
    if table == "models":
        return search.registered_models_page(readable=scopes, **request)
    return search.model_versions_page(readable=scopes, **request)


@pytest.fixture(scope="module")
def sqlite_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """As a server leaves it, without statistics."""
    path = tmp_path_factory.mktemp("scopes") / "mlflow.db"

    async def make() -> None:
        await (await open_database(Settings(backend_store_uri=f"sqlite:///{path}"))).close()

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as connection, connection:
        for text in statements("sqlite"):
            connection.execute(text)
    yield path


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("scope", SCOPES)
def test_sqlite_reads_no_more_rows_than_the_scope_has(
    table: str, scope: str, sqlite_path: Path
) -> None:
    """In steps of SQLite's virtual machine; a search without a scope takes about 30 for each row."""
    page = page_of(table, scope, "sqlite")
    _, steps = work_of(sqlite_path, statement(page.text).sqlite, page.args, False)
    most = 200 * FEW + 3000 if scope.startswith("few") else 80 * ROWS
    assert steps < most


@pytest.fixture
async def postgres(postgres_uri: str) -> Any:
    """With the statistics that autovacuum gathers."""
    connection = await asyncpg.connect(postgres_uri)
    for text in statements("postgres"):
        await connection.execute(text)
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


@pytest.mark.parametrize("table", TABLES)
async def test_postgres_reads_no_more_rows_than_the_scope_has(
    postgres: asyncpg.Connection[Any], table: str
) -> None:
    """In the plan that a connection keeps for a statement; a first plan may read each row once."""
    for scope in SCOPES:
        page = page_of(table, scope, "postgres")
        text = statement(page.text).postgres
        first = await explained(postgres, text, page.args)
        kept = await kept_plan(postgres, text, page.args)
        # A scan of the prompts' tags is cheaper than a look-up for each model.
        rows = touched(kept, but="registered_model_tags")
        assert rows <= (10 * FEW if scope.startswith("few") else 3 * ROWS), (scope, kept)
        for plan in (first, kept):
            assert scans(plan, TABLES[table]) == 1, (scope, plan)


async def kept_plan(
    connection: asyncpg.Connection[Any], text: str, args: Sequence[Any]
) -> dict[str, Any]:
    """The plan of the statement for any arguments, with the row counts of these."""
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE kept AS {text}")
    found = await connection.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE kept({', '.join(map(literal, args))})"
    )
    await connection.execute("DEALLOCATE kept")
    plan: dict[str, Any] = json.loads(found)[0]["Plan"]
    return plan


def literal(value: Any) -> str:
    """A value as SQL."""
    return f"'{value}'" if isinstance(value, str) else str(value)


def scans(node: dict[str, Any], table: str) -> int:
    """How often a plan reads rows of the table."""
    own = node["Actual Loops"] if node.get("Relation Name") == table else 0
    return int(own) + sum(scans(child, table) for child in node.get("Plans", ()))
