"""Parsed filters and order_by: conditions, all of which must be true, and sort keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.contract.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

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
class SortKey:
    """One item of an order_by, with aliases resolved."""

    entity: str
    key: str
    ascending: bool

    def __str__(self) -> str:
        direction = "ASC" if self.ascending else "DESC"
        return f"{self.entity}.{_quoted(self.key, '`')} {direction}"


def compares(
    parse: Callable[[str | None], tuple[Condition, ...]], text: str | None, key: str
) -> bool:
    """Whether a filter has a condition on an attribute; True if it cannot be parsed."""
    if not text:
        return False
    try:
        conditions = parse(text)
    except ApiError:
        return True
    return any(
        found.key == key and found.entity in ("attribute", "attributes") for found in conditions
    )


def print_filter(conditions: tuple[Condition, ...]) -> str:
    """Text that parses to the same conditions, if the language can express their values."""
    return " AND ".join(map(str, conditions))


def _literal(value: str | int | float | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(repr, value)) + ")"
    if isinstance(value, str):
        return _quoted(value, '"' if "'" in value else "'")
    return repr(value).replace("e+", "e")  # the language allows no sign before a positive exponent


def _quoted(text: str, quote: str) -> str:
    return f"{quote}{text}{quote}"
