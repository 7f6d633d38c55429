"""Converts a query's text to a cached plan: the endpoint to call and the fields to pick."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from headrace.api.results import NotNative
from headrace.contract.scalars import INT32_MAX, INT32_MIN
from headrace.graphql.document import Field, Variable, parse
from headrace.graphql.schema import FIELDS, INPUTS, snake

ROOTS: Final = {
    name: (f"{name[0].upper()}{name[1:]}Input", f"{name[0].upper()}{name[1:]}Response")
    for name in (
        "mlflowGetExperiment",
        "mlflowGetMetricHistoryBulkInterval",
        "mlflowGetRun",
        "mlflowSearchRuns",
    )
}
MAX_CACHED: Final = 64  # texts; the page has four
MAX_CACHED_CHARACTERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Picked:
    """One field of an answer: its key in the answer, REST name, kind, and the fields below it."""

    key: str
    source: str
    kind: str
    below: tuple[Picked, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A query that can be answered natively.

    `root` is its only root field, and `key` the name of that field in the answer. `aliases` is the
    number of aliases in the selection that has the most.
    """

    operation: str | None
    root: str
    key: str
    argument: Any
    declared: dict[str, str]
    picked: tuple[Picked, ...]
    aliases: int

    def takes(self, name: str, *below: str) -> bool:
        """Whether the query asks for the field at a path of REST names."""
        fields = self.picked
        for part in (name, *below):
            found = [field for field in fields if field.source == part]
            if not found:
                return False
            fields = tuple(child for field in found for child in field.below)
        return True


def plan(text: str) -> Plan:
    """The plan of a query. Raises NotNative."""
    return _cached(text) if len(text) <= MAX_CACHED_CHARACTERS else _make(text)


def _make(text: str) -> Plan:
    query = parse(text)
    if len(query.fields) != 1 or query.fields[0].name not in ROOTS:
        raise NotNative("another root field")
    root = query.fields[0]
    if set(root.arguments) != {"input"}:
        raise NotNative("arguments")
    input_type, response_type = ROOTS[root.name]
    argument = root.arguments["input"]
    used = {argument.name} if isinstance(argument, Variable) else set()
    if used != set(query.variables):
        raise NotNative("a variable that is not declared, or not used")
    if any(declared.rstrip("!") != input_type for declared in query.variables.values()):
        raise NotNative("a variable of another type")
    return Plan(
        query.name,
        root.name,
        root.key,
        argument,
        query.variables,
        _pick(root.fields, response_type),
        query.aliases,
    )


_cached = lru_cache(MAX_CACHED)(_make)


def _pick(fields: tuple[Field, ...], type_name: str) -> tuple[Picked, ...]:
    known = FIELDS[type_name]
    picked = []
    for field in fields:
        if field.name == "__typename" and not field.fields and not field.arguments:
            picked.append(Picked(field.key, type_name, "typename", ()))
            continue
        kind = known.get(field.name)
        if kind is None or field.arguments:
            raise NotNative("an unknown field")
        inner = kind.strip("[]")
        if (inner in FIELDS) != bool(field.fields):
            raise NotNative("fields of a scalar, or none of an object")
        below = _pick(field.fields, inner) if field.fields else ()
        picked.append(Picked(field.key, snake(field.name), kind, below))
    return tuple(picked)


def arguments(made: Plan, variables: Any) -> dict[str, Any]:
    """The request's members by their REST names, without those that are null. Raises NotNative."""
    given = made.argument
    if isinstance(given, Variable):
        if not isinstance(variables, dict):
            raise NotNative("no variables")
        given = variables.get(given.name)
    if not isinstance(given, dict):
        raise NotNative("no input object")
    kinds = INPUTS[ROOTS[made.root][0]]
    found = {}
    for name, value in given.items():
        if name not in kinds:
            raise NotNative("an unknown member")
        if value is not None:
            found[snake(name)] = _coerced(value, kinds[name])
    return found


def _coerced(value: Any, kind: str) -> Any:
    if kind == "texts":
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
    elif kind == "text":
        if isinstance(value, str):
            return value
    elif type(value) is int and INT32_MIN <= value <= INT32_MAX:
        return value
    raise NotNative("a value that has to be explained")
