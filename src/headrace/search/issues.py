"""The filter of issues/search, and the statement that answers a page of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.contract.errors import invalid
from headrace.search import parser
from headrace.search.compile import Page, Parameters
from headrace.search.lexer import Kind
from headrace.search.pages import offset_of
from headrace.search.tree import Condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Dialect
    from headrace.search.lexer import Node

_FIELDS: Final = ("status", "source_run_id")
_OPERATORS: Final = ("=", "!=")
RUN: Final = "source_run_id"


def issues_page(
    *,
    experiment_id: int | None,
    filter: str | None,
    severities: Sequence[str],
    by_traces: bool,
    max_results: int,
    page_token: str | None,
    dialect: Dialect,
) -> Page:
    """The ids of a page of issues, as one statement. `severities` begins with the lowest.

    Without an experiment, the issues of all. Raises INVALID_PARAMETER_VALUE for the page token and
    the filter, in this order.
    """
    offset = offset_of(page_token)
    conditions = parse_filter(filter)
    parameters = Parameters(dialect)
    where = (
        [f"i.experiment_id = {parameters.add(experiment_id)}"] if experiment_id is not None else []
    )
    where += [parameters.compares(f"i.{one.key}", one.operator, one.value) for one in conditions]
    ranks = " ".join(f"WHEN '{name}' THEN {rank}" for rank, name in enumerate(severities))
    order = [f"CASE i.severity {ranks} ELSE -1 END DESC"]
    if by_traces:
        order.append(
            "(SELECT count(DISTINCT a.trace_id) FROM assessments a"
            " WHERE a.name = i.issue_id AND a.assessment_type = 'issue') DESC"
        )
    order += ["i.created_timestamp DESC", "i.issue_id DESC"]
    text = (
        f"SELECT i.issue_id FROM issues i WHERE {' AND '.join(where or ['1 = 1'])}"
        f" ORDER BY {', '.join(order)}"
    )
    return parameters.page(text, offset, max_results)


def parse_filter(text: str | None) -> tuple[Condition, ...]:
    """The conditions of a filter."""
    return _parse_filter(text) if text else ()


@parser.remembered
def _parse_filter(text: str) -> tuple[Condition, ...]:
    nodes = parser.clauses(parser.joined(parser.one_statement(text)), quote="")
    return tuple(map(_condition, nodes))


def _condition(comparison: Node) -> Condition:
    left, operator, right = parser.operands(comparison)
    key = parser.stripped(left.text, "'\"").strip()
    if key not in _FIELDS:
        raise invalid(
            f"Invalid filter field '{key}'. Supported fields: {parser.spelt_set(_FIELDS)}"
        )
    word = operator.text.upper()
    if word not in _OPERATORS or right is None:
        raise invalid(
            f"Invalid comparator '{word}'. Supported comparators: {parser.spelt_set(_OPERATORS)}"
        )
    if right.kind is Kind.PARENTHESIS:
        raise invalid(f"Invalid value for '{key}': it must be a quoted string.")
    return Condition("attribute", key, word, parser.stripped(right.text, "'\"").strip())
