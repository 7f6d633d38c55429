"""The statements that searches become: one text per shape, and nothing of the request in it."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search_model import COMPARE, RUN_CONDITION, RUN_SORTS

from headrace import search
from headrace.contract.errors import ApiError
from headrace.db.statements import statement
from headrace.search.compile import Parameters, integer_comparison
from headrace.search.runs import parse_filter, parse_order_by
from headrace.search.tree import Condition, SortKey, print_filter

DIALECT = st.sampled_from(("postgres", "sqlite"))


def runs_page(dialect: str, text: str = "", order_by: tuple[str, ...] = ()) -> search.Page:
    """A page of the runs of experiment 1."""
    return search.runs_page(
        experiment_ids=[1],
        filter=text,
        order_by=order_by,
        stages=("active",),
        max_results=10,
        page_token=None,
        dialect=dialect,  # type: ignore[arg-type]
    )


@given(conditions=st.lists(RUN_CONDITION, max_size=4).map(tuple))
def test_a_printed_filter_parses_to_itself(conditions: tuple[Condition, ...]) -> None:
    """parse(print(x)) = x, and so print(parse(print(x))) = print(x)."""
    printed = print_filter(conditions)
    assert parse_filter(printed) == conditions
    assert print_filter(parse_filter(printed)) == printed


@given(keys=RUN_SORTS.map(tuple))
def test_a_printed_order_parses_to_itself(keys: tuple[SortKey, ...]) -> None:
    """The same of order_by."""
    assert parse_order_by([str(key) for key in keys]) == keys


@given(conditions=st.lists(RUN_CONDITION, max_size=4).map(tuple), dialect=DIALECT)
def test_no_word_of_the_request_stands_in_the_statement(
    conditions: tuple[Condition, ...], dialect: str
) -> None:
    """Keys and values are parameters: the text has only words that stand in every text."""
    page = runs_page(dialect, print_filter(conditions))
    text = statement(page.text).postgres if dialect == "postgres" else statement(page.text).sqlite
    quoted = set(re.findall(r"'[^']*'", text))
    assert quoted <= {"'DATASET'", "'RUN'", "'mlflow.data.context'"}
    assert not re.search(r"[^\x20-\x7e]", text)
    holders = {int(number) for number in re.findall(r"[$?](\d+)", text)}
    assert holders == set(range(1, len(page.args) + 1))


@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
def test_filters_of_one_shape_share_a_statement(dialect: str) -> None:
    """The driver prepares it once, whatever keys and values are asked for."""
    one = runs_page(dialect, "metrics.a > 1 AND params.b = 'x'", ("metrics.c DESC",))
    other = runs_page(dialect, "metrics.`z z` > 5e9 AND params.y = 'it'", ("metrics.d DESC",))
    assert statement(one.text) is statement(other.text)
    assert one.args != other.args
    assert one.text != runs_page(dialect, "metrics.a < 1 AND params.b = 'x'").text


@given(
    operator=st.sampled_from(("=", "!=", "<", "<=", ">", ">=")),
    value=st.one_of(
        st.integers(-(2**66), 2**66),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-5, 5).map(lambda number: number / 2),
    ),
    stored=st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-4, 4)),
)
def test_an_integer_column_compares_exactly(operator: str, value: float, stored: int) -> None:
    """With any number, by comparing with a 64-bit integer."""
    replaced, bound = integer_comparison(operator, value)
    assert -(2**63) <= bound < 2**63
    assert COMPARE[replaced](stored, bound) == COMPARE[operator](stored, Fraction(value))


def test_an_integer_column_compares_with_infinity() -> None:
    """1e999 is infinite to Python."""
    assert integer_comparison("<", float("inf")) == ("<=", 2**63 - 1)
    assert integer_comparison(">", float("inf")) == (">", 2**63 - 1)
    assert integer_comparison(">", float("-inf")) == ("<=", 2**63 - 1)


def test_a_page_has_a_token_only_when_there_is_more() -> None:
    """One row more than asked for is fetched to know."""
    page = runs_page("sqlite")
    rows = [(number,) for number in range(11)]
    assert page.cut(rows) == (rows[:10], search.page_token(10))
    assert page.cut(rows[:10]) == (rows[:10], None)
    assert page.cut([]) == ([], None)


def test_a_page_of_minus_one_rows_is_empty() -> None:
    """Registered models may be asked for 0 or -1: no row, and a token. Fewer are refused."""
    page = Parameters("sqlite").page("SELECT 1", 0, -1)
    assert page.args == (0, 0)
    assert page.cut([]) == ([], search.page_token(-1))
    with pytest.raises(ApiError) as refused:
        Parameters("sqlite").page("SELECT 1", 0, -2)
    assert refused.value.status == 400
