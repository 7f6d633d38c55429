"""The common parts of all filter languages: clauses, quoting, values, and their messages.

The module of each resource (runs, …) defines its entities, keys and operators.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import (
    MAX_FILTER_COMPARISONS,
    MAX_LIST_VALUES,
    MAX_SORT_CHARACTERS,
    MAX_SORT_FIELDS,
)
from headrace.search.grouping import Nodes, statements
from headrace.search.lexer import PLAIN_LIST, Kind, Node, TooLong

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Sequence

    from headrace.search.tree import Condition, Value

T = TypeVar("T")
MAX_REMEMBERED: Final = 2_000  # characters of a text whose parse result is cached
MAX_DIGITS: Final = 300  # of an integer; Python's limit is 4,300
MAX_SHOWN: Final = 500  # characters of an overlong text in its message
NUMBERS: Final = frozenset((Kind.INTEGER, Kind.FLOAT))
STRINGS: Final = frozenset((Kind.STRING, Kind.IDENTIFIER))
_PREFIXES: Final = ("attribute", "tag", "tags")
_PLAIN_LIST: Final = re.compile(PLAIN_LIST)
_PLAIN_ITEM: Final = re.compile(r"""'([^']*)'|"([^"]*)\"""")


def shortened(text: str) -> str:
    """The text in quotes, shortened if it is long."""
    return f"'{text[:MAX_SHOWN]}…'" if len(text) > MAX_SHOWN else f"'{text}'"


def one_statement(text: str) -> Nodes:
    """The top-level nodes of a filter. Errors: only white space; more than one statement."""
    try:
        found = statements(text)
    except TooLong as exc:
        raise invalid(f"Error on parsing filter {shortened(text)}: {exc}") from exc
    if not found:
        raise invalid(f"Invalid filter '{text}'. Could not be parsed.")
    if len(found) > 1:
        raise invalid(
            f"Search filter contained multiple expression {text!r}. Provide AND-ed expression list."
        )
    return found[0]


def joined(nodes: Nodes) -> Nodes:
    """`nodes` with `x IN (…)`, `x NOT IN (…)` and `x IS [NOT] NULL` joined into comparisons."""
    done: Nodes = []
    position = 0
    while position < len(nodes):
        node = nodes[position]
        left = len(nodes) - position
        if left < 3:
            return done + nodes[position:]
        if node.kind is not Kind.IDENTIFIER:
            done.append(node)
            position += 1
            continue
        length = _comparison_length(nodes[position : position + 4])
        if length:
            done.append(_word_comparison(nodes[position : position + length]))
        else:
            # Not a comparison: the following three nodes are not examined again.
            length = 4
            done += nodes[position : position + 4]
        position += length
    return done


def _comparison_length(nodes: Nodes) -> int:
    second, third = nodes[1], nodes[2]
    if second.is_keyword("IN") and third.kind is Kind.PARENTHESIS:
        return 3
    if second.is_keyword("IS") and (third.is_keyword("NULL") or third.is_keyword("NOT NULL")):
        return 3
    negated = second.is_keyword("NOT") and third.is_keyword("IN")
    return 4 if negated and len(nodes) == 4 and nodes[3].kind is Kind.PARENTHESIS else 0


def _word_comparison(nodes: Nodes) -> Node:
    """`x IS NULL` as (x, IS NULL) and `x [NOT] IN (…)` as (x, [NOT] IN, (…))."""
    first, last = nodes[0], nodes[-1]
    has_value = last.kind is Kind.PARENTHESIS
    words = nodes[1:-1] if has_value else nodes[1:]
    # Two words get one space, whatever separated them.
    spelling = " ".join(word.text for word in words)
    spelling = spelling if len(words) == 1 else spelling.upper()
    operator = Node(Kind.KEYWORD, spelling, 0, len(spelling))
    parts = (first, operator, last) if has_value else (first, operator)
    return Node(Kind.COMPARISON, first.source, first.start, last.end, parts)


def clauses(nodes: Nodes, *, quote: str = "'") -> Nodes:
    """The comparisons of a filter. AND may be missing between them, or appear at an end.

    `quote` surrounds each clause in the error message.
    """
    blamed = [
        node for node in nodes if node.kind is not Kind.COMPARISON and not node.is_keyword("AND")
    ]
    if blamed:
        texts = ", ".join(f"{quote}{node.text}{quote}" for node in blamed)
        raise invalid(f"Invalid clause(s) in filter string: {texts}")
    return checked_number([node for node in nodes if node.kind is Kind.COMPARISON])


def checked_number(comparisons: Nodes) -> Nodes:
    """`comparisons`, after a check of their number."""
    if len(comparisons) > MAX_FILTER_COMPARISONS:
        raise invalid(
            f"A filter can contain at most {MAX_FILTER_COMPARISONS} comparisons. Got {len(comparisons)}."
        )
    return comparisons


def operands(comparison: Node) -> tuple[Node, Node, Node | None]:
    """Identifier, operator and value; the value is None for IS NULL and IS NOT NULL."""
    parts = comparison.parts
    is_null = len(parts) == 2 and parts[1].text in ("IS NULL", "IS NOT NULL")
    if not is_null and len(parts) != 3:
        raise invalid(f"Invalid comparison clause. Expected 3 tokens found {len(parts)}")
    if parts[0].kind is not Kind.IDENTIFIER:
        raise invalid(f"Invalid comparison clause. Expected 'Identifier' found '{parts[0].text}'")
    return parts[0], parts[1], None if is_null else parts[2]


def attribute_or_tag(text: str, prefixes: Sequence[str] = _PREFIXES) -> tuple[str, str]:
    """Entity and key of `[entity.]key`, for languages with attributes and tags; the key is unchanged."""
    prefix, dot, key = text.partition(".")
    if not dot:
        return "attribute", text
    if prefix not in prefixes:
        raise invalid(f"Invalid entity type '{prefix}'. Valid entity types are {prefixes}")
    return ("tag" if prefix in ("tag", "tags") else "attribute"), key


def bare(key: str) -> str:
    """A key without its surrounding quotes: single or double ones first, then backticks."""
    return stripped(stripped(key, "'\""), "`")


def stripped(text: str, quotes: str) -> str:
    """`text` without its surrounding quotes, if it starts and ends with the same one of `quotes`."""
    is_quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in quotes
    return text[1:-1] if is_quoted else text


def unquoted(value: Node) -> str:
    """A string value without its quotes. Escapes are kept, as in MLflow."""
    text = value.text
    inner = stripped(text, "'\"")
    if inner == text:
        raise invalid(
            "Parameter value is either not quoted or unidentified quote types used for "
            f"string value {text}. Use either single or double quotes."
        )
    return inner


def quoted_value(value: Node, entity: str) -> str:
    """The string value in a comparison of a param or a tag."""
    if value.kind not in STRINGS:
        raise invalid(
            f"Expected a quoted string value for {entity} (e.g. 'my-value'). Got value {value.text}"
        )
    return unquoted(value)


def spelt_set(names: Iterable[str]) -> str:
    """`names` in MLflow's format of a set, in a fixed order."""
    return "{" + ", ".join(map(repr, sorted(names))) + "}"


def plain_list(text: str) -> tuple[str, ...] | None:
    """The strings of a list without escapes; None for any other list. Rejects more than MAX_LIST_VALUES."""
    if text.count(",") > MAX_LIST_VALUES:
        raise invalid(f"A list in a filter can hold at most {MAX_LIST_VALUES} values.")
    if not _PLAIN_LIST.fullmatch(text):
        return None
    return tuple(single or double for single, double in _PLAIN_ITEM.findall(text))


def string_list(value: Node) -> tuple[str, ...]:
    """The strings of `('a', "b")`, in Python's syntax. Rejects an empty list and other types."""
    text = value.text
    plain = plain_list(text)
    if plain is not None:
        return plain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown escape needs no warning
            found = ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as exc:
        raise invalid(
            "While parsing a list in the query, expected a non-empty list of string values, "
            "but got ill-formed list."
        ) from exc
    items = found if isinstance(found, tuple) else (found,)
    if not items:
        raise invalid(
            "While parsing a list in the query, expected a non-empty list of string values, "
            "but got empty list"
        )
    if not all(isinstance(item, str) for item in items):
        raise invalid(
            "While parsing a list in the query, expected string value, punctuation, "
            f"or whitespace, but got different type in list: {items}"
        )
    return items


def number(value: Node) -> int | float:
    """The number of an INTEGER or FLOAT node; infinite beyond the range of doubles."""
    is_integer = value.kind is Kind.INTEGER and len(value.text) <= MAX_DIGITS
    return int(value.text) if is_integer else float(value.text)


def check_sort_fields(number: int) -> None:
    """Rejects an order_by with more fields than a database can sort by."""
    if number > MAX_SORT_FIELDS:
        raise invalid(f"`order_by` can contain at most {MAX_SORT_FIELDS} fields. Got {number}.")


def remembered(parse: Callable[[str], T]) -> Callable[[str], T]:
    """`parse` with a cache for some hundred short texts: clients repeat their filters."""
    known = lru_cache(maxsize=512)(parse)
    return lambda text: known(text) if len(text) <= MAX_REMEMBERED else parse(text)


def text_or_list(node: Node, what: str) -> str | tuple[str, ...]:
    """The quoted string or list of quoted strings that `what` is compared with."""
    if node.kind is Kind.PARENTHESIS:
        return string_list(node)
    if node.kind in STRINGS:
        return unquoted(node)
    raise invalid(f"Expected a quoted string value for {what}. Got value {node.text}")


def attribute_value(
    key: str, node: Node, *, numeric: Container[str], listed: Collection[str]
) -> Value:
    """The value that an attribute is compared with: a number for `numeric`, also a list for `listed`."""
    if key in numeric:
        if node.kind not in NUMBERS:
            raise invalid(
                f"Expected numeric value type for numeric attribute: {key}. Found {node.text}"
            )
        return number(node)
    if node.kind is Kind.PARENTHESIS and key not in listed:
        raise invalid(
            f"Only {list(listed)} attributes support comparison with a list of quoted string values."
        )
    return text_or_list(node, "attributes")


def filter_of(
    condition: Callable[[Node], Condition],
) -> Callable[[str | None], tuple[Condition, ...]]:
    """A parser of filters that are comparisons joined by AND; `condition` reads one of them."""

    @remembered
    def conditions(text: str) -> tuple[Condition, ...]:
        return tuple(map(condition, clauses(joined(one_statement(text)), quote="")))

    return lambda text: conditions(text) if text else ()


@remembered
def sort_field(text: str) -> tuple[str, bool]:
    """The unchanged field of an order_by item, and whether it is ascending."""
    field = _sort_text(text)
    try:
        words = shlex.split(field.replace("`", '"'))
    except ValueError as exc:  # an unclosed quote
        raise _unparsed(text) from exc
    if len(words) > 2:
        raise _unparsed(text)
    if len(words) < 2:
        return field.strip(), True
    direction = words[1].lower()
    if direction not in ("asc", "desc"):
        raise invalid(f"Invalid ordering key in order_by clause '{text}'.")
    return words[0].strip(), direction == "asc"


def _sort_text(text: str) -> str:
    if len(text) > MAX_SORT_CHARACTERS:  # shlex takes a microsecond per character
        raise invalid(
            f"Error on parsing order_by clause {shortened(text)}: "
            f"more than {MAX_SORT_CHARACTERS} characters"
        )
    found = statements(text)
    if len(found) != 1:
        raise _unparsed(text)
    nodes = found[0]
    first = nodes[0]
    alone = len(nodes) == 1 and first.start == 0 and first.end == len(text)
    is_timestamp = first.kind is Kind.TYPE_NAME and first.text == "timestamp" and first.start == 0
    if alone and (first.kind is Kind.IDENTIFIER or is_timestamp):
        return text
    if is_timestamp and len(nodes) == 2:
        direction = nodes[1]
        if direction.kind is Kind.DIRECTION and direction.end == len(text):
            return f"timestamp {direction.text}"
    raise _unparsed(text)


def _unparsed(text: str) -> ApiError:
    return invalid(f"Invalid order_by clause '{text}'. Could not be parsed.")


def duplicate_sort_fields(order_by: Sequence[str]) -> ApiError:
    """The error for an order_by that names a field twice: 500 with a JSON body, as in MLflow."""
    return ApiError(
        ErrorCode.INTERNAL_ERROR, f"`order_by` contains duplicate fields: {list(order_by)}"
    )


def unexpected_list(operator: str) -> ApiError:
    """The error for a list after an operator for one value: the same code as in MLflow, from its driver."""
    return ApiError(
        ErrorCode.BAD_REQUEST, f"Comparator '{operator}' does not take a list of values"
    )


def experiment_id(text: object) -> int:
    """The number of an experiment id. Errors: INVALID_PARAMETER_VALUE when it is not a number."""
    try:
        return int(str(text))
    except ValueError as exc:
        raise invalid(
            f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer."
        ) from exc
