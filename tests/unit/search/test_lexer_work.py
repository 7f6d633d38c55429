"""Lexing takes linear time, because filters come from clients and are lexed on the event loop."""

from __future__ import annotations

from time import thread_time_ns
from typing import TYPE_CHECKING

import pytest

from headrace.contract.errors import ApiError
from headrace.contract.limits import MAX_FILTER_CHARACTERS, MAX_FILTER_LISTS
from headrace.search import lexer
from headrace.search.runs import parse_filter, parse_order_by

if TYPE_CHECKING:
    from collections.abc import Callable

# For each rule in order, texts that match its beginning but not its end.
OPENERS = (
    ("--", "# ", "-- \r"),
    ("/*", "/*x", "/**", "/*/", "/* */ /*"),
    (" ", "\t\n"),
    (":", ":="),
    (":", "::"),
    ("*",),
    ("`", "`a", "``a", "`a``", "\u00b4", "\u00b4a", "\u00b4\u00b4a"),
    ("?", "%(", "%(a", "%(a)", "$", "$a", ":a"),
    ("\\", "\\a"),
    ("I", "IN", "CASE", "IN "),
    ("@", "#", "##a", "@a"),
    ("a", "a ", "a .", "a.", ".a", "a("),
    ("0", "0x", "-0x"),
    ("1", "1.", "1.1", "1E", "1E-", "-1", "1.1E"),
    ("1.", ".1", "1._", "1.a"),
    ("1", "1_", "1a"),
    ("'", "'a", "''", "'\\", "'\\'", "\\'", "'a''"),
    ('"', '"a', '""', '"\\', '"\\"', '\\"', '"a""'),
    ("[", "[a", "[ ", "a["),
    ("NOT ", "UNION ", "GROUP\t", "ORDER  ", "PRIMARY "),
    ("ASC ", "DESC NULLS ", "NULLS "),
    ("NOT ", "REGEXP ", "LIKE", "I"),
    ("_", "a$", "a#"),
    ("(", "('a'", "('a',", "('a', ", "( ", "('", '("', "('a',('a',", "(',('"),
    (";", "(", ")", "[", "]", ".", ","),
    ("->", "#", "#>", "@", "<", "?", "-"),
    ("=", "<>!~"),
    ("+", "%", "|&^"),
    ("é", "\x00", "{"),
)
CASES = sorted({opener for openers in OPENERS for opener in openers})
CHARACTERS = 3_000
GROWTH = 4
# More than GROWTH because of noise, less than the GROWTH * GROWTH of a quadratic rule.
MAX_RATIO = 2.5 * GROWTH
# Shorter times are mostly noise.
SHORTEST_NS = 200_000
ATTEMPTS = 10


def lexing_ns(text: str) -> int:
    """The CPU time of one call of the lexer."""
    began = thread_time_ns()
    lexer.tokens(text)
    return thread_time_ns() - began


def is_linear(once: Callable[[], int], more: Callable[[], int]) -> bool:
    """Whether `more`, on GROWTH times the text, takes at most MAX_RATIO times the time of `once`.

    The fastest of several attempts counts, because other processes only ever add time. `more` stops at the first
    attempt that is fast enough.
    """
    limit = MAX_RATIO * max(min(once() for _ in range(3)), SHORTEST_NS)
    return any(more() <= limit for _ in range(ATTEMPTS))


@pytest.fixture
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules must be linear without the limits."""
    for name in ("MAX_FILTER_CHARACTERS", "MAX_FILTER_LISTS", "MAX_FILTER_TOKENS"):
        monkeypatch.setattr(lexer, name, 10**9)


def test_every_rule_is_tried() -> None:
    assert len(OPENERS) == len(lexer._RULES)


@pytest.mark.parametrize("tail", ["", "x" * CHARACTERS], ids=["alone", "with more behind"])
@pytest.mark.parametrize("opener", CASES)
@pytest.mark.usefixtures("no_limits")
def test_openers_without_an_end_are_lexed_in_linear_time(opener: str, tail: str) -> None:
    """A rule that reads to the end for each opener would take 16 times as long for 4 times the text."""
    once = opener * (CHARACTERS // len(opener)) + tail
    more = opener * (GROWTH * CHARACTERS // len(opener)) + tail * GROWTH
    assert is_linear(lambda: lexing_ns(once), lambda: lexing_ns(more))


@pytest.mark.parametrize("opener", ["(", "('a',", "(',('", "('a','b') ", "(\"'\", '(\"',"])
def test_a_text_that_is_too_long_is_refused_in_linear_time(opener: str) -> None:
    def refuse(characters: int) -> int:
        text = opener * (characters // len(opener)) + "x" * MAX_FILTER_CHARACTERS
        began = thread_time_ns()
        with pytest.raises(lexer.TooLong):
            lexer.tokens(text)
        return thread_time_ns() - began

    assert is_linear(lambda: refuse(200_000), lambda: refuse(GROWTH * 200_000))


def test_a_comment_that_is_not_closed_is_no_comment() -> None:
    kinds = [node.text for node in lexer.tokens("a /* b */ /* c /* d")]
    assert kinds == ["a", "/* b */", "/", "*", "c", "/", "*", "d"]


def test_a_quote_that_is_not_closed_ends_at_the_last_doubled_one() -> None:
    assert [node.text for node in lexer.tokens("`a``b")] == ["`a`", "`", "b"]
    assert [node.text for node in lexer.tokens("'a''b")] == ["'a'", "'", "b"]
    assert [node.text for node in lexer.tokens(r"'a\'b")] == [r"'a\'", "b"]


def test_a_list_of_ten_thousand_runs_is_understood_whatever_the_limit_of_a_filter() -> None:
    ids = ", ".join(f"'{number:032x}'" for number in range(10_000))
    (condition,) = parse_filter(f"attributes.run_id IN ({ids})")
    assert isinstance(condition.value, tuple)
    assert len(condition.value) == 10_000


def test_a_long_filter_is_refused_and_not_repeated() -> None:
    for text in (
        "params.a = '" + "x" * MAX_FILTER_CHARACTERS + "'",
        "attributes.run_id IN ('" + "x" * MAX_FILTER_LISTS + "')",
    ):
        with pytest.raises(ApiError, match=r"more than \d+ characters") as refused:
            parse_filter(text)
        assert len(refused.value.message) < 1000


def test_a_list_of_too_many_values_is_refused() -> None:
    with pytest.raises(ApiError, match="at most 50000 values"):
        parse_filter("attributes.run_id IN (" + "'a'," * 60_000 + "'a')")


def test_a_sort_key_that_is_too_long_is_refused() -> None:
    with pytest.raises(ApiError, match="more than 1000 characters"):
        parse_order_by(["metrics.`" + "x" * 1000 + "`"])


def test_a_number_of_any_length_is_a_number() -> None:
    many = "1" * 5000
    (condition,) = parse_filter(f"attributes.start_time > {many}")
    assert condition.value == float("inf")
    (condition,) = parse_filter(f"metrics.a > -{many}")
    assert condition.value == float("-inf")
