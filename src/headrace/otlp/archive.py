"""Reads `traces.pb`, the file of an archived trace: a TracesData of OpenTelemetry with one resource.

Source: mlflow/tracing/otel/otel_archival.py. The values of attributes are decoded ones, so a string
that looks like JSON is a string.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from headrace.otlp import conventions as c
from headrace.otlp import protobuf
from headrace.otlp.batch import NotASpan, base64_of, number_of, parent_of, span_id_of, span_json
from headrace.otlp.span import Malformed, TooLongText, TooManyItems
from headrace.otlp.values import decoded, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE: Final = "traces.pb"
# The archiver accepts spans of any size, since stock does.
_ANY_NUMBER: Final = 1 << 40
_RULES: Final = protobuf.Rules(quote, _ANY_NUMBER, _ANY_NUMBER)
_SPANS: Final = 2  # the number of the field
_TRACE_ID, _SPAN_ID, _PARENT_ID = (number << 3 | 2 for number in (1, 2, 4))  # tags
_START: Final = 7 << 3 | 1
_KEY: Final = Struct(">?Q8sQQ")  # has a parent, start, id; begins and ends where
_FORGET_BYTES: Final = 1 << 20


class Corrupted(Exception):
    """The file is not the archive of one trace."""


def places(data: Any, forget: Callable[[], object] | None = None) -> array[int]:
    """Begin and end of each span in the file, in the order of answers: roots, then by start and id.

    `data` are the bytes of the file, or a map of them, whose pages `forget` gives back now and then.
    Raises Corrupted.
    """
    traces: set[int] = set()
    try:
        found = list(_keys(data, traces, forget))
    except (Malformed, NotASpan, TooManyItems, IndexError, ValueError) as error:
        raise Corrupted from error
    if len(traces) != 1:
        raise Corrupted
    found.sort()
    return array("Q", [place for key in found for place in _KEY.unpack(key)[3:]])


def text(data: bytes) -> str:
    """The stored form of a span of the file. Raises Corrupted."""
    try:
        span = protobuf.read_span(data, 0, len(data), _RULES)
        number = number_of(span.trace_id, 16)
        span.attributes.setdefault(c.REQUEST_ID, f'"tr-{number:032x}"')
        shown_id = base64_of(number.to_bytes(16))
        return decoded(span_json(span, shown_id, span_id_of(span.span_id), parent_of(span)))
    except (Malformed, NotASpan, TooManyItems, TooLongText) as error:
        raise Corrupted from error


def _keys(data: Any, traces: set[int], forget: Callable[[], object] | None) -> Iterator[bytes]:
    """A key for each span, which sorts it; adds the numbers of their traces."""
    forgotten = 0
    for start, stop in _spans(data):
        ids, start_ns = _ids(data, start, stop)
        traces.add(number_of(ids.get(_TRACE_ID, b""), 16))
        is_child = any(ids.get(_PARENT_ID, b""))
        yield _KEY.pack(is_child, start_ns, span_id_of(ids.get(_SPAN_ID, b"")), start, stop)
        if forget is not None and stop - forgotten > _FORGET_BYTES:
            forgotten = stop
            forget()


def _spans(data: Any) -> Iterator[tuple[int, int]]:
    """The places of the spans, of which there is one group."""
    room = [_ANY_NUMBER]
    at, end = 0, len(data)
    for number in (1, 2):
        groups = [p for p in protobuf.parts(data, at, end, number, room) if p[0] >> 3 == number]
        if len(groups) != 1:
            raise Malformed
        _, at, end = groups[0]
    for tag, start, stop in protobuf.parts(data, at, end, 2, room):
        if tag >> 3 == _SPANS:
            yield start, stop


def _ids(data: Any, at: int, end: int) -> tuple[dict[int, bytes], int]:
    """The ids of a span by their tags, and its start."""
    ids: dict[int, bytes] = {}
    start_ns = 0
    while at < end:
        tag, at = protobuf.varint(data, at)
        stop = protobuf.skip(data, at, end, tag)
        if tag == _START:
            start_ns = int.from_bytes(data[at:stop], "little")
        elif tag in (_TRACE_ID, _SPAN_ID, _PARENT_ID):
            ids[tag] = data[protobuf.varint(data, at)[1] : stop]
        at = stop
    if at != end:
        raise Malformed
    return ids, start_ns
