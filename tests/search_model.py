"""A reference implementation of the searches for runs and experiments, and generators of searches.

It is slow and obvious: it filters and sorts a list. NaN differs from every number and equals none; a missing value
satisfies only IS NULL and sorts last.
"""

from __future__ import annotations

import operator
import re
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st
from tests import search_population as pool

from headrace.search.tree import Combined, Condition, SortKey, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.search_population import Experiment, Run

COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "IN": lambda value, listed: value in listed,
    "NOT IN": lambda value, listed: value not in listed,
    "LIKE": lambda value, pattern: like(value, pattern),
    "ILIKE": lambda value, pattern: like(value, pattern, re.IGNORECASE | re.ASCII),
}
RUN_ATTRIBUTES: Final = ("run_id", "user_id", "status", "artifact_uri")


def like(value: str, pattern: str, flags: int = 0) -> bool:
    """SQL's LIKE without an escape character."""
    wild = {"%": ".*", "_": "."}
    regex = "".join(wild.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(regex, value, flags | re.DOTALL) is not None


def run_matches(run: Run, condition: Condition) -> bool:
    """Whether the run satisfies the condition."""
    key, value = condition.key, condition.value
    compare = COMPARE.get(condition.operator)
    if condition.entity == "dataset":
        assert compare is not None
        index = ("name", "digest", "context").index(key)
        found = [dataset[index] for dataset in run.datasets]
        return any(one is not None and compare(one, value) for one in found)
    if condition.entity == "attribute":
        actual = run.tags["mlflow.runName"] if key == "run_name" else getattr(run, key)
    else:
        rows = {"metric": run.metrics, "parameter": run.params, "tag": run.tags}
        actual = rows[condition.entity].get(key)
    if condition.operator in ("IS NULL", "IS NOT NULL"):
        return (actual is None) == (condition.operator == "IS NULL")
    assert compare is not None
    return actual is not None and compare(actual, value)


def experiment_matches(experiment: Experiment, condition: Condition) -> bool:
    """Whether the experiment satisfies the condition."""
    value: Any = condition.value
    if condition.entity == "tag":
        actual: Any = experiment.tags.get(condition.key)
    else:
        actual = getattr(experiment, condition.key)
    if condition.operator in ("IS NULL", "IS NOT NULL"):
        return (actual is None) == (condition.operator == "IS NULL")
    if condition.key == "experiment_id" and condition.entity == "attribute":
        value = tuple(map(int, value)) if isinstance(value, tuple) else int(value)
    return actual is not None and COMPARE[condition.operator](actual, value)


def matches(row: Any, term: Term, holds: Callable[[Any, Condition], bool]) -> bool:
    """Whether a row satisfies a term, given whether it satisfies each condition."""
    if isinstance(term, Condition):
        return holds(row, term)
    found = [matches(row, part, holds) for part in term.terms]
    if term.word == "NOT":
        return not found[0]
    return any(found) if term.word == "OR" else all(found)


def found_runs(
    runs: Sequence[Run],
    experiment_ids: Sequence[int],
    stages: Sequence[str],
    conditions: Sequence[Term],
    keys: Sequence[SortKey],
) -> list[str]:
    """Ids of the runs that a search finds, in its order."""
    found = [
        run
        for run in runs
        if run.experiment_id in experiment_ids
        and run.stage in stages
        and all(matches(run, term, run_matches) for term in conditions)
    ]
    found.sort(key=lambda run: run.run_id)
    if all((key.entity, key.key) != ("attribute", "start_time") for key in keys):
        found.sort(key=lambda run: -run.start_time)
    for key in reversed(keys):
        found = _sorted(found, key)
    return [run.run_id for run in found]


def _sorted(runs: list[Run], key: SortKey) -> list[Run]:
    def value(run: Run) -> Any:  # str, int or float, by the key
        if key.entity == "attribute":
            return getattr(run, {"run_name": "name"}.get(key.key, key.key))
        rows = {"metric": run.metrics, "parameter": run.params, "tag": run.tags}
        return rows[key.entity].get(key.key)

    missing = [run for run in runs if value(run) is None]
    nan = [run for run in runs if isinstance(value(run), float) and isnan(value(run))]
    rest = [run for run in runs if run not in missing and run not in nan]
    return [*sorted(rest, key=value, reverse=not key.ascending), *nan, *missing]


# Generators. A filter can only spell strings without its own quotes, and a backslash in a LIKE
# pattern means something on PostgreSQL alone, as in stock MLflow.
SPELLABLE: Final = tuple(text for text in pool.TEXTS if "\\" not in text)
TEXT = st.sampled_from(SPELLABLE)
PATTERN = st.one_of(TEXT, st.sampled_from(("%", "a%", "%b", "_", "a_b", "%i%", "__", "%%", "A%")))
ASCII_PATTERN = PATTERN.filter(str.isascii)
KEY = st.sampled_from(tuple(key for key in pool.KEYS if "`" not in key))
NUMBER = st.one_of(
    st.sampled_from([number for number in pool.NUMBERS if not isnan(number)]),
    st.floats(allow_nan=False, allow_infinity=False),
)
INTEGER = st.one_of(st.sampled_from(pool.TIMES), st.integers(-(2**70), 2**70))
NUMERIC = ("=", "!=", "<", "<=", ">", ">=")


def texts(
    entity: str, key: st.SearchStrategy[str], text: st.SearchStrategy[str] = TEXT
) -> st.SearchStrategy[Condition]:
    """Conditions that compare a string with one string."""
    return st.one_of(
        st.builds(Condition, st.just(entity), key, st.sampled_from(("=", "!=")), text),
        st.builds(Condition, st.just(entity), key, st.just("LIKE"), PATTERN),
        st.builds(Condition, st.just(entity), key, st.just("ILIKE"), ASCII_PATTERN),
    )


def lists(entity: str, keys: Sequence[str], values: Sequence[str]) -> st.SearchStrategy[Condition]:
    """IN and NOT IN."""
    listed = st.lists(st.sampled_from(values), min_size=1, max_size=4).map(tuple)
    words = st.sampled_from(("IN", "NOT IN"))
    return st.builds(Condition, st.just(entity), st.sampled_from(keys), words, listed)


def nulls(entity: str) -> st.SearchStrategy[Condition]:
    """IS NULL and IS NOT NULL."""
    words = st.sampled_from(("IS NULL", "IS NOT NULL"))
    return st.builds(Condition, st.just(entity), KEY, words, st.none())


def times(keys: Sequence[str], numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    """Comparisons of a time with a number."""
    words = st.sampled_from(NUMERIC)
    return st.builds(Condition, st.just("attribute"), st.sampled_from(keys), words, numbers)


def combined(conditions: st.SearchStrategy[Condition]) -> st.SearchStrategy[Term]:
    """Terms with AND, OR and NOT, in any nesting."""
    return st.recursive(
        conditions,
        lambda terms: st.one_of(
            st.builds(
                Combined,
                st.sampled_from(("AND", "OR")),
                st.lists(terms, min_size=2, max_size=3).map(tuple),
            ),
            st.builds(Combined, st.just("NOT"), st.tuples(terms)),
        ),
        max_leaves=6,
    )


RUN_IDS: Final = tuple(run.run_id for run in pool.runs())
DATASETS: Final = (*pool.NAMES, *pool.DIGESTS, *pool.CONTEXTS)
RUN_CONDITION = st.one_of(
    st.builds(Condition, st.just("metric"), KEY, st.sampled_from(NUMERIC), NUMBER),
    *(texts(entity, KEY) for entity in ("parameter", "tag")),
    *(nulls(entity) for entity in ("parameter", "tag")),
    texts("attribute", st.sampled_from(("run_name", *RUN_ATTRIBUTES))),
    texts("dataset", st.sampled_from(("name", "digest", "context")), st.sampled_from(DATASETS)),
    lists("dataset", ("name", "digest", "context"), DATASETS),
    lists("attribute", ("run_id",), RUN_IDS),
    times(("start_time", "end_time"), st.one_of(INTEGER, NUMBER)),
)
EXPERIMENT_IDS: Final = tuple(str(number) for number in range(14))
EXPERIMENT_CONDITION = st.one_of(
    texts("tag", KEY),
    nulls("tag"),
    texts("attribute", st.just("name")),
    lists("attribute", ("experiment_id",), EXPERIMENT_IDS),
    times(("creation_time", "last_update_time"), INTEGER),
)
RUN_SORT = st.one_of(
    st.builds(SortKey, st.sampled_from(("metric", "parameter", "tag")), KEY, st.booleans()),
    st.builds(
        SortKey,
        st.just("attribute"),
        st.sampled_from(("start_time", "end_time", "run_name", *RUN_ATTRIBUTES)),
        st.booleans(),
    ),
)
RUN_SORTS = st.lists(RUN_SORT, max_size=3, unique_by=lambda key: (key.entity, key.key))
EXPERIMENT_SORTS = st.lists(
    st.builds(
        SortKey,
        st.just("attribute"),
        st.sampled_from(("name", "experiment_id", "creation_time", "last_update_time")),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
STAGES = st.sampled_from((("active",), ("deleted",), ("active", "deleted")))
