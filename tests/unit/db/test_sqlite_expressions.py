"""REGEXP on SQLite finds what Python's `re` finds, and ends."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.db.errors import DataRejected
from headrace.db.sqlite import expressions
from headrace.db.sqlite.connection import connect
from headrace.db.sqlite.errors import translate
from headrace.db.sqlite.expressions import Expressions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.db.sqlite.connection import Connection

EXPONENTIAL = "(x+x+)+y"  # takes 2**n steps for n times x
# Parts of expressions that `re` and `regex` could read differently, or not at all.
PARTS = (
    *(
        "a",
        "b",
        "A",
        ".",
        "^",
        "$",
        "|",
        "(",
        ")",
        "(?:",
        "(?i)",
        "(?=",
        "(?<!",
        "*",
        "+",
        "?",
        "*?",
    ),
    *(
        "a++",
        "{",
        "}",
        "{2}",
        "{,1}",
        "{1,}",
        "{e}",
        "{e<=1}",
        "{i}",
        "[",
        "]",
        "[^",
        "[]",
        "[^]",
        "-",
    ),
    *(
        "[[:alpha:]]",
        "[a[:b]",
        "[:a]",
        "\\",
        "\\d",
        "\\w",
        "\\b",
        "\\Z",
        "\\1",
        "\\[",
        "\\{",
        "\\p{L}",
    ),
    *(
        "\\m",
        "\\K",
        "\\X",
        "\\R",
        "--",
        "&&",
        "~~",
        "||",
        "(?P<n>a)",
        "(?P=n)",
        "(?|a|b)",
        "é",
        "\n",
    ),
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    """An empty database."""
    found = connect(":memory:", read_only=False, synchronous="OFF")
    yield found
    found.close()


def stock(pattern: str | None, text: str | None) -> bool:
    """The function that MLflow gives to SQLite."""
    if text is None or pattern is None:
        return False
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")
@given(
    st.lists(st.sampled_from(PARTS), max_size=7).map("".join),
    st.text(alphabet="abAé{}[]:e<=1-&|\n\\5 ", max_size=8),
)
def test_it_finds_what_stock_finds(pattern: str, text: str) -> None:
    assert Expressions().found(pattern, text) is stock(pattern, text)


def test_a_column_without_a_value_has_no_match(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT NULL REGEXP 'a', 'a' REGEXP NULL, 'ab' REGEXP 'b$', 'a' REGEXP '('"
    )
    assert rows.fetchall() == [(0, 0, 1, 0)]


def test_an_expression_that_backtracks_ends_and_lets_other_threads_run(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expressions, "LIMIT_S", 0.5)
    connection.expressions.begin()
    failed: list[DataRejected] = []

    def run() -> None:
        try:
            connection.execute("SELECT ? REGEXP ?", ("x" * 10_000, EXPONENTIAL)).fetchall()
        except sqlite3.Error as error:
            found = translate(error)
            assert isinstance(found, DataRejected)
            failed.append(found)

    other = threading.Thread(target=run)
    began = time.thread_time()
    other.start()
    turns = 0
    while other.is_alive():
        turns += 1
        time.sleep(0.001)
    other.join()
    assert failed[0].text == "a regular expression takes more than 2 s"
    assert turns > 20, "this thread waited for the expression"
    assert time.thread_time() - began < 0.5


def test_the_time_is_that_of_all_texts_of_a_read(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expressions, "LIMIT_S", 0.1)
    connection.expressions.begin()
    many = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
        " SELECT sum((i || 'xxxxxxxxxxxx') REGEXP ?) FROM n"
    )
    with pytest.raises(sqlite3.OperationalError, match="raised exception"):
        connection.execute(many, (EXPONENTIAL,)).fetchall()
    connection.expressions.begin()
    assert connection.execute("SELECT 'a' REGEXP 'a'").fetchone() == (1,)
