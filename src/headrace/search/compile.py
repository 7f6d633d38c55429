"""The SQL that all searches share: parameters, comparisons in each dialect, the page.

Values and keys are always parameters. So each shape of filter has one text, and statements are
cached.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from json import dumps
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from headrace.contract.errors import ApiError, ErrorCode
from headrace.search.pages import page_token
from headrace.search.patterns import check_pattern
from headrace.search.tree import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from headrace.auth.access import Scope
    from headrace.db.base import Dialect, Row
    from headrace.search.tree import Term, Value

MAX_BIGINT: Final = 2**63 - 1
# PostgreSQL plans 12 semi-joins in 50 ms, 100 in 3.7 s, 300 in more than a minute, without a way to
# interrupt it. 12 semi-joins and 288 subqueries take 0.1 s.
MAX_SEMI_JOINS: Final = 12
# Of experiments: 32 bits, so any of these fits in a bigint.
_NUMBER: Final = re.compile("0|-?[1-9][0-9]{0,9}")
# Possessive, so that 50,000 numbers take 3 ms instead of 14.
_NUMBERS: Final = re.compile("(?:-?[1-9][0-9]{0,9}+,|0,)*+")
_SQL_OPERATORS: Final = {"=": "=", "!=": "<>", ">": ">", ">=": ">=", "<": "<", "<=": "<="}


@dataclass(frozen=True, slots=True)
class Page:
    """The statement for one page of a search, and the data for the next page token.

    The statement returns up to `max_results` + 1 rows; pass them to `cut`.
    """

    text: str
    args: tuple[Any, ...]
    offset: int
    max_results: int
    token: Callable[[int], str] = page_token

    def cut(self, rows: Sequence[Row]) -> tuple[Sequence[Row], str | None]:
        """The rows of this page, and the token of the next one when another row exists."""
        # Equal, not more: with a max_results of -1 the page is empty and has a token, as in MLflow.
        if len(rows) != self.max_results + 1:
            return rows, None
        return rows[: self.max_results], self.token(self.offset + self.max_results)

    def beginning(self, most: int) -> Page:
        """The first `most` rows of this page, when it is longer."""
        if self.max_results <= most:
            return self
        return replace(self, args=(*self.args[:-2], most + 1, self.offset), max_results=most)


class Parameters:
    """The parameters of one statement, numbered in the order in which they are added."""

    __slots__ = ("_subqueries", "dialect", "values")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.values: list[Any] = []
        self._subqueries = 0

    def add(self, value: object) -> str:
        """Adds `value` and returns its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def is_in(
        self,
        column: str,
        values: Sequence[str] | Sequence[int],
        *,
        array: Literal["text", "bigint"] = "text",
        negate: bool = False,
    ) -> str:
        """`column [NOT] IN values`; `array` is their type on PostgreSQL."""
        if len(values) == 1 and not negate:
            cast = "::bigint" if array == "bigint" and self.dialect == "postgres" else ""
            return f"{column} = {self.add(values[0])}{cast}"
        if self.dialect == "sqlite":
            word = "NOT IN" if negate else "IN"
            placeholder = self.add(dumps(values, ensure_ascii=False))
            return f"{column} {word} (SELECT value FROM json_each({placeholder}))"
        word = "<> ALL" if negate else "= ANY"
        return f"{column} {word} ({self.add(list(values))}::{array}[])"

    def readable(
        self,
        column: str,
        scope: Scope,
        *,
        array: Literal["text", "bigint"] = "text",
        finds: bool = True,
    ) -> str:
        """The condition that the caller may read the row with this id; one parameter for any scope.

        `finds`: the rows may be found by the condition, through the index on `column`. The ids are
        a JSON text, because a list of 50,000 ids takes drivers ten times as long.
        """
        ids = self.add(_json_numbers(scope.ids) if array == "bigint" else _json_texts(scope.ids))
        word = "IN" if scope.only else "NOT IN"
        if self.dialect == "sqlite":
            return f"{column} {word} (SELECT value FROM json_each({ids}))"
        cast = "::bigint" if array == "bigint" else ""
        texts = f"SELECT json_array_elements_text({ids}::json){cast}"
        if scope.only and finds:
            return f"{column} = ANY (ARRAY({texts}))"
        # The subquery is hashed, while `<> ALL` compares each row with each id (9 instead of 300 ms
        # for 5,000 of 10,000 ids: docs/decisions/scoped-searches.md).
        return f"{column} {word} ({texts})"

    def compares(self, column: str, operator: str, value: Value) -> str:
        """`column operator value` for a text or double column."""
        if isinstance(value, tuple):
            return self.is_in(column, value, negate=operator == "NOT IN")
        placeholder = self.add(value)
        if operator == "LIKE":
            return f"{column} LIKE {placeholder}"
        if operator == "ILIKE":
            # SQLite's lower() folds ASCII only; stock MLflow uses the same SQL.
            is_sqlite = self.dialect == "sqlite"
            return (
                f"lower({column}) LIKE lower({placeholder})"
                if is_sqlite
                else f"{column} ILIKE {placeholder}"
            )
        return f"{column} {_SQL_OPERATORS[operator]} {placeholder}"

    def compares_integer(self, column: str, operator: str, value: float) -> str:
        """`column operator value` for a bigint column, exact for any finite or infinite number."""
        operator, bound = integer_comparison(operator, value)
        cast = "::bigint" if self.dialect == "postgres" else ""
        return f"{column} {_SQL_OPERATORS[operator]} {self.add(bound)}{cast}"

    def matches(self, column: str, pattern: str) -> str:
        """`column RLIKE pattern`, in the database's own regular expressions, or Python's on SQLite.

        Raises INVALID_PARAMETER_VALUE.
        """
        check_pattern(pattern, as_python=self.dialect == "sqlite")
        sign = "REGEXP" if self.dialect == "sqlite" else "~"
        return f"{column} {sign} {self.add(pattern)}"

    def exists(self, rows: str) -> str:
        """`EXISTS (SELECT 1 FROM rows)`. Only the first MAX_SEMI_JOINS become semi-joins."""
        self._subqueries += 1
        if self._subqueries > MAX_SEMI_JOINS and self.dialect == "postgres":
            rows += " OFFSET 0"  # prevents that PostgreSQL turns it into a join
        return f"EXISTS (SELECT 1 FROM {rows})"

    def page(
        self,
        text: str,
        offset: int,
        max_results: int,
        token: Callable[[int], str] = page_token,
    ) -> Page:
        """The page of the statement `text`, with LIMIT and OFFSET added."""
        if max_results < -1:
            raise ApiError(ErrorCode.BAD_REQUEST, "LIMIT must not be negative")
        limited = f"{text} LIMIT {self.add(max_results + 1)} OFFSET {self.add(offset)}"
        return Page(limited, tuple(self.values), offset, max_results, token)


def term_sql(term: Term, condition_sql: Callable[[Condition], str]) -> str:
    """The SQL of a term, given that of each condition. A condition on NULL is not true."""
    if isinstance(term, Condition):
        return condition_sql(term)
    parts = [f"({term_sql(part, condition_sql)})" for part in term.terms]
    if term.word == "NOT":
        return f"{parts[0]} IS NOT TRUE"
    return f"({f' {term.word} '.join(parts)})"


def integer_comparison(operator: str, value: float) -> tuple[str, int]:
    """Turns a comparison with any number into an equivalent one with a 64-bit integer.

    `x >= 1.5` becomes `x > 1`; `x = 1.5` and `x > 2**70` are never true, `x < 2**70` is true for
    all but NULL.
    """
    never, always = (">", MAX_BIGINT), ("<=", MAX_BIGINT)
    if math.isnan(value):
        return never
    if value > MAX_BIGINT:
        return always if operator in ("<", "<=", "!=") else never
    if value < -MAX_BIGINT - 1:
        return always if operator in (">", ">=", "!=") else never
    floor = math.floor(value)
    if floor == value:
        return operator, floor
    if operator in ("=", "!="):
        return never if operator == "=" else always
    return (">", floor) if operator in (">", ">=") else ("<=", floor)


def storable(numbers: Iterable[int]) -> list[int]:
    """The `numbers` that fit into a 64-bit column; no row has any other."""
    return [number for number in numbers if -MAX_BIGINT - 1 <= number <= MAX_BIGINT]


def _json_texts(ids: Iterable[str]) -> str:
    return msgspec.json.encode(list(ids)).decode()


def _json_numbers(ids: Collection[str]) -> str:
    """The ids that are numbers as the database writes them; grants may have any other text."""
    joined = ",".join(ids)
    # One id may be the text "1,2".
    if joined.count(",") >= len(ids) or not _NUMBERS.fullmatch(f"{joined},"):
        joined = ",".join(id_ for id_ in ids if _NUMBER.fullmatch(id_))
    return f"[{joined}]"
