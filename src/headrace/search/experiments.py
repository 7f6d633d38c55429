"""The filter and order_by of experiments/search, and the statement that answers a page of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from headrace.contract.errors import invalid
from headrace.search import boolean, parser
from headrace.search.compile import Page, Parameters, storable, term_sql
from headrace.search.pages import offset_of
from headrace.search.tree import Condition, SortKey, Term, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.auth.access import Scope
    from headrace.db.base import Dialect
    from headrace.search.lexer import Node

EXPERIMENT_COLUMNS: Final = (
    "experiment_id",
    "name",
    "artifact_location",
    "lifecycle_stage",
    "creation_time",
    "last_update_time",
)
_PREFIXES: Final = ("attribute", "attributes", "tag", "tags")
_ATTRIBUTES: Final = ("name", "experiment_id", "creation_time", "last_update_time")
_NUMERIC: Final = ("creation_time", "last_update_time")
_TEXT_OPERATORS: Final = ("!=", "=", "LIKE", "ILIKE")
_NUMBER_OPERATORS: Final = ("!=", "<", "<=", "=", ">", ">=")
_OPERATORS_NAMED: Final = parser.spelt_set(("!=", "=", "ILIKE", "IN", "LIKE", "NOT IN"))
_DEFAULT_ORDER: Final = (
    SortKey("attribute", "creation_time", False),
    SortKey("attribute", "experiment_id", True),
)


def experiments_page(
    *,
    filter: str | None,
    order_by: Sequence[str],
    stages: Sequence[str],
    max_results: int,
    page_token: str | None,
    dialect: Dialect,
    columns: Sequence[str] = EXPERIMENT_COLUMNS,
    readable: Scope | None = None,
) -> Page:
    """The page of experiments that a search requests, as one statement that returns `columns`.

    `stages` are lifecycle stages ("active", "deleted"); `readable` has the experiments that the
    caller may read (None: all). Errors: INVALID_PARAMETER_VALUE, in
    MLflow's order: the filter's form, its operators, the order_by, the page token.
    """
    terms = parse_filter(filter)
    parameters = Parameters(dialect)
    condition_sql = partial(_condition, parameters=parameters)
    where = [term_sql(term, condition_sql) for term in terms]
    where.append(parameters.is_in("e.lifecycle_stage", stages))
    if readable is not None:
        where.append(parameters.readable("e.experiment_id", readable, array="bigint"))
    keys = parse_order_by(order_by)
    offset = offset_of(page_token)
    order = ", ".join(f"e.{key.key}{'' if key.ascending else ' DESC'}" for key in keys)
    text = (
        f"SELECT {', '.join(f'e.{column}' for column in columns)} FROM experiments e"
        f" WHERE {{in workspace e}}{' AND '.join(where)} ORDER BY {order}"
    )
    return parameters.page(text, offset, max_results)


def parse_filter(text: str | None) -> tuple[Term, ...]:
    """The terms of an experiments filter; operators are checked when they are compiled."""
    return _parse_filter(text) if text else ()


@parser.remembered
def _parse_filter(text: str) -> tuple[Term, ...]:
    return boolean.terms(text, _parse_plain)


def _parse_plain(text: str) -> tuple[Condition, ...]:
    nodes = parser.clauses(parser.joined(parser.one_statement(text)), quote="")
    return tuple(map(_parse_condition, nodes))


def parse_order_by(order_by: Sequence[str]) -> tuple[SortKey, ...]:
    """The sort keys of an experiments order_by, and the tie-breaker. A field may stand twice."""
    parser.check_sort_fields(len(order_by))
    keys: list[SortKey] = []
    for text in order_by:
        field, ascending = parser.sort_field(text)
        entity, key = _identifier(field)
        if entity != "attribute":
            raise invalid(f"Invalid order_by entity: {entity}")
        if all(key != known.key for known in keys):  # only the first one has an effect
            keys.append(SortKey(entity, key, ascending))
    if not keys:
        return _DEFAULT_ORDER
    if all(key.key != "experiment_id" for key in keys):
        keys.append(SortKey("attribute", "experiment_id", False))
    return tuple(keys)


def _identifier(text: str) -> tuple[str, str]:
    entity, quoted_key = parser.attribute_or_tag(text, _PREFIXES)
    key = parser.bare(quoted_key)
    if entity == "attribute" and key not in _ATTRIBUTES:
        valid = parser.spelt_set(_ATTRIBUTES)
        raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{valid}'")
    return entity, key


def _parse_condition(comparison: Node) -> Condition:
    left, operator, right = parser.operands(comparison)
    entity, key = _identifier(left.text)
    if right is None:
        if entity != "tag":
            raise invalid(
                f"IS NULL / IS NOT NULL is only supported for tags, not for attribute '{key}'"
            )
        return Condition(entity, key, operator.text.upper(), None)
    if entity == "tag":
        value: Value = parser.quoted_value(right, "tag")
    else:
        value = parser.attribute_value(key, right, numeric=_NUMERIC, listed=("experiment_id",))
    return Condition(entity, key, operator.text.upper(), value)  # any case, as in MLflow 3.18


def _condition(condition: Condition, parameters: Parameters) -> str:
    key, operator, value = condition.key, condition.operator, condition.value
    if condition.entity == "tag":
        return _tag_condition(key, operator, value, parameters)
    if key == "experiment_id":
        return _id_condition(operator, value, parameters)
    if key in _NUMERIC:
        return _time_condition(key, operator, value, parameters)
    if operator not in _TEXT_OPERATORS:
        raise invalid(f"Invalid comparator '{operator}' not one of '{_OPERATORS_NAMED}'")
    return parameters.compares(f"e.{key}", operator, value)


def _tag_condition(key: str, operator: str, value: Value, parameters: Parameters) -> str:
    if value is not None and operator not in _TEXT_OPERATORS:
        raise invalid(f"Invalid comparator for tag: {operator}")
    same = f"t.experiment_id = e.experiment_id AND t.key = {parameters.add(key)}"
    if value is None:
        exists = parameters.exists(f"experiment_tags t WHERE {same}")
        return f"NOT {exists}" if operator == "IS NULL" else exists
    test = parameters.compares("t.value", operator, value)
    return parameters.exists(f"experiment_tags t WHERE {same} AND {test}")


def _id_condition(operator: str, value: Value, parameters: Parameters) -> str:
    if operator not in ("=", "!=", "IN", "NOT IN"):
        raise invalid(f"Invalid comparator for experiment_id: {operator}")
    listed = isinstance(value, tuple)
    ids = [parser.experiment_id(text) for text in (value if isinstance(value, tuple) else (value,))]
    if listed != (operator in ("IN", "NOT IN")):
        raise parser.unexpected_list(operator)
    negate = operator in ("!=", "NOT IN")
    return parameters.is_in("e.experiment_id", storable(ids), array="bigint", negate=negate)


def _time_condition(key: str, operator: str, value: Value, parameters: Parameters) -> str:
    if operator not in _NUMBER_OPERATORS:
        # MLflow's message lists the operators of strings here, without the closing quote.
        raise invalid(f"Invalid comparator '{operator}' not one of '{_OPERATORS_NAMED}")
    if not isinstance(value, int):
        raise invalid(f"Invalid value for numeric attribute '{key}': '{value}'")
    return parameters.compares_integer(f"e.{key}", operator, value)
