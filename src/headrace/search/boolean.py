"""OR, NOT and parentheses between the comparisons of a filter, which MLflow rejects.

A filter that MLflow accepts is read by MLflow's grammar alone, so it keeps its meaning. Only a
filter that it rejects is divided into comparisons here, each of which is read by that grammar:

    filter  = all {OR all}
    all     = one {AND one}
    one     = NOT one | ( filter ) | comparison
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from headrace.contract.errors import ApiError, invalid
from headrace.contract.limits import MAX_FILTER_COMPARISONS, MAX_FILTER_DEPTH
from headrace.search.lexer import Kind, Node, TooLong, tokens
from headrace.search.parser import shortened
from headrace.search.tree import Combined, Condition, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Plain = Callable[[str], tuple[Condition, ...]]

_OPERATORS: Final = ("AND", "OR", "NOT")


class _Malformed(Exception):
    """The text is not a filter of this grammar either."""


def terms(text: str, plain: Plain) -> tuple[Term, ...]:
    """The terms of a filter, all of which must be true. `plain` is MLflow's grammar.

    Errors: those of `plain`, for a filter without OR, NOT and parentheses, or for the first
    comparison that is wrong; too many comparisons or parentheses.
    """
    try:
        return plain(text)
    except ApiError:
        try:
            items = _items(text)
            if all(item == "AND" or isinstance(item, _Comparison) for item in items):
                raise _Malformed
            term = _Reader(items, plain).whole()
        except (_Malformed, TooLong):
            pass
        else:
            return term.terms if isinstance(term, Combined) and term.word == "AND" else (term,)
        raise


class _Comparison(str):
    """The text of a comparison."""

    __slots__ = ()


def _items(text: str) -> list[str]:
    """The comparisons, operators and parentheses of a filter, in their order."""
    found: list[str] = []
    nodes = tokens(text)
    start = end = -1  # of the comparison that has begun, without comments around it
    depth = 0  # of its own parentheses, around a list
    for position, node in enumerate(nodes):
        word = _word(node, nodes[position + 1] if position + 1 < len(nodes) else None)
        if start >= 0 and (depth or word not in ("AND", "OR", ")")):
            depth += (word == "(") - (word == ")")
        elif start >= 0:
            found += [_Comparison(text[start:end]), word]
            start = -1
        elif word:
            found.append(word)
        elif node.kind is not Kind.COMMENT:
            start = node.start
        end = end if node.kind is Kind.COMMENT else node.end
    if start >= 0:
        found.append(_Comparison(text[start:end]))
    return found


def _word(node: Node, following: Node | None) -> str:
    """The operator or the parenthesis that the token is, or an empty text."""
    text = node.text.upper()
    if node.kind is Kind.PUNCTUATION:
        return text if text in ("(", ")") else ""
    if text not in _OPERATORS:
        return ""
    if (
        node.kind is Kind.NAME
    ):  # the lexer's rule for any word before a parenthesis, as in NOT(a = 1)
        opens = following is not None and following.start == node.end
        is_key = node.source[: node.start].endswith(".")
        return text if opens and not is_key else ""
    return text if node.kind is Kind.KEYWORD else ""


class _Reader:
    """Reads the items of a filter, from the first to the last."""

    def __init__(self, items: Sequence[str], plain: Plain) -> None:
        comparisons = sum(isinstance(item, _Comparison) for item in items)
        if comparisons > MAX_FILTER_COMPARISONS:
            raise invalid(
                f"A filter can contain at most {MAX_FILTER_COMPARISONS} comparisons. "
                f"Got {comparisons}."
            )
        self._items = items
        self._plain = plain
        self._at = 0
        self._depth = 0

    def whole(self) -> Term:
        """The term of all items."""
        term = self._any()
        if self._at < len(self._items):
            raise _Malformed
        return term

    def _next(self) -> str:
        return self._items[self._at] if self._at < len(self._items) else ""

    def _any(self) -> Term:
        return self._joined("OR", self._all)

    def _all(self) -> Term:
        return self._joined("AND", self._one)

    def _joined(self, word: Literal["AND", "OR"], read: Callable[[], Term]) -> Term:
        found = [read()]
        while self._next() == word:
            self._at += 1
            found.append(read())
        return found[0] if len(found) == 1 else Combined(word, tuple(found))

    def _one(self) -> Term:
        item = self._next()
        self._at += 1
        if isinstance(item, _Comparison):
            return self._comparison(item)
        if item not in ("NOT", "("):
            raise _Malformed
        self._depth += 1
        if self._depth > MAX_FILTER_DEPTH:
            raise invalid(
                f"NOT and parentheses in a filter can be nested at most {MAX_FILTER_DEPTH} times."
            )
        if item == "NOT":
            term: Term = Combined("NOT", (self._one(),))
        else:
            term = self._any()
            if self._next() != ")":
                raise _Malformed
            self._at += 1
        self._depth -= 1
        return term

    def _comparison(self, text: str) -> Condition:
        found = self._plain(text)
        if len(found) != 1:
            raise invalid(
                f"Invalid filter string: expected AND or OR between the comparisons of {shortened(text)}"
            )
        return found[0]
