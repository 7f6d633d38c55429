"""Reads an ExportTraceServiceRequest from OTLP's JSON: hexadecimal ids, otherwise protobuf's JSON.

Field names are in camelCase or snake_case; unknown fields are ignored; 64-bit integers may be
strings.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.contract.limits import MAX_JSON_SPAN_BYTES, MAX_SPAN_VALUES
from headrace.otlp.protobuf import MAX_DEPTH, text_of
from headrace.otlp.span import Event, Link, Malformed, RawSpan, TooLongText, TooManyItems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_UINT64: Final = 2**64 - 1
_DIGITS: Final = re.compile(r"-?\d{1,20}")
_STATUS: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
# Commas and braces of a body; each may become an object of 90 bytes.
MAX_TOKENS: Final = 1_000_000
_UNCOUNTED: Final = 16 << 10  # bytes; so few cannot be too many values
_TOKENS_PER_VALUE: Final = 4  # a key, the type of a value, the value


_ABSENT: Final = msgspec.Raw(b"null")


class _Scope(msgspec.Struct):
    spans: list[msgspec.Raw] | None = None


class _Resource(msgspec.Struct):
    resource: msgspec.Raw = _ABSENT  # a union with None would not be Raw
    scopeSpans: list[_Scope] | None = None
    scope_spans: list[_Scope] | None = None


class _Request(msgspec.Struct):
    resourceSpans: list[_Resource] | None = None
    resource_spans: list[_Resource] | None = None


_read: Final = msgspec.json.Decoder(_Request).decode
# Without the hook, some floats take msgspec 20 µs each.
_decode: Final = msgspec.json.Decoder(float_hook=float).decode


def _field(message: dict[str, Any], camel: str, snake: str) -> Any:
    value = message.get(camel)
    return message.get(snake) if value is None else value


def _list(message: dict[str, Any], camel: str, snake: str) -> list[dict[str, Any]]:
    """The messages of a repeated field."""
    value = _field(message, camel, snake)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Malformed
    return value


def _text(message: dict[str, Any], camel: str, snake: str | None = None) -> str:
    value = _field(message, camel, snake or camel)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed
    return value


def _id(message: dict[str, Any], camel: str, snake: str) -> bytes:
    try:
        return bytes.fromhex(_text(message, camel, snake))
    except ValueError as error:
        raise Malformed from error


def _integer(value: Any, least: int, most: int) -> int:
    """A 64-bit integer: a number, or its text."""
    if value is None:
        return 0
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Malformed
    return value


def _double(value: Any) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise Malformed from error
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed
    try:
        return float(value)
    except OverflowError as error:
        raise Malformed from error


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Malformed
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed
    return value


def _any_value(value: Any, depth: int = 4) -> Any:
    """The Python value of an AnyValue."""
    if value is None:
        return None
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        raise Malformed
    for name, item in value.items():
        if item is None:
            continue
        if name in _SCALARS:
            return _SCALARS[name](item)
        if name in ("arrayValue", "array_value"):
            return [_any_value(one, depth + 2) for one in _values(item)]
        if name in ("kvlistValue", "kvlist_value"):
            return _attributes(item, "values", depth + 2)
    return None


def _values(message: Any) -> list[Any]:
    if not isinstance(message, dict):
        raise Malformed
    values = message.get("values")
    if values is None:
        return []
    if not isinstance(values, list):
        raise Malformed
    return values


def _bytes(value: Any) -> bytes:
    """Base64, also its URL form, with or without padding."""
    if not isinstance(value, str):
        raise Malformed
    text = value.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise Malformed from error


def _scalars() -> dict[str, Callable[[Any], Any]]:
    readers: dict[str, Callable[[Any], Any]] = {
        "string": _string,
        "bool": _boolean,
        "int": lambda value: _integer(value, -(2**63), 2**63 - 1),
        "double": _double,
        "bytes": _bytes,
    }
    return {f"{name}{end}": read for name, read in readers.items() for end in ("Value", "_value")}


_SCALARS: Final = _scalars()


def _attributes(message: Any, name: str = "attributes", depth: int = 4) -> dict[str, Any]:
    """The Python values of a list of attributes, by key."""
    if not isinstance(message, dict):
        raise Malformed
    return {
        _text(one, "key"): _any_value(one.get("value"), depth) for one in _list(message, name, name)
    }


def _link(message: dict[str, Any]) -> Link:
    attributes = {
        key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for key, value in _attributes(message).items()
    }
    trace_id = _id(message, "traceId", "trace_id")
    return Link(trace_id, _id(message, "spanId", "span_id"), attributes)


def _event(message: dict[str, Any]) -> Event:
    time_ns = _integer(_field(message, "timeUnixNano", "time_unix_nano"), 0, MAX_UINT64)
    return Event(_text(message, "name"), time_ns, _attributes(message))


def read_span(data: msgspec.Raw) -> RawSpan:
    """A span of `resources`. Raises Malformed, TooManyItems, TooLongText."""
    message = _object(data)
    span = RawSpan()
    span.trace_id = _id(message, "traceId", "trace_id")
    span.span_id = _id(message, "spanId", "span_id")
    span.parent_id = _id(message, "parentSpanId", "parent_span_id")
    span.name = _text(message, "name")
    start = _field(message, "startTimeUnixNano", "start_time_unix_nano")
    span.start_ns = _integer(start, 0, MAX_UINT64)
    span.end_ns = _integer(_field(message, "endTimeUnixNano", "end_time_unix_nano"), 0, MAX_UINT64)
    status = message.get("status")
    if status is not None:
        if not isinstance(status, dict):
            raise Malformed
        code = status.get("code")
        known = _STATUS.get(code) if isinstance(code, str) else None
        span.code = _integer(code, -(2**31), 2**31 - 1) if known is None else known
        span.message = _text(status, "message")
    events, links = _list(message, "events", "events"), _list(message, "links", "links")
    span.check_items(len(_list(message, "attributes", "attributes")), len(events), len(links))
    span.attributes = {key: text_of(value) for key, value in _attributes(message).items()}
    span.events = [_event(one) for one in events]
    span.links = [_link(one) for one in links]
    return span


def _object(data: msgspec.Raw) -> dict[str, Any]:
    """The object of a part of the body. Raises Malformed, TooManyItems, TooLongText."""
    size = memoryview(data).nbytes
    if size > MAX_JSON_SPAN_BYTES:
        raise TooLongText
    if size > _UNCOUNTED and _tokens(bytes(data)) > _TOKENS_PER_VALUE * MAX_SPAN_VALUES:
        raise TooManyItems
    try:
        found = _decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed from error
    if not isinstance(found, dict):
        raise Malformed
    return found


def _tokens(text: bytes) -> int:
    """At least the number of values of a JSON text."""
    return text.count(b",") + text.count(b"{") + text.count(b"[")


def resources(data: bytes) -> Iterator[tuple[dict[str, Any], list[msgspec.Raw]]]:
    """For each ResourceSpans: the attributes of its resource, and its spans.

    The spans are still JSON, so that no more than one is decoded in a call. Raises Malformed,
    TooManyItems (a part of the request that is not a span).
    """
    if data.count(b",") + data.count(b"{") > MAX_TOKENS:
        raise TooManyItems
    try:
        request = _read(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed from error
    for one in request.resourceSpans or request.resource_spans or ():
        attributes = {}
        if bytes(one.resource).strip() != b"null":
            try:
                attributes = _attributes(_object(one.resource))
            except TooLongText as error:
                raise TooManyItems from error
        spans: list[msgspec.Raw] = []
        for scope in one.scopeSpans or one.scope_spans or ():
            spans += scope.spans or ()
        yield attributes, spans
