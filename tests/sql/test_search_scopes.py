"""A search within a scope finds what the open search finds, without the rows that may not be read.

Its pages are full, and a page has a token only if another readable row follows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import search_population as pool

from headrace import search
from headrace.auth.access import NOTHING, Scope
from headrace.db.sql import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.search_population import PostgresSearch, Search, SqliteSearch

EXAMPLES = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TABLES = pool.tables()
MODELS = [row[0] for row in TABLES["registered_models"][1]]
PROMPTS = {
    row[2] for row in TABLES["registered_model_tags"][1] if row[0] == "mlflow.prompt.is_prompt"
}
IS_PROMPT = "tags.`mlflow.prompt.is_prompt` = 'true'"
EXPERIMENT_IDS = [str(one.experiment_id) for one in pool.experiments()]
# Texts that no experiment has as its id: grants may name anything.
STRANGE = (
    "1,2",
    "3,",
    ",",
    "4]",
    "[5",
    "01",
    " 1",
    "1 ",
    "+1",
    "\N{ARABIC-INDIC DIGIT ONE}",
    "-0",
    "1_0",
    "",
    "a",
    "99",
    str(2**70),
    "1.0",
)


# Filters that are true of every row: an OR must not get around the scope, which is no part of it.
AROUND = (
    "name = 'x' OR name != 'x'",
    "NOT name = 'x'",
    f"NOT (name = 'x' AND {IS_PROMPT}) OR {IS_PROMPT}",
    "(name = 'x') OR (name != 'x' OR tags.a = ') OR (')",
)


def scopes(ids: Sequence[str]) -> st.SearchStrategy[Scope]:
    """Some ids that are readable, or all but some."""
    some = st.frozensets(st.sampled_from(ids), max_size=len(ids))
    return st.builds(Scope, some, st.booleans())


def every_row(database: Search, page_of: Callable[..., search.Page], size: int) -> list[Any]:
    """The rows of all pages; every page but the last one must be full."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = page_of(dialect=database.dialect, max_results=size, page_token=token)
        rows, token = page.cut(database.rows(page))
        found += rows
        if token is None:
            return found
        assert len(rows) == size
        assert rows


def check(
    databases: Sequence[Search],
    page_of: Callable[..., search.Page],
    size: int,
    scope: Any,
    admits: Any,
) -> None:
    """Compare the search with a filter of the open search."""
    for database in databases:
        everything = every_row(database, page_of, 1000)
        wanted = [row for row in everything if admits(row)]
        found = every_row(database, partial(page_of, readable=scope), size)
        assert found == wanted
        if found and len(found) % size == 0:
            offset = search.page_token(len(found))
            page = page_of(
                dialect=database.dialect, max_results=size, page_token=offset, readable=scope
            )
            assert page.cut(database.rows(page)) == ([], None)


@pytest.mark.parametrize("strange", STRANGE)
def test_a_grant_on_another_text_is_none_on_an_experiment(
    on_sqlite: SqliteSearch, on_postgres: PostgresSearch, strange: str
) -> None:
    page_of = partial(
        search.experiments_page, filter=None, order_by=[], stages=("active",), columns=("name",)
    )
    for database in (on_sqlite, on_postgres):
        scope = Scope(frozenset([strange]), only=True)
        assert every_row(database, partial(page_of, readable=scope), 5) == []


@EXAMPLES
@given(
    scope=scopes([*EXPERIMENT_IDS, *STRANGE]),
    size=st.integers(1, 5),
    text=st.sampled_from(("name != 'x'", AROUND[0], AROUND[1])),
)
def test_experiments(
    on_sqlite: SqliteSearch, on_postgres: PostgresSearch, scope: Scope, size: int, text: str
) -> None:
    page_of = partial(
        search.experiments_page,
        filter=text,
        order_by=["name"],
        stages=("active", "deleted"),
        columns=("experiment_id",),
    )
    check([on_sqlite, on_postgres], page_of, size, scope, lambda row: scope.admits(str(row[0])))


def admitted(models: Scope | None, prompts: Scope | None) -> Callable[[Sequence[Any]], bool]:
    """Whether a row whose first column is the name of a model may be read."""

    def admits(row: Sequence[Any]) -> bool:
        scope = prompts if row[0] in PROMPTS else models
        return scope is None or scope.admits(row[0])

    return admits


@EXAMPLES
@given(
    models=st.none() | st.just(NOTHING) | scopes(MODELS),
    prompts=st.none() | st.just(NOTHING) | scopes(MODELS),
    size=st.integers(1, 5),
    text=st.sampled_from(("", IS_PROMPT, "name LIKE 'model%'", *AROUND)),
)
def test_models_and_prompts(
    on_sqlite: SqliteSearch,
    on_postgres: PostgresSearch,
    models: Scope | None,
    prompts: Scope | None,
    size: int,
    text: str,
) -> None:
    """A model with the tag of a prompt is judged by the scope of prompts, and so are its versions."""
    databases = [on_sqlite, on_postgres]
    admits = admitted(models, prompts)
    page_of = partial(search.registered_models_page, filter=text, order_by=[], columns=("name",))
    check(databases, page_of, size, (models, prompts), admits)
    page_of = partial(
        search.model_versions_page, filter=text, order_by=[], columns=("name", "version")
    )
    check(databases, page_of, size, (models, prompts), admits)


@EXAMPLES
@given(
    scope=scopes(["1", "2", "01"]),
    size=st.integers(1, 5),
    text=st.sampled_from((None, AROUND[0], AROUND[1], "experiment_id = 1 OR experiment_id = 2")),
)
def test_logged_models(
    on_sqlite: SqliteSearch,
    on_postgres: PostgresSearch,
    scope: Scope,
    size: int,
    text: str | None,
) -> None:
    """Experiments are filtered before the search; the token holds those of the request."""
    page_of = partial(
        search.logged_models_page,
        experiment_ids=["1", "2"],
        filter=text,
        datasets=(),
        order_by=(),
        columns=("model_id", "experiment_id"),
    )
    for database in (on_sqlite, on_postgres):
        everything = every_row(database, page_of, 1000)
        found = every_row(database, partial(page_of, readable=scope), size)
        assert found == [row for row in everything if scope.admits(str(row[1]))]


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
@pytest.mark.parametrize("only", [False, True])
def test_scopes_of_any_size_share_a_statement(dialect: Any, only: bool) -> None:
    """The driver prepares it once; without a scope, the statement has no trace of one."""

    def text(readable: Scope | None) -> str:
        page = search.experiments_page(
            filter=None,
            order_by=(),
            stages=("active",),
            max_results=10,
            page_token=None,
            dialect=dialect,
            readable=readable,
        )
        return page.text

    few, many = (Scope(frozenset(map(str, range(n))), only) for n in (1, 1000))
    assert statement(text(few)) is statement(text(many))
    assert "json_each" not in text(None)
    assert "json_array_elements" not in text(None)
