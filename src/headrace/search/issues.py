"""The filter of issues/search, and the statement that answers a page of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.contract.errors import invalid
from headrace.contract.limits import MAX_ISSUES_TOKEN
from headrace.search import parser
from headrace.search.compile import Page, Parameters
from headrace.search.lexer import Kind
from headrace.search.pages import MAX_OFFSET, page_token
from headrace.search.tree import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.db.base import Dialect
    from headrace.search.lexer import Node

_FIELDS: Final = ("status", "source_run_id")
_OPERATORS: Final = ("=", "!=")
RUN: Final = "source_run_id"
WRONG_TOKEN: Final = "Invalid issue page token"


class Criteria(NamedTuple):
    """The issues that a search wants; all but the first two fields are of MLflow 3.18."""

    experiment_id: int | None = None  # None: of all experiments
    filter: str | None = None
    name: str | None = None  # a part of it, in any case
    statuses: Sequence[str] = ()
    severities: Sequence[str] = ()
    category_hashes: Sequence[str] = ()
    order_by: Sequence[str] = ()


class Start(NamedTuple):
    """Where a page begins: after a number of issues, or after the sort values of an issue."""

    offset: int = 0
    after: Sequence[str | int] | None = None


_IN_WORKSPACE: Final = "{of workspace}"


def issues_page(
    criteria: Criteria,
    start: Start,
    *,
    severities: Sequence[str],
    by_traces: bool,
    max_results: int,
    dialect: Dialect,
    token: Callable[[int], str] = page_token,
) -> Page:
    """A page of issues, as one statement: the id of each, then its sort values for `order_by`.

    `severities` begins with the lowest. Raises INVALID_PARAMETER_VALUE for the filter, the order
    and a start that does not fit it.
    """
    parameters = Parameters(dialect)
    where = _conditions(criteria, parameters)
    ranks = " ".join(f"WHEN '{name}' THEN {rank}" for rank, name in enumerate(severities))
    by_severity = f"CASE i.severity {ranks} ELSE -1 END"
    order = [f"{by_severity} DESC"]
    if by_traces:
        order.append(
            "(SELECT count(DISTINCT a.trace_id) FROM assessments a"
            " WHERE a.name = i.issue_id AND a.assessment_type = 'issue') DESC"
        )
    order += ["i.created_timestamp DESC", "i.issue_id DESC"]
    columns = ""
    if criteria.order_by:
        keys = [*_sort_keys(criteria.order_by, by_severity), SortKey("i.issue_id", str, True)]
        order = [f"{key.column} {'DESC' if key.descending else 'ASC'}" for key in keys]
        columns = "".join(f", {key.column}" for key in keys)
        if start.after is not None:
            where.append(_after(keys, start.after, parameters))
    elif start.after is not None:
        raise invalid(WRONG_TOKEN)
    text = (
        f"SELECT i.issue_id{columns} FROM issues i WHERE {_IN_WORKSPACE}{' AND '.join(where)}"
        f" ORDER BY {', '.join(order)}"
    )
    return parameters.page(text, start.offset, max_results, token)


def issues_count(criteria: Criteria, dialect: Dialect) -> tuple[str, tuple[Any, ...]]:
    """The statement that counts the issues of a search, with its arguments."""
    parameters = Parameters(dialect)
    where = _conditions(criteria, parameters)
    text = f"SELECT count(*) FROM issues i WHERE {_IN_WORKSPACE}{' AND '.join(where)}"
    return text, tuple(parameters.values)


def _conditions(criteria: Criteria, parameters: Parameters) -> list[str]:
    where = []
    if criteria.experiment_id is not None:
        where.append(f"i.experiment_id = {parameters.add(criteria.experiment_id)}")
    where += [
        parameters.compares(f"i.{one.key}", one.operator, one.value)
        for one in parse_filter(criteria.filter)
    ]
    if criteria.name is not None:
        part = re.sub(r"([\\%_])", r"\\\1", criteria.name)
        where.append(f"{parameters.compares('i.name', 'ILIKE', f'%{part}%')} ESCAPE '\\'")
    if criteria.statuses:
        where.append(parameters.is_in("i.status", criteria.statuses))
    if criteria.severities:
        where.append(parameters.is_in("i.severity", criteria.severities))
    if criteria.category_hashes:
        hashes = parameters.is_in("c.category_hash", criteria.category_hashes)
        where.append(
            parameters.exists(f"issue_categories c WHERE c.issue_id = i.issue_id AND {hashes}")
        )
    return where or ["1 = 1"]


class SortKey(NamedTuple):
    """A column to sort by; `kind` is the type of its values in a page token."""

    column: str
    kind: type
    descending: bool


def _sort_keys(order_by: Sequence[str], by_severity: str) -> list[SortKey]:
    columns = {
        "name": "lower(i.name)",
        "status": (
            "CASE i.status WHEN 'pending' THEN 0 WHEN 'rejected' THEN 1 WHEN 'resolved' THEN 2"
            " ELSE 3 END"
        ),
        "severity": by_severity,
        "created_timestamp": "i.created_timestamp",
        "last_updated_timestamp": "i.last_updated_timestamp",
        "last_seen_timestamp": "coalesce(i.last_seen_timestamp, i.created_timestamp)",
    }
    keys = []
    for order in order_by:
        name, *direction = order.split() or [""]
        word = direction[0].upper() if direction else "ASC"
        if name not in columns or len(direction) > 1 or word not in ("ASC", "DESC"):
            raise invalid(f"Invalid issue order_by: {order!r}")
        keys.append(SortKey(columns[name], str if name == "name" else int, word == "DESC"))
    return keys


def _after(keys: Sequence[SortKey], values: Sequence[str | int], parameters: Parameters) -> str:
    """The condition that an issue comes after the one with these sort values."""
    if [type(value) for value in values] != [key.kind for key in keys]:
        raise invalid(WRONG_TOKEN)
    cast = "::bigint" if parameters.dialect == "postgres" else ""
    equal: list[str] = []
    later = []
    for key, value in zip(keys, values, strict=True):
        placeholder = parameters.add(value) + (cast if key.kind is int else "")
        word = "<" if key.descending else ">"
        later.append(f"({' AND '.join([*equal, f'{key.column} {word} {placeholder}'])})")
        equal.append(f"{key.column} = {placeholder}")
    return f"({' OR '.join(later)})"


def fingerprint(**query: Any) -> str:
    """The hash that binds a page token to its search, as in MLflow 3.18."""
    return hashlib.sha256(json.dumps(query, sort_keys=True).encode()).hexdigest()


def start_of(token: str | None, query: str, *, allow_plain: bool) -> Start:
    """The start that a page token of MLflow 3.18 names; `query` is the fingerprint of the search.

    `allow_plain`: also a token of 3.17, which belongs to any search. Raises INVALID_PARAMETER_VALUE.
    """
    if not token:
        return Start()
    try:
        if len(token) > MAX_ISSUES_TOKEN:
            raise ValueError
        data = json.loads(base64.b64decode(token, validate=True))
        if not isinstance(data, dict) or (
            data.get("query") != query and not (allow_plain and "query" not in data)
        ):
            raise ValueError
        return _start(data, query)
    except (ValueError, RecursionError) as error:
        raise invalid("Invalid page token or token does not match the issue query") from error


def _start(data: dict[str, Any], query: str) -> Start:
    """Raise ValueError for data that no token has."""
    if "version" in data:
        values = data.get("after")
        if data["version"] != 2 or data.get("query") != query or not isinstance(values, list):
            raise ValueError
        if not 2 <= len(values) <= 101 or not all(map(_is_value, values)):
            raise ValueError
        return Start(after=values)
    offset = data.get("offset")
    if type(offset) is not int or not 0 <= offset <= MAX_OFFSET:
        raise ValueError
    return Start(offset)


def _is_value(value: Any) -> bool:
    if type(value) is int:
        return -MAX_OFFSET - 1 <= value <= MAX_OFFSET
    return isinstance(value, str) and len(value) <= 250 and "\0" not in value


def token_of(query: str, offset: int) -> str:
    """The token of the page after `offset` issues."""
    return base64.b64encode(json.dumps({"offset": offset, "query": query}).encode()).decode()


def token_after(query: str, values: Sequence[str | int]) -> str:
    """The token of the page after the issue with these sort values."""
    data = {"version": 2, "after": list(values), "query": query}
    return base64.b64encode(json.dumps(data).encode()).decode()


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


parse_filter: Final = parser.filter_of(_condition)
