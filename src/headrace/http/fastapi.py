"""Requests of routes that stock serves with FastAPI: what is wrong with a body, in pydantic's words.

Only the types of fields that such native routes have are known here: texts, objects and lists of
words, each of which may be null.
"""

from __future__ import annotations

import json
import types
from enum import StrEnum
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from headrace.contract.texts import refuse_unstorable
from headrace.http.loose import has_json
from headrace.http.typed_json import decode_untyped

Problem = dict[str, Any]
_NOT_AN_OBJECT: Final = "Input should be a valid dictionary or object to extract fields from"


class Unprocessable(Exception):
    """422, with what is wrong."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__()
        self.problems = problems


class Decoder:
    """Decodes one request type. Fields that it does not have are ignored."""

    __slots__ = ("_kinds", "cls")

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self.cls = cls
        hints = get_type_hints(cls)
        self._kinds = {name: _kind(hints[name]) for name in cls.__struct_fields__}

    def from_body(self, body: bytes, content_type: str | None) -> Any:
        """A Struct of the request type. Raises `Unprocessable`."""
        fields = _object(body, content_type)
        given = {name: fields[name] for name in self._kinds if name in fields}
        problems = [
            problem
            for name, value in given.items()
            if value is not None
            for problem in _problems(self._kinds[name], value, ["body", name])
        ]
        if problems:
            raise Unprocessable(*problems)
        message = msgspec.convert(given, self.cls)
        for value in given.values():
            if isinstance(value, str):
                refuse_unstorable(value)
        return message


def _object(body: bytes, content_type: str | None) -> dict[str, Any]:
    if not body:
        raise Unprocessable(_problem("missing", ["body"], "Field required", None))
    if not has_json(content_type):
        text = body.decode(errors="replace")
        raise Unprocessable(_problem("model_attributes_type", ["body"], _NOT_AN_OBJECT, text))
    try:
        value = decode_untyped(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _explained(body)
    if not isinstance(value, dict):
        raise Unprocessable(_problem("model_attributes_type", ["body"], _NOT_AN_OBJECT, value))
    return value


def _explained(body: bytes) -> Any:
    """The value that Python reads in a body that the fast decoder refuses. Raises `Unprocessable`."""
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be stored or shown
    except json.JSONDecodeError as error:
        problem = _problem("json_invalid", ["body", error.pos], "JSON decode error", {})
        raise Unprocessable(problem | {"ctx": {"error": error.msg}}) from error
    except (ValueError, RecursionError) as error:
        problem = _problem("json_invalid", ["body", 0], "JSON decode error", {})
        raise Unprocessable(problem | {"ctx": {"error": "Invalid text"}}) from error
    return value


def _problem(kind: str, where: list[str | int], text: str, value: Any) -> Problem:
    return {"type": kind, "loc": where, "msg": text, "input": value}


def _kind(hint: Any) -> Any:
    """The type of a field without null: str, dict, or the enum that a list has words of."""
    parts = [one for one in get_args(hint) if one is not types.NoneType]
    assert get_origin(hint) in (Union, types.UnionType), f"unknown type of a field: {hint}"
    (kind,) = parts
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
        assert issubclass(kind, StrEnum), f"unknown type of a list: {hint}"
        return kind
    known = get_origin(kind) or kind
    assert known in (str, dict), f"unknown type of a field: {hint}"
    return known


def _problems(kind: Any, value: Any, where: list[str | int]) -> list[Problem]:
    if kind is str:
        right = isinstance(value, str)
        return (
            []
            if right
            else [_problem("string_type", where, "Input should be a valid string", value)]
        )
    if kind is dict:
        text = "Input should be a valid dictionary"
        return [] if isinstance(value, dict) else [_problem("dict_type", where, text, value)]
    if not isinstance(value, list):
        return [_problem("list_type", where, "Input should be a valid list", value)]
    known = [f"'{word}'" for word in kind]
    expected = f"{', '.join(known[:-1])} or {known[-1]}"
    return [
        _problem("enum", [*where, n], f"Input should be {expected}", one)
        | {"ctx": {"expected": expected}}
        for n, one in enumerate(value)
        if not isinstance(one, str) or one not in list(kind)
    ]
