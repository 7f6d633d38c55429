"""The filter and order_by of datasets/search, and the statement that answers a page of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.contract.errors import invalid
from headrace.search import parser
from headrace.search.compile import Page, Parameters
from headrace.search.pages import offset_of
from headrace.search.tree import Condition, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.db.base import Dialect
    from headrace.search.lexer import Node

_NUMERIC: Final = ("created_time", "last_update_time")
_SEARCHABLE: Final = ("name", *_NUMERIC, "created_by", "last_updated_by")
_SORTABLE: Final = ("name", *_NUMERIC)
_NUMBER_OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=")
_TEXT_OPERATORS: Final = ("=", "!=", "LIKE", "ILIKE")
_ATTRIBUTE_OPERATORS: Final = (*_TEXT_OPERATORS, *_NUMBER_OPERATORS, "RLIKE")


def datasets_page(
    *,
    experiment_ids: Sequence[str],
    filter: str | None,
    order_by: Sequence[str],
    max_results: int,
    page_token: str | None,
    dialect: Dialect,
    columns: Sequence[str],
) -> Page:
    """The page of evaluation datasets that a search requests, as one statement.

    Without `experiment_ids`, those of all experiments and of none. Errors, in MLflow's order: the
    page token, the filter, the order_by; INVALID_PARAMETER_VALUE.
    """
    offset = offset_of(page_token)
    conditions = parse_filter(filter)
    for condition in conditions:
        _check_operator(condition)
    order = _order(order_by)
    parameters = Parameters(dialect)
    where = ["d.workspace = {workspace}"]
    if experiment_ids:
        where.append(
            parameters.exists(
                "entity_associations e WHERE e.source_id = d.dataset_id"
                " AND e.source_type = 'evaluation_dataset' AND e.destination_type = 'experiment'"
                f" AND {parameters.is_in('e.destination_id', experiment_ids)}"
            )
        )
    where += _conditions(conditions, parameters)
    text = (
        f"SELECT {', '.join(f'd.{column}' for column in columns)} FROM evaluation_datasets d"
        f" WHERE {' AND '.join(where)} ORDER BY {order}"
    )
    return parameters.page(text, offset, max_results)


def _identifier(text: str, attributes: Sequence[str]) -> tuple[str, str]:
    prefix, dot, key = text.partition(".")
    if dot:
        if prefix != "tags":
            raise invalid(f"Invalid identifier token '{prefix}' specified")
        return "tag", key
    if text not in attributes:
        valid = parser.spelt_set(attributes)
        raise invalid(f"Invalid attribute key '{text}' specified. Valid keys are: {valid}")
    return "attribute", text


def _parse_condition(comparison: Node) -> Condition:
    left, operator, right = parser.operands(comparison)
    entity, key = _identifier(left.text, _SEARCHABLE)
    value: Value = None
    if right is None:
        if entity != "tag":
            raise invalid(
                "IS NULL / IS NOT NULL is only supported for tags and params, "
                f"not for '{entity}' '{key}'"
            )
    elif entity == "tag":
        value = parser.quoted_value(right, entity)
    else:
        value = parser.attribute_value(key, right, numeric=_NUMERIC, listed=("name",))
    operator_text = operator.text.upper()
    if isinstance(value, tuple) and operator_text != "IN":
        raise invalid("List values for 'name' are only supported with the IN comparator.")
    return Condition(entity, key, operator_text, value)


parse_filter: Final = parser.filter_of(_parse_condition)  # operators are checked by `datasets_page`


def _check_operator(condition: Condition) -> None:
    key, operator, value = condition.key, condition.operator, condition.value
    if condition.entity == "tag":
        if operator not in _TEXT_OPERATORS:
            raise invalid(f"Invalid comparator for tag: {operator}")
    elif key in _NUMERIC:
        if operator not in _NUMBER_OPERATORS:
            raise invalid(f"Invalid comparator for numeric attribute: {operator}")
        if isinstance(value, float):
            raise invalid(f"Invalid value for numeric attribute '{key}': {str(value)!r}")
    elif operator not in _ATTRIBUTE_OPERATORS and not isinstance(value, tuple):
        raise invalid(f"Invalid comparator for string attribute: {operator}")


def _conditions(conditions: Iterable[Condition], parameters: Parameters) -> list[str]:
    where = []
    for one in conditions:
        if one.entity == "tag":
            key = parameters.add(one.key)
            test = parameters.compares("x.value", one.operator, one.value)
            where.append(
                parameters.exists(
                    "evaluation_dataset_tags x WHERE x.dataset_id = d.dataset_id"
                    f" AND x.key = {key} AND {test}"
                )
            )
        elif isinstance(one.value, int | float):
            where.append(parameters.compares_integer(f"d.{one.key}", one.operator, one.value))
        elif one.operator == "RLIKE":
            where.append(parameters.matches(f"d.{one.key}", str(one.value)))
        else:
            where.append(parameters.compares(f"d.{one.key}", one.operator, one.value))
    return where


def _order(order_by: Sequence[str]) -> str:
    parser.check_sort_fields(len(order_by))
    order = []
    for text in order_by or ("created_time DESC",):
        field, ascending = parser.sort_field(text)
        entity, key = _identifier(field, _SORTABLE)
        if entity != "attribute":
            raise invalid(f"Invalid order_by entity: {entity}")
        order.append(f"d.{key}{'' if ascending else ' DESC'}")
    return ", ".join([*order, "d.dataset_id DESC"])
