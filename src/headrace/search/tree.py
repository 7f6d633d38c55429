"""Parsed filters and order_by: terms, all of which must be true, and sort keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.contract.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Value = str | int | float | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Condition:
    """`entity.key operator value`, with aliases resolved and the operator in upper case.

    `value` is None for IS NULL and IS NOT NULL, and a tuple for IN and NOT IN.
    """

    entity: str
    key: str
    operator: str
    value: Value

    def __str__(self) -> str:
        left = f"{self.entity}.{_quoted(self.key, '`')}"
        if self.value is None:
            return f"{left} {self.operator}"
        return f"{left} {self.operator} {_literal(self.value)}"


@dataclass(frozen=True, slots=True)
class Combined:
    """AND: all terms are true. OR: one of them is. NOT: its only term is not true.

    A condition on a missing value is not true, so its NOT is true.
    """

    word: Literal["AND", "OR", "NOT"]
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        if self.word == "NOT":
            return f"NOT ({self.terms[0]})"
        return "(" + f" {self.word} ".join(map(str, self.terms)) + ")"


Term = Condition | Combined


def conditions_of(terms: Iterable[Term]) -> Iterator[Condition]:
    """The conditions in all terms, in the order of the text."""
    for term in terms:
        if isinstance(term, Condition):
            yield term
        else:
            yield from conditions_of(term.terms)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One item of an order_by, with aliases resolved."""

    entity: str
    key: str
    ascending: bool

    def __str__(self) -> str:
        direction = "ASC" if self.ascending else "DESC"
        return f"{self.entity}.{_quoted(self.key, '`')} {direction}"


def compares(parse: Callable[[str | None], tuple[Term, ...]], text: str | None, key: str) -> bool:
    """Whether a filter has a condition on an attribute; True if it cannot be parsed."""
    if not text:
        return False
    try:
        terms = parse(text)
    except ApiError:
        return True
    return any(
        found.key == key and found.entity in ("attribute", "attributes")
        for found in conditions_of(terms)
    )


def print_filter(terms: tuple[Term, ...]) -> str:
    """Text that parses to the same terms, if the language can express their values."""
    return " AND ".join(map(str, terms))


def _literal(value: str | int | float | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(repr, value)) + ")"
    if isinstance(value, str):
        return _quoted(value, '"' if "'" in value else "'")
    return repr(value).replace("e+", "e")  # the language allows no sign before a positive exponent


def _quoted(text: str, quote: str) -> str:
    return f"{quote}{text}{quote}"
