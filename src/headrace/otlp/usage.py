"""Token usage and cost of a trace, summed over the tree of its spans."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.otlp.values import load

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKENS: Final = ("input_tokens", "output_tokens", "total_tokens")
CACHE_TOKENS: Final = (
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_input_tokens_above_1hr",
)
COSTS: Final = ("input_cost", "output_cost", "total_cost")


class Node(NamedTuple):
    """A span in the tree, with its usage or cost if it has one."""

    span_id: str
    parent_id: str | None
    values: dict[str, Any] | None


def values_of(text: str | None) -> dict[str, Any] | None:
    """The usage or cost of the JSON text of an attribute."""
    value = None if text is None else load(text)
    return value if isinstance(value, dict) else None


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else 0


def total(
    nodes: Iterable[Node], keys: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The sums over all spans with values, except those below another span with values.

    Libraries that set cumulative values on a parent would be counted twice otherwise. `keys` are
    always in the result, `optional` ones where a span has them; empty without any values.
    """
    by_id = {node.span_id: node for node in nodes}
    covered: dict[str, bool] = {}  # whether the span or one above it has values

    def is_covered(span_id: str | None) -> bool:
        path = []
        while span_id is not None and span_id in by_id and span_id not in covered:
            node = by_id[span_id]
            covered[span_id] = False  # ends the walk of a span that is above itself
            path.append(node)
            if node.values is not None:
                covered[span_id] = True
                path.pop()
                break
            span_id = node.parent_id
        above = covered.get(span_id, False) if span_id is not None else False
        for node in path:
            covered[node.span_id] = above
        return above

    sums: dict[str, Any] = {}
    for node in by_id.values():
        if node.values is None or is_covered(node.parent_id):
            continue
        sums = sums or dict.fromkeys(keys, 0)
        for key in keys:
            sums[key] += _number(node.values.get(key, 0))
        for key in optional:
            if key in node.values:
                sums[key] = sums.get(key, 0) + _number(node.values[key])
    return sums


def token_count(value: Any) -> int | None:
    """The number of tokens for its column: an integer of 64 bits, also as text; else None."""
    if value is None or isinstance(value, bool) or (isinstance(value, str) and len(value) > 100):
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    if not number.is_finite() or not -(2**63) <= number <= 2**63 - 1:
        return None
    return int(number) if number == number.to_integral_value() else None


def cost(value: Any) -> float | None:
    """The cost for its column: a finite number, also as text; else None."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
