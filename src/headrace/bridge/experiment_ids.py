"""Runs inside the MLflow process: finds experiment ids in a request that have another spelling.

MLflow's rules compare an experiment id as text, and its database reads it as a number: a denial on
experiment 1 does not apply to ` 1`, `+1`, `01` or a digit of another script.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Python, SQLite and PostgreSQL read numbers that begin like this.
_LIKE_A_NUMBER: Final = re.compile(r"\s*[+-]?\.?\d")
_CANONICAL: Final = re.compile(r"0|-?[1-9][0-9]*")
_NAMES: Final = frozenset({"experimentid", "experimentids"})
# Fields of requests that contain such ids; other objects contain free values of users.
_MESSAGES: Final = frozenset(
    {"locations", "mlflowexperiment", "trace", "traceinfo", "tracelocation"}
)


def misspelled(parameters: Iterable[tuple[str, str]], body: Any, *, graphql: bool = False) -> bool:
    """Whether an experiment id is a number in another spelling than the decimal text.

    Args:
        parameters: Names and values of the query.
        body: Decoded JSON.
        graphql: Whether the body is a request of GraphQL.
    """
    in_query = (value for name, value in parameters if _plain(name) in _NAMES)
    in_body = _in_graphql(body) if graphql else _in_json(body)
    return any(_is_misspelled(value) for value in chain(in_query, in_body))


def _is_misspelled(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_LIKE_A_NUMBER.match(value)) and not _CANONICAL.fullmatch(value)
    return isinstance(value, int | float)


def _in_json(body: Any, *, everywhere: bool = False) -> Iterator[Any]:
    left = [body]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            for name, item in value.items():
                if _plain(name) in _NAMES:
                    yield from item if isinstance(item, list) else [item]
                elif everywhere or _plain(name) in _MESSAGES:
                    left.append(item)


def _in_graphql(body: Any) -> Iterator[Any]:
    """The ids in input objects, which are written in the query or sent as variables."""
    from graphql.language import ast

    from graphql import GraphQLError, Undefined, parse, value_from_ast_untyped

    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        return
    try:
        document = parse(body["query"])
    except GraphQLError:
        return  # MLflow rejects it too
    sent = body.get("variables")
    variables = dict(sent) if isinstance(sent, dict) else {}
    fields = []
    left: list[Any] = [document]
    while left:
        node = left.pop()
        if isinstance(node, ast.VariableDefinitionNode) and node.default_value is not None:
            default = value_from_ast_untyped(node.default_value)
            variables.setdefault(node.variable.name.value, default)
        elif isinstance(node, ast.ObjectFieldNode):
            fields.append(node)
        for key in node.keys:
            child = getattr(node, key, None)
            children = child if isinstance(child, list | tuple) else [child]
            left += [item for item in children if isinstance(item, ast.Node)]
    objects = [variables]
    for field in fields:
        value = value_from_ast_untyped(field.value, variables)
        if value is not Undefined:
            objects.append({field.name.value: value})
    yield from _in_json(objects, everywhere=True)


def _plain(name: str) -> str:
    """A field's name in both spellings that MLflow reads: experiment_id, experimentId."""
    return name.replace("_", "").lower()
