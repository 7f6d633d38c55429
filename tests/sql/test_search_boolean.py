"""OR, NOT and parentheses find the union, the complement and the intersection, in every search.

The comparisons alone mean what they mean in MLflow: tests/compat/test_search_oracle.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import search

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.search_population import PostgresSearch, Search, SqliteSearch

PROMPT = "tags.`mlflow.prompt.is_prompt` = 'true'"
# (page of a filter, number of columns that identify a row, comparisons)
Resource = tuple["Callable[..., search.Page]", int, tuple[str, ...]]
RESOURCES: dict[str, Resource] = {
    "runs": (
        partial(
            search.runs_page,
            experiment_ids=[1, 2],
            order_by=(),
            stages=("active", "deleted"),
            columns=("run_uuid",),
        ),
        1,
        ("metrics.k > 0.5", "metrics.`a.b` != 1", "params.k != 'a'", "tags.k IS NULL",
         "end_time > 1", "run_id NOT IN ('a')", "status = 'FAILED'", "dataset.name = 'iris'",
         "tags.`a b` ILIKE 'a%'"),
    ),
    "experiments": (
        partial(
            search.experiments_page, order_by=(), stages=("active",), columns=("experiment_id",)
        ),
        1,
        ("name LIKE 'a%'", "tags.k != 'a'", "tags.k IS NULL", "creation_time > 5",
         "experiment_id IN ('1', '2', '3')", "last_update_time <= 5"),
    ),
    "registered models": (
        partial(search.registered_models_page, order_by=(), columns=("name",)),
        1,
        ("name LIKE '%a%'", "name IN ('model a', 'model A')", "tags.k != 'a'", "tags.K = 'ab'"),
    ),
    "model versions": (
        partial(search.model_versions_page, order_by=(), columns=("name", "version")),
        2,
        ("name LIKE '%a%'", "version_number > 1", "run_id = 'r1'", "source_path != 'a'",
         "tags.k != 'a'", "tags.K LIKE 'a%'"),
    ),
    "logged models": (
        partial(
            search.logged_models_page,
            experiment_ids=["1", "2"],
            datasets=(),
            order_by=(),
            columns=("model_id",),
        ),
        1,
        ("metrics.k > 0.5", "metrics.K <= 0", "params.k != 'a'", "tags.k LIKE 'a%'",
         "model_type = 'sklearn'", "status != 2", "name NOT IN ('a', 'ab')",
         "creation_timestamp > 5"),
    ),
}  # fmt: skip
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def found(database: Search, resource: str, text: str | None) -> frozenset[Any]:
    """Ids of all rows that a filter finds."""
    page_of, width, _ = RESOURCES[resource]
    page = page_of(filter=text, max_results=1000, page_token=None, dialect=database.dialect)
    return frozenset(tuple(row)[:width] for row in database.rows(page))


@st.composite
def written(draw: st.DrawFn, resource: str, depth: int = 3) -> tuple[str, Any]:
    """A filter, and the same as a function from (rows of a comparison, all rows) to rows."""
    kind = draw(st.sampled_from(("comparison", "NOT", "AND", "OR", "("))) if depth else "comparison"
    if kind == "comparison":
        text = draw(st.sampled_from(RESOURCES[resource][2]))
        return text, lambda rows, _: rows[text]
    first, left = draw(written(resource, depth - 1))
    if kind == "(":
        return f"({first})", left
    if kind == "NOT":
        return f"not ({first})", lambda rows, every: every - left(rows, every)
    second, right = draw(written(resource, depth - 1))
    if kind == "AND":
        return (
            f"({first}) AND ({second})",
            lambda rows, every: left(rows, every) & right(rows, every),
        )
    return f"(({first})OR({second}))", lambda rows, every: left(rows, every) | right(rows, every)


@pytest.mark.parametrize("resource", RESOURCES)
@EXAMPLES
@given(data=st.data())
def test_a_filter_finds_what_its_comparisons_find_together(
    on_sqlite: SqliteSearch, on_postgres: PostgresSearch, resource: str, data: st.DataObject
) -> None:
    text, expected = data.draw(written(resource))
    for database in (on_sqlite, on_postgres):
        rows = {one: found(database, resource, one) for one in RESOURCES[resource][2]}
        every = found(database, resource, None)
        assert found(database, resource, text) == expected(rows, every), text


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_comparison_finds_some_rows_but_not_all(
    on_sqlite: SqliteSearch, on_postgres: PostgresSearch, resource: str
) -> None:
    """Otherwise the test above would show nothing."""
    for database in (on_sqlite, on_postgres):
        every = found(database, resource, None)
        some = [found(database, resource, one) for one in RESOURCES[resource][2]]
        assert any(frozenset() < rows < every for rows in some)
        assert len(set(some)) > 2


@pytest.mark.parametrize("resource", ["registered models", "model versions"])
def test_a_filter_that_names_the_prompt_tag_within_or_and_not_decides_about_prompts(
    on_sqlite: SqliteSearch, on_postgres: PostgresSearch, resource: str
) -> None:
    """Without it, prompts are excluded, also from the rows that NOT finds."""
    for database in (on_sqlite, on_postgres):
        rows = partial(found, database, resource)
        models, prompts = rows(None), rows(PROMPT)
        assert models
        assert prompts
        assert not models & prompts
        assert rows("NOT name = 'x'") == models
        assert rows(f"NOT {PROMPT}") == models
        assert rows(f"{PROMPT} OR name != 'x'") == models | prompts
        assert rows(f"NOT name = 'x' AND {PROMPT}") == prompts
        assert rows(f"({PROMPT} OR name LIKE 'model%')") == prompts | rows("name LIKE 'model%'")


def test_datasets_restrict_metrics_within_or_and_not(
    on_sqlite: SqliteSearch, on_postgres: PostgresSearch
) -> None:
    datasets = (search.ModelDataset("iris", "d1"),)
    for database in (on_sqlite, on_postgres):

        def rows(text: str, database: Search = database) -> set[Any]:
            page_of, _, _ = RESOURCES["logged models"]
            page = page_of(
                filter=text,
                datasets=datasets,
                max_results=1000,
                page_token=None,
                dialect=database.dialect,
            )
            return {row[0] for row in database.rows(page)}

        every = {row[0] for row in found(database, "logged models", None)}
        of_iris = rows("metrics.k > -1e308")
        assert rows("NOT metrics.k > -1e308") == every - of_iris
        assert rows("metrics.k > -1e308 OR metrics.K > -1e308") == of_iris | rows(
            "metrics.K > -1e308"
        )
