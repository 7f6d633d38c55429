"""The filter and order_by of traces/search: their text and its meaning, without SQL.

Short keys (`name`, `run_id`, `prompt`, `text` …) stand for tags, metadata and spans, as in MLflow
also with a prefix: `tags.name` is the name of the trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.contract.errors import ApiError, invalid
from headrace.search import parser
from headrace.search.lexer import Kind, Node
from headrace.search.tree import Condition, SortKey, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.search.grouping import Nodes

NAME: Final = "mlflow.traceName"  # tag
PROMPTS: Final = "mlflow.linkedPrompts"  # tag
RUN: Final = "mlflow.sourceRun"  # metadata
SESSION: Final = "mlflow.trace.session"  # metadata
COLUMNS_OF: Final = {  # metadata that consist of several columns, and the items of their JSON
    "mlflow.trace.tokenUsage": (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation_input_tokens_above_1hr",
    ),
    "mlflow.trace.cost": ("input_cost", "output_cost", "total_cost"),
}
ASSESSMENTS: Final = ("feedback", "expectation")
_ALIASES: Final = {
    "tag": "tag",
    "tags": "tag",
    "attribute": "attribute",
    "attributes": "attribute",
    "trace": "attribute",
    "request_metadata": "request_metadata",
    "metadata": "request_metadata",
    "span": "span",
    "feedback": "feedback",
    "expectation": "expectation",
    "issue": "issue",
}
_SHORT_KEYS: Final = {
    "name": ("tag", NAME),
    "prompt": ("tag", PROMPTS),
    "run_id": ("request_metadata", RUN),
    "text": ("span", "content"),
}
_LONG_NAMES: Final = {
    "timestamp": "timestamp_ms",
    "execution_time": "execution_time_ms",
    "end_time": "end_time_ms",
}
NUMERIC: Final = frozenset((*_LONG_NAMES, *_LONG_NAMES.values()))
_SEARCHABLE: Final = frozenset(
    (*NUMERIC, *_SHORT_KEYS, "request_id", "status", "client_request_id")
)
_SORTABLE: Final = frozenset((*NUMERIC, "experiment_id", "status", "request_id", "name", "run_id"))
_LISTED: Final = ("name", "status", "request_id", "run_id", "client_request_id")
_SPAN_COLUMNS: Final = ("name", "status", "type")

NUMBER_OPERATORS: Final = ("!=", "<", "<=", "=", ">", ">=")
ORDERS: Final = ("<", "<=", ">", ">=")
_TEXT_OPERATORS: Final = ("!=", "=", "IN", "NOT IN", "LIKE", "ILIKE", "RLIKE")
_ROW_OPERATORS: Final = ("!=", "=", "LIKE", "ILIKE", "RLIKE", "IS NULL", "IS NOT NULL")
_CONTENT_OPERATORS: Final = ("LIKE", "ILIKE")
_VALUE_OPERATORS: Final = (*_ROW_OPERATORS, *ORDERS)


def parse_filter(text: str | None) -> tuple[Condition, ...]:
    """The conditions of a filter. Their operators are checked later, by `check_operators`."""
    return _parse_filter(text) if text else ()


@parser.remembered
def _parse_filter(text: str) -> tuple[Condition, ...]:
    nodes = parser.clauses(joined(parser.one_statement(text)))
    return tuple(map(_parse_condition, nodes))


def joined(nodes: Nodes) -> Nodes:
    """As `parser.joined`; also joins `timestamp > 0`, whose first word is the name of a type."""
    done: Nodes = []
    rest: Nodes = []
    position = 0
    while position < len(nodes):
        node = nodes[position]
        is_timestamp = node.kind is Kind.TYPE_NAME and node.text == "timestamp"
        if not is_timestamp or len(nodes) - position < 3:
            rest.append(node)
            position += 1
            continue
        some = nodes[position : position + 3]
        done += parser.joined(rest)
        rest = []
        if some[1].text in NUMBER_OPERATORS and some[2].kind is Kind.INTEGER:
            done.append(Node(Kind.COMPARISON, node.source, node.start, some[2].end, tuple(some)))
        else:
            done += [*some, node]  # the message names it twice, as MLflow's does
        position += 3
    return done + parser.joined(rest)


def identifier(text: str, attributes: frozenset[str]) -> tuple[str, str]:
    """Entity and key of `[entity.]key`, before short keys are replaced."""
    prefix, dot, rest = text.partition(".")
    entity = "attribute"
    if dot:
        prefix = parser.stripped(prefix, "`")
        if prefix not in _ALIASES:
            valid = parser.spelt_set(_ALIASES)
            raise invalid(f"Invalid entity type '{prefix}'. Valid values are {valid}")
        entity = _ALIASES[prefix]
    key = parser.bare(rest if dot else text)
    if entity == "attribute" and key not in attributes:
        valid = parser.spelt_set(attributes)
        raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{valid}'")
    return entity, key


def replaced(entity: str, key: str) -> tuple[str, str]:
    """Entity and key with short keys replaced."""
    if entity == "span":
        return entity, key
    short = key.lower()
    if short in _SHORT_KEYS:
        return _SHORT_KEYS[short]
    return entity, _LONG_NAMES.get(short, key)


def _parse_condition(comparison: Node) -> Condition:
    parts = comparison.parts
    if len(parts) == 3 and parts[0].kind is Kind.TYPE_NAME:
        left, operator, right = parts[0], parts[1], parts[2]
    else:
        left, operator, found = parser.operands(comparison)
        if found is None:
            entity, key = replaced(*identifier(left.text, _SEARCHABLE))
            return Condition(entity, key, operator.text.upper(), None)
        right = found
    entity, key = identifier(left.text, _SEARCHABLE)
    if entity in ASSESSMENTS:
        _check_assessment_value(entity, operator.text, right)
    value = _value(entity, key, right)
    if entity == "span":
        _check_span(key, operator.text)
    entity, key = replaced(entity, key)
    return Condition(entity, key, operator.text.upper(), value)


def _check_assessment_value(entity: str, operator: str, value: Node) -> None:
    is_number = operator in ORDERS
    if value.kind in (parser.NUMBERS if is_number else parser.STRINGS):
        return
    if is_number:
        raise invalid(
            f"Expected a numeric value for {entity} when using comparator '{operator}'. "
            f"Got value {value.text}"
        )
    raise invalid(
        f"Expected a quoted string value for {entity} (e.g. 'my-value'). Got value {value.text}"
    )


def _value(entity: str, key: str, node: Node) -> Value:
    if entity == "attribute":
        return _attribute_value(key, node)
    if entity in ASSESSMENTS and node.kind in parser.NUMBERS:
        return parser.number(node)
    if entity in ("tag", "span") and node.kind is Kind.PARENTHESIS:
        return parser.string_list(node)
    return parser.quoted_value(node, entity)


def _attribute_value(key: str, node: Node) -> Value:
    if node.kind in parser.STRINGS:
        return parser.unquoted(node)
    if node.kind is Kind.PARENTHESIS:
        if key not in _LISTED:
            raise invalid(
                f"Only attributes in {parser.spelt_set(_LISTED)} supports comparison with a list of "
                "quoted string values."
            )
        return parser.string_list(node)
    if node.kind in parser.NUMBERS:
        if key not in NUMERIC:
            raise invalid(
                f"Only the '{parser.spelt_set(NUMERIC)}' attributes support comparison with "
                "numeric values."
            )
        return parser.number(node)
    raise invalid(
        "Expected a quoted string value or a list of quoted string values for "
        f"attributes. Got value {node.text}"
    )


def check_operators(conditions: Iterable[Condition]) -> None:
    """Rejects a condition with an operator that its entity does not support."""
    for one in conditions:
        _check_operator(one)
        if isinstance(one.value, tuple) and one.operator not in ("IN", "NOT IN"):
            raise parser.unexpected_list(one.operator)


def _check_operator(condition: Condition) -> None:
    entity, key, operator = condition.entity, condition.key, condition.operator
    if entity == "issue":
        _check_issue(key, operator)
    elif entity == "attribute":
        is_number = key in NUMERIC
        if operator not in (NUMBER_OPERATORS if is_number else _TEXT_OPERATORS):
            raise _wrong_operator(operator, _TEXT_OPERATORS, "" if is_number else "'")
    elif entity == "tag":
        if operator not in _ROW_OPERATORS:
            raise _wrong_operator(operator, _ROW_OPERATORS, "")
        if key == PROMPTS:
            _check_prompt(condition)
    elif entity == "request_metadata":
        if operator not in _ROW_OPERATORS:
            raise _wrong_operator(operator, _ROW_OPERATORS, "'")
        _check_columns(key, operator)
    elif entity == "span":
        _check_span(key, operator)
    elif not key:
        raise invalid("Assessment field name cannot be empty")
    elif operator not in _VALUE_OPERATORS:
        raise invalid(
            f"assessment.{key} comparator '{operator}' not one of '{parser.spelt_set(_VALUE_OPERATORS)}'"
        )


def _wrong_operator(operator: str, allowed: Sequence[str], end: str) -> ApiError:
    return invalid(f"Invalid comparator '{operator}' not one of '{parser.spelt_set(allowed)}{end}")


def _check_columns(key: str, operator: str) -> None:
    if key in COLUMNS_OF and operator not in ("=", "!=", "IS NULL", "IS NOT NULL"):
        raise invalid(
            f"Comparator '{operator}' is not supported for reserved metadata '{key}'. "
            "Only '=', '!=', 'IS NULL', and 'IS NOT NULL' are supported."
        )


def _check_issue(key: str, operator: str) -> None:
    if key != "id":
        raise invalid(f"Invalid issue attribute '{key}'. Supported attributes: id")
    if operator != "=":
        raise invalid(f"issue.id comparator '{operator}' not one of '{parser.spelt_set('=')}'")


def _check_prompt(condition: Condition) -> None:
    if condition.operator != "=":
        raise invalid(
            f"Invalid comparator '{condition.operator}' for prompts filter. "
            "Only '=' is supported with format: prompt = \"name/version\""
        )
    if str(condition.value).count("/") != 1:
        raise invalid(
            f"Invalid prompts filter value '{condition.value}'. "
            'Expected format: prompt = "name/version"'
        )


def _check_span(key: str, operator: str) -> None:
    allowed: Sequence[str] = _TEXT_OPERATORS
    if key.startswith("attributes."):
        if key == "attributes.":
            raise invalid("Span attribute name cannot be empty after 'attributes.'")
    elif key == "content":
        allowed = _CONTENT_OPERATORS
    elif key not in _SPAN_COLUMNS:
        raise invalid(
            f"Invalid span attribute '{key}'. Supported attributes: {', '.join(_SPAN_COLUMNS)}, "
            "attributes.<attribute_name>."
        )
    if operator not in allowed:
        raise invalid(
            f"span.{key} comparator '{operator}' not one of '{parser.spelt_set(allowed)}'"
        )


def parse_order_by(order_by: Sequence[str]) -> tuple[SortKey, ...]:
    """The sort keys of an order_by. Errors: INTERNAL_ERROR when a field is named twice."""
    parser.check_sort_fields(len(order_by))
    keys: list[SortKey] = []
    for text in order_by:
        field, ascending = parser.sort_field(text)
        entity, key = replaced(*identifier(field, _SORTABLE))
        if entity == "request_metadata" and key in COLUMNS_OF:
            raise invalid(
                f"Ordering by reserved metadata '{key}' is not supported because it is "
                "represented by multiple columns."
            )
        if entity not in ("attribute", "tag", "request_metadata"):
            raise invalid(f"Invalid identifier type '{entity}'")
        if any((entity, key) == (known.entity, known.key) for known in keys):
            raise parser.duplicate_sort_fields(order_by)
        keys.append(SortKey(entity, key, ascending))
    return tuple(keys)
