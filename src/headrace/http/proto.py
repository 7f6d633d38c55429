"""Reads a request exactly but slowly, by protobuf's JSON rules and MLflow's validators.

`codec` decodes ordinary requests in C. This module handles those that it rejects, and returns the
same Struct (camelCase, an int64 as text, "NaN" …) or raises MLflow's error. Where stock MLflow
would continue with a partly parsed request, headrace answers with an error. Source: protobuf's JSON
mapping.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import msgspec.inspect as mi

from headrace.contract.errors import invalid, missing_parameter, too_long
from headrace.contract.scalars import INT64_MAX
from headrace.contract.texts import is_all_unicode, is_unicode
from headrace.http.camel import camel

if TYPE_CHECKING:
    from enum import Enum

API_DOCS: Final = " See the API docs for more information about request parameters."
MAX_DEPTH: Final = 100  # protobuf's limit of nested messages
_TYPE_CHECKS: Final = frozenset(
    {"string", "intlike", "floatlike", "bool", "array", "item_type_string"}
)


class ParseFailure(Exception):
    """A value that protobuf's JSON parser would reject; `path` names the field."""

    def __init__(self, path: str, value: Any) -> None:
        super().__init__(path)
        self.path = path
        self.value = value


class BareNumber(float):
    """NaN, Infinity or -Infinity without quotes: not valid JSON, but many clients send it."""


class Field:
    """One field of a message, with its type and its checks."""

    __slots__ = (
        "camel",
        "checks",
        "default",
        "is_cut",
        "is_secret",
        "kind",
        "name",
        "repeated",
        "required",
        "type",
    )

    def __init__(self, field: mi.Field) -> None:
        self.name = field.encode_name
        self.camel = camel(self.name)
        self.checks: tuple[Any, ...] = ()
        self.is_cut = self.is_secret = False
        self.required = field.required
        kind: Any = field.type
        self.repeated = False
        while True:
            if isinstance(kind, mi.Metadata):
                extra = kind.extra or {}
                self.checks = extra.get("checks", self.checks)
                self.is_cut = extra.get("cut", self.is_cut)
                self.is_secret = extra.get("secret", self.is_secret)
                kind = kind.type
            elif isinstance(kind, mi.UnionType):
                kind = next(t for t in kind.types if not isinstance(t, mi.NoneType))
            elif isinstance(kind, mi.ListType):
                self.repeated = True
                kind = kind.item_type
            else:
                break
        self.kind = kind
        self.default: Any = [] if self.repeated else _zero(kind)


def _zero(kind: Any) -> Any:
    if isinstance(kind, mi.StrType):
        return ""
    if isinstance(kind, mi.IntType):
        return 0
    if isinstance(kind, mi.FloatType):
        return 0.0
    return None


class Spec:
    """The fields of a request type, by either spelling of their names."""

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        info = mi.type_info(cls)
        assert isinstance(info, mi.StructType), "a request type is a Struct"
        self.cls = cls
        self.fields = [Field(f) for f in info.fields]
        self.by_name = {f.name: f for f in self.fields}
        self.by_key = {f.camel: f for f in self.fields} | self.by_name


@cache
def spec_of(cls: type[msgspec.Struct]) -> Spec:
    """The `Spec` of a request type, created once."""
    return Spec(cls)


def number_of(member: Enum) -> int:
    """The protobuf number of an enum member.

    Members are declared in order, from `__first_number__` or 1.
    """
    cls = type(member)
    first: int = getattr(cls, "__first_number__", 1)
    return first + list(cls).index(member)


def load_json(body: bytes) -> Any:
    """The JSON value of a body, or None where stock MLflow treats the body as empty."""
    try:
        value = json.loads(body, parse_constant=BareNumber)
        if isinstance(value, str):  # older clients encode JSON twice
            value = json.loads(value, parse_constant=BareNumber)
    except (ValueError, RecursionError):
        return None
    return value


def read_body(cls: type[msgspec.Struct], body: bytes) -> Any:
    """A Struct of type `cls` from a JSON body, or MLflow's error."""
    value = load_json(body)
    spec = spec_of(cls)
    if value is None:
        _check(spec, {}, parsed=True)
        if body.strip() in (b"", b"null", b'"null"'):
            return read_object(spec, {})
        raise invalid("The request body is not valid JSON." + API_DOCS)
    if not isinstance(value, dict):
        raise invalid(
            f"The request body must be a JSON object, got {_type_name(value)}." + API_DOCS
        )
    return read_object(spec, value)


def read_query(cls: type[msgspec.Struct], query: dict[str, list[str]]) -> Any:
    """A Struct of type `cls` from query parameters.

    Names are in snake_case only. The first value of a repeated scalar wins.
    """
    spec = spec_of(cls)
    values: dict[str, Any] = {}
    for field in spec.fields:
        given = query.get(field.name)
        if given is None:
            continue
        if field.repeated:
            values[field.name] = given
        elif isinstance(field.kind, mi.BoolType):
            if given[0].lower() not in ("true", "false"):
                raise invalid(f"Invalid boolean value: {given[0]}, must be 'true' or 'false'.")
            values[field.name] = given[0].lower() == "true"
        else:
            values[field.name] = given[0]
    return read_object(spec, values)


def read_object(spec: Spec, value: dict[str, Any]) -> Any:
    """A Struct from a JSON object.

    Errors are raised in MLflow's order: spellings, validators, then parse failures.
    """
    _refuse_two_spellings(spec, value)
    failure: ParseFailure | None = None
    message: Any = None
    try:
        message = parse_message(spec, value, "", 0)
    except ParseFailure as error:
        failure = error
    _check(spec, value, parsed=failure is None)
    if failure is not None:
        raise invalid(_wrong_value(failure.path, failure.value, hides=_is_secret(spec, failure)))
    return message


def _is_secret(spec: Spec, failure: ParseFailure) -> bool:
    """Whether the wrong value is in a field whose values errors must not repeat."""
    return spec.by_name[failure.path.partition(".")[0].partition("[")[0]].is_secret


def parse_message(spec: Spec, value: Any, path: str, depth: int) -> Any:
    """A Struct from a JSON value by protobuf's rules; raises `ParseFailure`."""
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        raise ParseFailure(path, value)
    values: dict[str, Any] = {}
    for key, item in value.items():
        field = spec.by_key.get(key)
        if field is None or item is None:
            continue
        where = f"{path}.{field.name}" if path else field.name
        if not field.repeated:
            if field.is_cut and isinstance(item, float) and abs(item) < INT64_MAX:
                item = int(item)
            values[field.name] = _parse_value(field.kind, item, where, depth)
            continue
        if not isinstance(item, list):
            raise ParseFailure(where, item)
        values[field.name] = [
            _parse_value(field.kind, one, f"{where}[{n}]", depth) for n, one in enumerate(item)
        ]
    for field in spec.fields:
        if field.required and field.name not in values:
            alias = values.get("run_uuid") if field.name == "run_id" else None
            values[field.name] = alias or field.default
    return spec.cls(**values)


def _parse_value(kind: Any, value: Any, path: str, depth: int) -> Any:
    if isinstance(kind, mi.StructType):
        return parse_message(spec_of(kind.cls), value, path, depth + 1)
    if isinstance(kind, mi.StrType):
        if isinstance(value, str) and is_unicode(value):
            if kind.max_length is not None and len(value) > kind.max_length:
                raise too_long(path, kind.max_length)
            return value
    elif isinstance(kind, mi.BoolType):
        if isinstance(value, bool):
            return value
    elif isinstance(kind, mi.IntType):
        return _parse_int(kind, value, path)
    elif isinstance(kind, mi.FloatType):
        return _parse_double(value, path)
    elif isinstance(kind, mi.EnumType):
        return _parse_enum(kind.cls, value, path)
    elif isinstance(kind, mi.AnyType) and is_all_unicode(value):
        return value
    elif isinstance(kind, mi.DictType) and isinstance(value, dict) and all(map(is_unicode, value)):
        return {k: _parse_value(kind.value_type, v, f"{path}.{k}", depth) for k, v in value.items()}
    raise ParseFailure(path, value)


def _parse_int(kind: mi.IntType, value: Any, path: str) -> int:
    number: int | None = None
    if isinstance(value, float):
        if value.is_integer():
            number = int(value)
    elif isinstance(value, str):
        number = _int_of_text(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    low, high = kind.ge, kind.le
    if number is None or (low is not None and number < low) or (high is not None and number > high):
        raise ParseFailure(path, value)
    return number


def _int_of_text(text: str) -> int | None:
    # As protobuf's json_format: "12", "1_2", "12.0" and "1e2" are integers, but no text with a
    # space.
    if " " in text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _parse_double(value: Any, path: str) -> float:
    # protobuf's json_format accepts every text that Python's float() accepts ("inf", "1_0", " 5 "),
    # except "nan".
    if not isinstance(value, str | bool | int | float) or value == "nan":
        raise ParseFailure(path, value)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ParseFailure(path, value) from None
    is_bare = isinstance(value, BareNumber)
    if isinstance(value, float) and not math.isfinite(value) and not is_bare:  # 1e400
        raise ParseFailure(path, value)
    return number


def _parse_enum(cls: type[Enum], value: Any, path: str) -> Enum:
    for member in cls:
        if value == member.value or value == member.name:
            return member
    number = _enum_number(value)
    for member in cls:
        if number is not None and number_of(member) == number:
            return member
    raise ParseFailure(path, value)


def _enum_number(value: Any) -> int | None:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _refuse_two_spellings(spec: Spec, value: Any) -> None:
    if not isinstance(value, dict):
        return
    for field in spec.fields:
        if field.camel != field.name and field.name in value and field.camel in value:
            raise invalid(
                f"Request specifies both '{field.name}' and '{field.camel}'; "
                "provide only one of them."
            )
        if isinstance(field.kind, mi.StructType):
            nested = value.get(field.name, value.get(field.camel))
            for item in nested if isinstance(nested, list) else [nested]:
                _refuse_two_spellings(spec_of(field.kind.cls), item)


def _check(spec: Spec, request: dict[str, Any], *, parsed: bool) -> None:
    for field in spec.fields:
        checks = field.checks
        if not checks or (field.name not in request and "required" not in checks):
            continue
        value = request.get(field.name)
        if field.name == "run_id" and value is None and "run_uuid" in request:
            value = request["run_uuid"]
        for check in checks:
            if not (parsed and check in _TYPE_CHECKS):
                _run_check(check, field.name, value)


def _run_check(check: Any, name: str, value: Any) -> None:
    if isinstance(check, tuple):
        _run_bound(check, name, value)
    elif check == "required":
        if value is None or value == "":
            raise missing_parameter(name)
    elif check == "not_null":
        if value is None:
            raise invalid(f"Missing value for required parameter '{name}'.")
    elif check.startswith("present:"):
        _run_present(name, value, check.removeprefix("present:").split(","))
    elif not _TYPE_TESTS[check](value):
        raise invalid(_wrong_value(name, value))


def _run_present(name: str, items: Any, keys: list[str]) -> None:
    if not isinstance(items, list):
        raise invalid(_wrong_value(name, items))
    for n, item in enumerate(items):
        if not isinstance(item, dict):
            raise invalid(_wrong_value(f"{name}[{n}]", item))
        for key in keys:
            if item.get(key) is None or item.get(key) == "":
                raise missing_parameter(f"{name}[{n}].{key}")


def _run_bound(check: tuple[Any, ...], name: str, value: Any) -> None:
    """Run `("max", n)`, `("range", low, high, message)` or `("max_len", n, message)`.

    `max` and `range` check a number, `max_len` the length of a list.
    """
    kind = check[0]
    if kind == "max_len":
        if isinstance(value, list) and len(value) > check[1]:
            raise invalid(check[2].format(len(value)) + API_DOCS)
        return
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise invalid(_wrong_value(name, value)) from None
    if kind == "max":
        if number > check[1]:
            raise invalid(_wrong_value(name, value))
    elif not check[1] <= number <= check[2]:
        raise invalid(check[3] + API_DOCS)


def _is_like(kind: type[int] | type[float], value: Any) -> bool:
    try:
        kind(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


_TYPE_TESTS: Final = {
    "string": lambda v: isinstance(v, str),
    "bool": lambda v: isinstance(v, bool),
    "array": lambda v: isinstance(v, list),
    "intlike": lambda v: _is_like(int, v),
    "floatlike": lambda v: _is_like(float, v),
    "item_type_string": lambda v: isinstance(v, list) and all(isinstance(i, str) for i in v),
}


def _type_name(value: Any) -> str:
    return "float" if isinstance(value, float) else type(value).__name__


def _wrong_value(name: str, value: Any, *, hides: bool = False) -> str:
    try:
        shown = "***" if hides else json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        shown = "…"
    return (
        f"Invalid value {shown} for parameter '{name}' supplied:  "
        f"Hint: Value was of type '{_type_name(value)}'.{API_DOCS}"
    )
