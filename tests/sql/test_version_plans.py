"""SQLite has no statistics: which index a search for model versions uses follows from its text alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from headrace import search
from headrace.db.sql import statement
from headrace.db.upkeep.schema import init

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "sqlite_autoindex_model_versions_1"
# Of each filter, the index that finds its versions, or gives the order of the page.
SEARCHES = {
    None: "headrace_versions_page",
    "name != 'net'": "headrace_versions_page",
    "tags.team = 'x'": "headrace_versions_page",
    "name = 'net'": KEY,
    "name IN ('net', 'other')": KEY,
    "run_id = 'abc'": "headrace_versions_run",
    "run_id IN ('abc', 'def')": "headrace_versions_run",
    "name = 'net' AND run_id != 'abc'": KEY,
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("versions") / "mlflow.db"
    init(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as opened:
        yield opened


@pytest.mark.parametrize("text", SEARCHES)
def test_the_index_of_a_search_for_versions(
    connection: sqlite3.Connection, text: str | None
) -> None:
    page = search.model_versions_page(
        filter=text, order_by=[], max_results=100, page_token=None, dialect="sqlite"
    )
    made = statement(page.text).sqlite or ""
    explained = f"EXPLAIN QUERY PLAN {made.replace('{workspace}', '?1')}"
    steps = [row[3] for row in connection.execute(explained, page.args)]
    assert any(f"INDEX {SEARCHES[text]} " in step for step in steps), steps
    is_sorted = any("ORDER BY" in step for step in steps)
    assert is_sorted == (SEARCHES[text] != "headrace_versions_page"), steps
