"""OR, NOT and parentheses: how a filter is divided, its limits, and the work that its reading takes."""

from __future__ import annotations

from time import thread_time_ns

import pytest
from tests.unit.search.test_lexer_work import GROWTH, is_linear

from headrace.contract.errors import ApiError
from headrace.contract.limits import MAX_FILTER_COMPARISONS, MAX_FILTER_DEPTH
from headrace.search import boolean
from headrace.search.experiments import parse_filter as parse_experiments
from headrace.search.logged_models import parse_filter as parse_logged_models
from headrace.search.registry import parse_models_filter, parse_versions_filter
from headrace.search.runs import parse_filter, parse_plain
from headrace.search.tree import print_filter

A, B, C = "metrics.a > 1", "params.b = 'x'", "tags.c LIKE 'y%'"
PA, PB, PC = "metric.`a` > 1.0", "parameter.`b` = 'x'", "tag.`c` LIKE 'y%'"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (f"{A} OR {B} AND {C}", f"({PA} OR ({PB} AND {PC}))"),
        (f"({A} OR {B}) AND {C}", f"({PA} OR {PB}) AND {PC}"),
        (f"{A} and ({B} or {C})", f"{PA} AND ({PB} OR {PC})"),
        (f"NOT {A} AND {B}", f"NOT ({PA}) AND {PB}"),
        (f"NOT ({A} AND {B})", f"NOT (({PA} AND {PB}))"),
        (f"NOT({A})AND({B})", f"NOT ({PA}) AND {PB}"),
        (f"NOT NOT {A}", f"NOT (NOT ({PA}))"),
        (f"(({A}))", PA),
        (f"( -- why\n{A} /* here */) OR {B} -- end", f"({PA} OR {PB})"),
        ("tags.or = 'OR' OR tags.not = '(' OR tags.`a OR b` = ')'",
         "(tag.`or` = 'OR' OR tag.`not` = '(' OR tag.`a OR b` = ')')"),
        ("NOT run_id NOT IN ('a', 'b') OR params.x IS NOT NULL",
         "(NOT (attribute.`run_id` NOT IN ('a', 'b')) OR parameter.`x` IS NOT NULL)"),
        (r"(run_id IN ('a\'b', 'c') OR tags.x IS NULL)",
         '(attribute.`run_id` IN ("a\'b", \'c\') OR tag.`x` IS NULL)'),
    ],
)  # fmt: skip
def test_a_filter_is_divided_at_its_operators(text: str, meaning: str) -> None:
    assert print_filter(parse_filter(text)) == meaning
    assert print_filter(parse_filter(meaning)) == meaning


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{A} OR", "Invalid clause(s) in filter string: 'OR'"),
        (f"OR {A}", "Invalid clause(s) in filter string: 'OR'"),
        (f"({A}", "Invalid clause(s) in filter string: '('"),
        (f"{A})", "Invalid clause(s) in filter string: ')'"),
        ("()", "Invalid clause(s) in filter string: '()'"),
        ("NOT", "Invalid clause(s) in filter string: 'NOT'"),
        (f"{A} OR OR {B}", "Invalid clause(s) in filter string: 'OR', 'OR'"),
        (f"{A} OR foo", "Invalid clause(s) in filter string: 'foo'"),
        (f"{A} OR metrics.b > 'x'", "Expected numeric value type for metric. Found 'x'"),
        (f"NOT (nope.x = 'a' OR {A})", "Invalid entity type 'nope'"),
        (f"{A} {B} OR {C}", "expected AND or OR between the comparisons of"),
        (f"{A}; {B} OR {C}", "Search filter contained multiple expression"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(ApiError) as refusal:
        parse_filter(text)
    assert says in refusal.value.message


def test_nesting_and_the_number_of_comparisons_are_limited() -> None:
    deepest = "(" * MAX_FILTER_DEPTH + A + ")" * MAX_FILTER_DEPTH
    assert print_filter(parse_filter(deepest)) == PA
    for text in (f"({deepest})", f"NOT {deepest}", "NOT " * (MAX_FILTER_DEPTH + 1) + A):
        with pytest.raises(ApiError, match="nested at most 50 times"):
            parse_filter(text)
    many = [f"metrics.m{n} > 0" for n in range(MAX_FILTER_COMPARISONS)]
    (term,) = parse_filter(" OR ".join(many))
    assert str(term).count(" OR ") == MAX_FILTER_COMPARISONS - 1
    with pytest.raises(ApiError, match=r"at most 500 comparisons\. Got 501"):
        parse_filter(" OR ".join([*many, A]))


@pytest.mark.parametrize(
    "opener", ["NOT ", "(", "NOT(", "() ", "a OR ", f"{A} OR ", f"({A}) ", "OR ", ") ", "a = (", "/* "]
)  # fmt: skip
def test_reading_takes_linear_time(opener: str) -> None:
    """For every repeated text, so that no filter holds the event loop."""

    def reading_ns(count: int) -> int:
        began = thread_time_ns()
        with pytest.raises(ApiError):
            parse_filter(opener * count)
        return thread_time_ns() - began

    assert is_linear(lambda: reading_ns(500), lambda: reading_ns(GROWTH * 500))


def test_every_resource_with_ored_filters_has_them() -> None:
    for parse, text in (
        (parse_experiments, "name = 'a' OR NOT tags.x = 'b'"),
        (parse_models_filter, "name = 'a' OR NOT tags.x = 'b'"),
        (parse_versions_filter, "name = 'a' OR NOT (run_id = 'b' OR tags.x = 'c')"),
        (parse_logged_models, "name = 'a' OR NOT (metrics.x > 1 OR tags.x = 'c')"),
    ):
        (term,) = parse(text)
        assert str(term).count("OR") == text.count("OR")
        assert str(term).count("NOT") == 1


@pytest.mark.parametrize("text", [f"{A} AND {B}", f"{A} {B}", f"AND {A}", f"{A} AND", " AND "])
def test_a_filter_of_stock_is_read_by_stocks_grammar_alone(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boolean, "_items", None)
    assert parse_filter(text + " ") == parse_plain(text)
