"""Reads an ExportTraceServiceRequest from its protobuf bytes.

Written by hand: the messages are few, and each value becomes the text that is stored, without an
object in between. Source: opentelemetry/proto/{collector/trace,trace,common}/v1; the wire format of
protobuf 3. Unknown fields are skipped; the last value of a repeated scalar field counts.
"""

from __future__ import annotations

import base64
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.contract.limits import MAX_OTLP_SPANS, MAX_SPAN_ITEMS, MAX_SPAN_VALUES
from headrace.otlp.span import Event, Link, Malformed, RawSpan, TooManyItems
from headrace.otlp.values import dump, of_text, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Quote = Callable[[str], str]

MAX_DEPTH: Final = 100  # protobuf's limit of nested messages
_double: Final = Struct("<d").unpack_from
_fixed64: Final = Struct("<Q").unpack_from
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
# Tags: number of the field << 3 | wire type.
_F1, _F2, _F3, _F4, _F5, _F7, _F8, _F9, _F11, _F13, _F15 = (
    number << 3 | _BYTES for number in (1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 15)
)

_LONG: Final = 1 << 62  # for a length of more than two bytes: longer than any request


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place of 10 bytes at most, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise Malformed


def _length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The place where the field of a length begins, and where it ends."""
    size = data[at]
    at += 1
    if size > 0x7F:
        size, at = varint(data, at - 1)
    stop = at + size
    if stop > end:
        raise Malformed
    return at, stop


def skip(data: bytes, at: int, end: int, tag: int, depth: int = 0) -> int:
    """The place after a field of no interest."""
    kind = tag & 7
    if tag < 8 or depth > MAX_DEPTH:  # fields are numbered from 1
        raise Malformed
    if kind == _VARINT:
        at = varint(data, at)[1]
    elif kind == _FIXED64:
        at += 8
    elif kind == _BYTES:
        at = _length(data, at, end)[1]
    elif kind == _FIXED32:
        at += 4
    elif kind == _GROUP:
        while True:
            inner, at = varint(data, at)
            if inner & 7 == _END_GROUP:
                if inner >> 3 != tag >> 3:
                    raise Malformed
                break
            at = skip(data, at, end, inner, depth + 1)
    else:
        raise Malformed
    if at > end:
        raise Malformed
    return at


def _take(room: list[int]) -> None:
    """Count a nested value. Raises TooManyItems."""
    room[0] -= 1
    if room[0] < 0:
        raise TooManyItems


def _any_value(
    data: bytes, at: int, end: int, depth: int, room: list[int], value: Any = None
) -> Any:
    """The Python value of an AnyValue; `value` is that of an earlier part of the same message."""
    if depth > MAX_DEPTH:
        raise Malformed
    while at < end:
        tag, at = varint(data, at)
        if tag == 10:  # string_value
            at, stop = _length(data, at, end)
            value = str(data[at:stop], "utf-8")
            at = stop
        elif tag == 16:  # bool_value
            number, at = varint(data, at)
            value = number != 0
        elif tag == 24:  # int_value
            number, at = varint(data, at)
            value = number - (1 << 64) if number >> 63 else number
        elif tag == 33:  # double_value
            if at + 8 > end:
                raise Malformed
            value = _double(data, at)[0]
            at += 8
        elif tag == 42:  # array_value: parts of one message are joined
            at, stop = _length(data, at, end)
            value = value if isinstance(value, list) else []
            _array(data, at, stop, depth + 1, room, value)
            at = stop
        elif tag == 50:  # kvlist_value
            at, stop = _length(data, at, end)
            value = value if isinstance(value, dict) else {}
            _key_values(data, at, stop, depth + 1, room, value)
            at = stop
        elif tag == 58:  # bytes_value
            at, stop = _length(data, at, end)
            value = data[at:stop]
            at = stop
        else:
            _take(room)
            at = skip(data, at, end, tag)
    if at != end:
        raise Malformed
    return value


def _array(data: bytes, at: int, end: int, depth: int, room: list[int], values: list[Any]) -> None:
    while at < end:
        tag, at = varint(data, at)
        if tag == _F1:
            at, stop = _length(data, at, end)
            _take(room)
            values.append(_any_value(data, at, stop, depth + 1, room))
            at = stop
        else:
            _take(room)
            at = skip(data, at, end, tag)
    if at != end:
        raise Malformed


def _key_values(
    data: bytes, at: int, end: int, depth: int, room: list[int], values: dict[str, Any]
) -> None:
    while at < end:
        tag, at = varint(data, at)
        if tag == _F1:
            at, stop = _length(data, at, end)
            _take(room)
            key, value = _key_value(data, at, stop, depth + 1, room)
            values[key] = value
            at = stop
        else:
            _take(room)
            at = skip(data, at, end, tag)
    if at != end:
        raise Malformed


def _key_value(data: bytes, at: int, end: int, depth: int, room: list[int]) -> tuple[str, Any]:
    key, value = "", None
    while at < end:
        tag = data[at]
        at += 1
        if tag == _F1:
            at, stop = _length(data, at, end)
            key = str(data[at:stop], "utf-8")
            at = stop
        elif tag == _F2:
            at, stop = _length(data, at, end)
            value = _any_value(data, at, stop, depth + 1, room, value)
            at = stop
        else:
            _take(room)
            tag, at = varint(data, at - 1)
            at = skip(data, at, end, tag)
    if at != end:
        raise Malformed
    return key, value


def _attribute(
    data: bytes, at: int, end: int, texts: dict[str, str], room: list[int], of: Quote
) -> None:
    """Add the stored text of an attribute. Strings, the most frequent values, take a short path.

    Lengths of one and two bytes are read in place: a call costs as much as the rest of the path.
    """
    start = at
    if end - at > 4 and data[at] == _F1 and (size := data[at + 1]) < 0x80:
        key_end = at = at + 2 + size
        # The value: a message that has only a string.
        if at + 4 <= end and data[at] == _F2:
            size = data[at + 1]
            at += 2
            if size > 0x7F:
                size = size + (data[at] - 1 << 7) if data[at] < 0x80 else _LONG
                at += 1
            if at + size == end and at < end and data[at] == 10:
                size = data[at + 1]
                at += 2
                if size > 0x7F:
                    size = size + (data[at] - 1 << 7) if data[at] < 0x80 else _LONG
                    at += 1
                if at + size == end:
                    key = data[start + 2 : key_end].decode()
                    texts[key] = of(data[at:end].decode())
                    return
    key, value = _key_value(data, start, end, 4, room)
    texts[key] = of(value) if isinstance(value, str) else text_of(value)


def text_of(value: Any) -> str:
    """The stored text of an attribute's value."""
    if isinstance(value, str):
        return of_text(value)
    if isinstance(value, bytes):
        return quote(str(value))
    return dump(value)


def _event(data: bytes, at: int, end: int, room: list[int]) -> Event:
    time_ns, name = 0, ""
    attributes: dict[str, Any] = {}
    while at < end:
        tag, at = varint(data, at)
        if tag == 9:  # time_unix_nano
            time_ns = _fixed64(data, at)[0]
            at += 8
        elif tag == _F2:
            at, stop = _length(data, at, end)
            name = str(data[at:stop], "utf-8")
            at = stop
        elif tag == _F3:
            at, stop = _length(data, at, end)
            _take(room)
            key, attributes_value = _key_value(data, at, stop, 5, room)
            attributes[key] = attributes_value
            at = stop
        else:
            _take(room)
            at = skip(data, at, end, tag)
    if at != end:
        raise Malformed
    return Event(name, time_ns, attributes)


def _link(data: bytes, at: int, end: int, room: list[int]) -> Link:
    trace_id = span_id = b""
    attributes: dict[str, Any] = {}
    while at < end:
        tag, at = varint(data, at)
        if tag in (_F1, _F2):
            at, stop = _length(data, at, end)
            if tag == _F1:
                trace_id = data[at:stop]
            else:
                span_id = data[at:stop]
            at = stop
        elif tag == _F3:  # trace_state, a string
            at, stop = _length(data, at, end)
            str(data[at:stop], "utf-8")
            at = stop
        elif tag == _F4:
            at, stop = _length(data, at, end)
            _take(room)
            key, value = _key_value(data, at, stop, 5, room)
            is_bytes = isinstance(value, bytes)
            attributes[key] = base64.b64encode(value).decode() if is_bytes else value
            at = stop
        else:
            _take(room)
            at = skip(data, at, end, tag)
    if at != end:
        raise Malformed
    return Link(trace_id, span_id, attributes)


def _status(data: bytes, at: int, end: int, code: int, message: str) -> tuple[int, str]:
    while at < end:
        tag, at = varint(data, at)
        if tag == _F2:
            at, stop = _length(data, at, end)
            message = str(data[at:stop], "utf-8")
            at = stop
        elif tag == 24:
            code, at = varint(data, at)
        else:
            at = skip(data, at, end, tag)
    if at != end:
        raise Malformed
    return code, message


class Rules(NamedTuple):
    """How spans are read: the stored text of an attribute that is a string; the most of what a span may have."""

    of: Quote
    items: int  # attributes, events and links
    values: int  # inside of them


SENT: Final = Rules(of_text, MAX_SPAN_ITEMS, MAX_SPAN_VALUES)


def read_span(data: bytes, at: int, end: int, rules: Rules = SENT) -> RawSpan:  # noqa: C901 one branch per field
    """The span between two places. Raises Malformed, TooManyItems."""
    span = RawSpan()
    texts = span.attributes
    of, most_items, values = rules
    items, room = 0, [values]  # how many more nested values the span may have
    try:
        while at < end:
            tag = data[at]
            at += 1
            if tag > 0x7F:
                tag, at = varint(data, at - 1)
            if tag & 7 == _BYTES:
                size = data[at]
                at += 1
                stop = at + size
                if size > 0x7F or stop > end:
                    at, stop = _length(data, at - 1, end)
                if tag == _F9:
                    items += 1
                    if items > most_items:
                        raise TooManyItems
                    _attribute(data, at, stop, texts, room, of)
                elif tag == _F1:
                    span.trace_id = data[at:stop]
                elif tag == _F2:
                    span.span_id = data[at:stop]
                elif tag == _F4:
                    span.parent_id = data[at:stop]
                elif tag == _F5:
                    span.name = data[at:stop].decode()
                elif tag in (_F11, _F13):
                    items += 1
                    if items > most_items:
                        raise TooManyItems
                    if tag == _F11:
                        span.events.append(_event(data, at, stop, room))
                    else:
                        span.links.append(_link(data, at, stop, room))
                elif tag == _F15:
                    span.code, span.message = _status(data, at, stop, span.code, span.message)
                elif tag == _F3:  # trace_state, a string
                    str(data[at:stop], "utf-8")
                elif tag < 8:
                    raise Malformed
                at = stop
            elif tag == 57:  # start_time_unix_nano
                span.start_ns = _fixed64(data, at)[0]
                at += 8
            elif tag == 65:  # end_time_unix_nano
                span.end_ns = _fixed64(data, at)[0]
                at += 8
            else:
                _take(room)
                at = skip(data, at, end, tag)
    except (IndexError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Malformed from error
    if at != end:
        raise Malformed
    return span


def parts(
    data: bytes, at: int, end: int, number: int, room: list[int]
) -> Iterator[tuple[int, int, int]]:
    """The tag and the place of each field with bytes, those of `number` and lower; others are skipped.

    Raises TooManyItems.
    """
    try:
        while at < end:
            _take(room)
            tag, at = varint(data, at)
            if tag & 7 == _BYTES and tag >> 3 <= number:
                at, stop = _length(data, at, end)
                if tag < 8:
                    raise Malformed
                yield tag, at, stop
                at = stop
            else:
                at = skip(data, at, end, tag)
    except IndexError as error:
        raise Malformed from error
    if at != end:
        raise Malformed


def _resource(data: bytes, at: int, end: int, room: list[int], attributes: dict[str, Any]) -> None:
    try:
        for tag, start, stop in parts(data, at, end, 1, room):
            if tag == _F1:
                key, value = _key_value(data, start, stop, 4, room)
                attributes[key] = value
    except (IndexError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Malformed from error


def resources(data: bytes) -> Iterator[tuple[dict[str, Any], list[tuple[int, int]]]]:
    """For each ResourceSpans: the attributes of its resource, and the places of its spans.

    Raises Malformed, TooManyItems (more spans, resources and their values than the limit).
    """
    room = [MAX_OTLP_SPANS + MAX_SPAN_VALUES]
    for tag, start, stop in parts(data, 0, len(data), 1, room):
        if tag != _F1:
            continue
        attributes: dict[str, Any] = {}
        places: list[tuple[int, int]] = []
        for inner, at, end in parts(data, start, stop, 2, room):
            if inner == _F1:
                _resource(data, at, end, room, attributes)
            elif inner == _F2:
                places += [(a, b) for t, a, b in parts(data, at, end, 2, room) if t == _F2]
        yield attributes, places
