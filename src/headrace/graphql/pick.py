"""Picks the fields of a query from a REST answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.graphql.plan import Picked

NAN = "NaN"  # in REST answers


def pick(source: dict[str, Any], wanted: tuple[Picked, ...], problems: list[str]) -> dict[str, Any]:
    """The fields `wanted` of a message. NaN becomes null and, for kind `float`, a problem."""
    answer: dict[str, Any] = {}
    for field in wanted:
        value = source.get(field.source)
        match field.kind:
            case "text":
                answer[field.key] = "" if value is None else value
            case "long":
                answer[field.key] = "0" if value is None else str(value)
            case "finite":
                answer[field.key] = None if value == NAN else value
            case "float":
                if value == NAN:
                    problems.append("Float cannot represent non numeric value: nan")
                answer[field.key] = None if value == NAN else value
            case "texts":
                answer[field.key] = value or []
            case "typename":
                answer[field.key] = field.source
            case kind if kind.startswith("["):
                answer[field.key] = [pick(item, field.below, problems) for item in value or ()]
            case _:
                answer[field.key] = None if value is None else pick(value, field.below, problems)
    return answer
