"""Any search has the same result on SQLite, on PostgreSQL and in the Python model, in the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import search_population as pool
from tests.search_model import (
    EXPERIMENT_CONDITION,
    EXPERIMENT_SORTS,
    RUN_CONDITION,
    RUN_SORTS,
    STAGES,
    combined,
    experiment_matches,
    found_runs,
    matches,
)

from headrace import search
from headrace.search.tree import Combined, Condition, SortKey, Term, print_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.search_population import PostgresSearch, Search, SqliteSearch

RUNS = pool.runs()
EXPERIMENTS = pool.experiments()
EXAMPLES = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def run_ids(
    database: Search,
    ids: Sequence[int],
    stages: Sequence[str],
    conditions: Sequence[Term],
    keys: Sequence[SortKey],
    max_results: int = 1000,
) -> list[str]:
    """Ids that all pages of the search find together."""
    found: list[str] = []
    token = None
    while True:
        page = search.runs_page(
            experiment_ids=ids,
            filter=print_filter(tuple(conditions)),
            order_by=[str(key) for key in keys],
            stages=stages,
            max_results=max_results,
            page_token=token,
            dialect=database.dialect,
            columns=("run_uuid",),
        )
        rows, token = page.cut(database.rows(page))
        found += [row[0] for row in rows]
        if token is None:
            return found


@EXAMPLES
@given(
    ids=st.lists(st.sampled_from((1, 2, 3, 2**40, 2**65)), max_size=3),
    stages=STAGES,
    conditions=st.lists(RUN_CONDITION, max_size=4),
    keys=RUN_SORTS,
)
def test_a_search_of_runs_means_the_same_everywhere(
    on_sqlite: SqliteSearch,
    on_postgres: PostgresSearch,
    ids: list[int],
    stages: tuple[str, ...],
    conditions: list[Condition],
    keys: list[SortKey],
) -> None:
    """Ids and their order, for any conditions and sort keys."""
    expected = found_runs(RUNS, ids, stages, conditions, keys)
    assert run_ids(on_sqlite, ids, stages, conditions, keys) == expected
    assert run_ids(on_postgres, ids, stages, conditions, keys) == expected


@EXAMPLES
@given(terms=st.lists(combined(RUN_CONDITION), min_size=1, max_size=2), keys=RUN_SORTS)
def test_or_not_and_parentheses_mean_the_same_everywhere(
    on_sqlite: SqliteSearch,
    on_postgres: PostgresSearch,
    terms: list[Term],
    keys: list[SortKey],
) -> None:
    """Of runs. NOT is true of each run of which the rest is not, also of one without the value."""
    expected = found_runs(RUNS, (1, 2), ("active",), terms, keys)
    assert run_ids(on_sqlite, (1, 2), ("active",), terms, keys) == expected
    assert run_ids(on_postgres, (1, 2), ("active",), terms, keys) == expected


@EXAMPLES
@given(term=combined(EXPERIMENT_CONDITION))
def test_or_not_and_parentheses_of_experiments(
    on_sqlite: SqliteSearch, on_postgres: PostgresSearch, term: Term
) -> None:
    expected = {one.experiment_id for one in EXPERIMENTS if matches(one, term, experiment_matches)}
    stages = ("active", "deleted")
    for database in (on_sqlite, on_postgres):
        assert set(experiment_ids(database, stages, [term], ())) - {0} == expected


@settings(EXAMPLES, max_examples=50)
@given(keys=RUN_SORTS, max_results=st.integers(1, 70))
def test_the_pages_of_a_search_are_the_search(
    on_sqlite: SqliteSearch,
    on_postgres: PostgresSearch,
    keys: list[SortKey],
    max_results: int,
) -> None:
    """No run is missing or repeated, for any page size."""
    stages = ("active", "deleted")
    expected = found_runs(RUNS, (1, 2), stages, (), keys)
    assert len(expected) == pool.RUNS
    assert run_ids(on_sqlite, (1, 2), stages, (), keys, max_results) == expected
    assert run_ids(on_postgres, (1, 2), stages, (), keys, max_results) == expected


def experiment_ids(
    database: Search,
    stages: Sequence[str],
    conditions: Sequence[Term],
    keys: Sequence[SortKey],
) -> list[int]:
    """Ids that the search finds."""
    page = search.experiments_page(
        filter=print_filter(tuple(conditions)),
        order_by=[str(key) for key in keys],
        stages=stages,
        max_results=1000,
        page_token=None,
        dialect=database.dialect,
        columns=("experiment_id",),
    )
    return [row[0] for row in database.rows(page)]


@EXAMPLES
@given(stages=STAGES, conditions=st.lists(EXPERIMENT_CONDITION, max_size=3), keys=EXPERIMENT_SORTS)
def test_a_search_of_experiments_means_the_same_everywhere(
    on_sqlite: SqliteSearch,
    on_postgres: PostgresSearch,
    stages: tuple[str, ...],
    conditions: list[Condition],
    keys: list[SortKey],
) -> None:
    """Ids and their order, without experiment 0, which every database has."""
    conditions = [Condition("attribute", "experiment_id", "NOT IN", ("0",)), *conditions]
    found = [
        experiment
        for experiment in EXPERIMENTS
        if experiment.stage in stages
        and all(experiment_matches(experiment, condition) for condition in conditions)
    ]
    found.sort(key=lambda experiment: -experiment.experiment_id)
    for key in reversed(keys):
        found.sort(key=lambda one: getattr(one, key.key), reverse=not key.ascending)
    expected = [experiment.experiment_id for experiment in found]
    assert experiment_ids(on_sqlite, stages, conditions, keys) == expected
    assert experiment_ids(on_postgres, stages, conditions, keys) == expected


def test_the_largest_searches_that_are_allowed_are_answered(
    on_sqlite: SqliteSearch, on_postgres: PostgresSearch
) -> None:
    """500 comparisons; 30 sort keys. Both databases must plan and run them."""
    absent = [Condition("metric", f"absent {number}", ">", 0.0) for number in range(250)]
    null = [Condition("tag", f"absent {number}", "IS NULL", None) for number in range(250)]
    sorts = [SortKey("metric", f"absent {number}", True) for number in range(30)]
    everyone = found_runs(RUNS, (1, 2), ("active",), (), ())
    for database in (on_sqlite, on_postgres):
        assert run_ids(database, (1, 2), ("active",), [*absent, *null], ()) == []
        assert run_ids(database, (1, 2), ("active",), [*null, *null], sorts) == everyone
        either = Combined("OR", (*absent, *absent))
        assert run_ids(database, (1, 2), ("active",), [either], ()) == []
        for _ in range(23):  # each prints as NOT and a parenthesis
            either = Combined("NOT", (either,))
        assert run_ids(database, (1, 2), ("active",), [either], ()) == everyone
