"""docs/reference/search.md says what the parsers do: each operator of each field, and the sort keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from headrace import search
from headrace.contract.errors import ApiError
from headrace.contract.limits import (
    MAX_FILTER_CHARACTERS,
    MAX_FILTER_COMPARISONS,
    MAX_FILTER_DEPTH,
    MAX_FILTER_LISTS,
    MAX_SORT_FIELDS,
)
from headrace.search import datasets, experiments, logged_models, registry, runs, trace_filter

PAGE: Final = (Path(__file__).parents[3] / "docs/reference/search.md").read_text()
OPERATORS: Final = (
    "=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "RLIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL",
)  # fmt: skip
VALUES: Final = {
    "number": "1.5",
    "integer": "15",
    "text": "'a'",
    "id": "'1'",
    "status": "'READY'",
    "name/version": "'p/1'",
}
DIALECTS: Final = ("sqlite", "postgres")
Search = Callable[..., Any]
SEARCHES: Final[dict[str, Search]] = {
    "Runs": partial(search.runs_page, experiment_ids=[1], stages=("active",)),
    "Experiments": partial(search.experiments_page, stages=("active",)),
    "Registered models": search.registered_models_page,
    "Model versions": search.model_versions_page,
    "Logged models": partial(search.logged_models_page, experiment_ids=["1"], datasets=()),
    "Traces": partial(search.traces_page, experiment_ids=[1], columns=("request_id",)),
    "Evaluation datasets": partial(
        search.datasets_page, experiment_ids=(), columns=("dataset_id",)
    ),
}
# Fields without a prefix: (accepted by the parser, of these left out of the page on purpose)
ATTRIBUTES: Final[dict[str, tuple[set[str], set[str]]]] = {
    "Runs": (set(runs._SEARCHABLE), set(runs._KEY_ALIASES)),
    "Experiments": (set(experiments._ATTRIBUTES), set()),
    "Registered models": ({"name"}, set()),
    "Model versions": (set(registry._VERSION_COLUMNS), set()),
    "Logged models": (set(logged_models.LOGGED_MODEL_COLUMNS), set()),
    "Traces": (set(trace_filter._SEARCHABLE), {"text"}),  # needs a prefix: it is a type's name
    "Evaluation datasets": (set(datasets._SEARCHABLE), set()),
}
SORTABLE: Final = {
    "Runs": set(runs._COLUMNS),
    "Experiments": set(experiments._ATTRIBUTES),
    "Registered models": set(registry._MODEL_SORT_COLUMNS),
    "Model versions": set(registry._VERSION_SORT_COLUMNS),
    "Logged models": set(logged_models.LOGGED_MODEL_COLUMNS),
    "Traces": set(trace_filter._SORTABLE),
    "Evaluation datasets": set(datasets._SORTABLE),
}


def section(title: str) -> str:
    """The text of a section of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def fields(title: str) -> list[tuple[str, set[str], str]]:
    """The rows of a section's table: field, operators, kind of value."""
    found = []
    for names, operators, kind in re.findall(
        r"^\| (`.*`) \| (`.*`) \| (.*) \|$", section(title), re.M
    ):
        found += [
            (name, set(re.findall("`(.*?)`", operators)), kind)
            for name in re.findall("`(.*?)`", names)
        ]
    return found


def sort_keys(title: str) -> list[str]:
    """The fields that a section names behind "Sort by"."""
    (line,) = re.findall(
        r"^Sort by ((?:.|\n)*?)\.(?:\n\n|$)", section(title).strip() + "\n\n", re.M
    )
    return re.findall("`(.*?)`", line)


def is_accepted(title: str, text: str | None, order_by: Any = ()) -> bool:
    """Whether a search is made of it, for both databases."""
    try:
        for dialect in DIALECTS:
            SEARCHES[title](
                filter=text, order_by=order_by, max_results=1, page_token=None, dialect=dialect
            )
    except ApiError:
        return False
    return True


def comparison(field: str, operator: str, kind: str) -> str:
    """A comparison of a field, with a value that suits the operator."""
    name = field.replace("KEY", "`a key`" if "KEY.KEY" not in field else "a.b")
    if operator.startswith("IS"):
        return f"{name} {operator}"
    value = VALUES[kind]
    return f"{name} {operator} " + (f"({value}, {value})" if operator.endswith("IN") else value)


@pytest.mark.parametrize("title", SEARCHES)
def test_each_field_has_exactly_the_operators_of_the_page(title: str) -> None:
    wrong = []
    for field, operators, kind in fields(title):
        assert operators <= set(OPERATORS)
        accepted = {o for o in OPERATORS if is_accepted(title, comparison(field, o, kind))}
        if accepted != operators:
            wrong.append((field, sorted(accepted - operators), sorted(operators - accepted)))
    assert not wrong
    assert len(fields(title)) > 1


@pytest.mark.parametrize("title", SEARCHES)
def test_the_page_has_every_attribute(title: str) -> None:
    accepted, left_out = ATTRIBUTES[title]
    named = {field for field, _, _ in fields(title) if "KEY" not in field and "." not in field}
    aliases = set(re.findall("`(.*?)`", "".join(re.findall("^Also: (.*)$", section(title), re.M))))
    assert named | aliases | left_out == accepted | aliases
    for alias in aliases:
        assert is_accepted(title, f"{alias} = 1") or is_accepted(title, f"{alias} = '1'"), alias


@pytest.mark.parametrize("title", SEARCHES)
def test_the_page_has_every_sort_key(title: str) -> None:
    named = sort_keys(title)
    assert {name for name in named if "KEY" not in name} == SORTABLE[title]
    for name in named:
        field = name.replace("KEY", "`a key`")
        order = search.ModelSort(name) if title == "Logged models" else f"{field} DESC"
        assert is_accepted(title, None, [order]), name


def test_or_not_and_parentheses_work_exactly_in_the_searches_that_the_page_names() -> None:
    (names,) = re.findall(
        r"work in the searches for\s+((?:.|\n)*?)\.", section("Combining conditions")
    )
    named = set(re.split(r",\s+|\s+and\s+", " ".join(names.split())))
    works = set()
    for title in SEARCHES:
        field, _, kind = next(row for row in fields(title) if "!=" in row[1])
        one = comparison(field, "!=", kind)
        assert is_accepted(title, f"{one} AND {one}")
        answers = {
            is_accepted(title, text) for text in (f"{one} OR {one}", f"NOT {one}", f"({one})")
        }
        assert len(answers) == 1
        works |= {title.lower()} if answers == {True} else set()
    assert works == named


def test_every_example_of_the_page_is_accepted() -> None:
    found = re.findall(r"^    (.+?)(?:  +-- .*)?$", PAGE, re.M)
    assert len(found) >= 6
    assert [text for text in found if not is_accepted("Runs", text)] == []


def test_the_limits_of_the_page_are_those_of_the_parser() -> None:
    limits = section("Limits")
    for number in (
        MAX_FILTER_COMPARISONS,
        MAX_FILTER_DEPTH,
        MAX_FILTER_CHARACTERS,
        MAX_FILTER_LISTS,
        MAX_SORT_FIELDS,
    ):
        assert f"{number:,}" in limits
