"""Requests to /v1/traces that are small or legal but expensive to read, and spans that are expensive to show."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from headrace.contract.limits import MAX_OTLP_BYTES, MAX_OTLP_JSON_BYTES, MAX_SPAN_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOBUF: Final = {"Content-Type": "application/x-protobuf"}
JSON: Final = {"Content-Type": "application/json"}
HEAD_BYTES: Final = 512  # of the span and the request around an attribute
SPAN: Final = MAX_SPAN_BYTES - HEAD_BYTES
BODY: Final = MAX_OTLP_BYTES - HEAD_BYTES
JSON_BODY: Final = MAX_OTLP_JSON_BYTES - HEAD_BYTES
JSON_SPAN: Final = (
    '{"traceId":"%s","spanId":"00000000000000ab","startTimeUnixNano":"1",'
    '"endTimeUnixNano":"2","attributes":[%s]}'
)


@dataclass(frozen=True)
class Bomb:
    """A request. `trace` is the id of the trace that it makes if the server takes it."""

    name: str
    body: bytes
    trace: str
    headers: dict[str, str] = field(default_factory=lambda: dict(PROTOBUF))


def varint(number: int) -> bytes:
    """The bytes of a number."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(number: int, content: bytes) -> bytes:
    """A field with bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def span(trace: str, *fields: bytes) -> bytes:
    """A span with more fields."""
    ids = message(1, bytes.fromhex(trace)) + message(2, b"\0\0\0\0\0\0\0\1")
    return ids + b"\x39" + b"\1" + bytes(7) + b"\x41" + b"\2" + bytes(7) + b"".join(fields)


def request(*spans: bytes, resource: bytes = b"") -> bytes:
    """A request with these spans."""
    scope = b"".join(message(2, one) for one in spans)
    return message(1, (message(1, resource) if resource else b"") + message(2, scope))


def attribute(value: bytes, key: bytes = b"mlflow.spanInputs", number: int = 9) -> bytes:
    """An attribute of a span, or of another message that has it as another field."""
    return message(number, message(1, key) + message(2, value))


def text(value: bytes) -> bytes:
    """A value that is a text."""
    return message(1, value)


def texts() -> Iterator[tuple[str, bytes]]:
    """Texts as long as a span may have them; an attribute's text may be JSON."""
    yield "letters", b"a" * SPAN
    yield "quotes", b'"' * SPAN
    yield "control characters", b"\1" * (SPAN // 4)
    yield "letters and a smile", b"a" * (SPAN - 4) + "😀".encode()
    yield "JSON of empty lists", b"[" + b",".join([b"[]"] * (SPAN // 3)) + b"]"
    yield "JSON of empty objects", b"[" + b",".join([b"{}"] * (SPAN // 3)) + b"]"
    yield "JSON of numbers", b"[" + b",".join([b"1"] * (SPAN // 2)) + b"]"
    yield "JSON of NaN", b"[" + b",".join([b"NaN"] * (SPAN // 4)) + b"]"
    yield "JSON of awkward floats", b"[" + b",".join([b"1.7976931348623157e308"] * 50_000) + b"]"
    yield "JSON of long integers", b"[" + b",".join([b"9" * 4000] * 4000) + b"]"
    yield "JSON that does not end", b"[" * SPAN
    yield "JSON of escapes", b'"' + b"\\n" * (SPAN // 2 - 1) + b'"'
    yield "JSON of a long key", b'{"' + b"k" * (SPAN - 8) + b'":1}'


def values() -> Iterator[tuple[str, bytes]]:
    """Values of an attribute that are not texts."""
    yield "an array of nothing", message(5, message(1, b"") * (SPAN // 2))
    yield "an array of true", message(5, message(1, b"\x10\1") * (SPAN // 4))
    arrays = message(5, message(1, message(5, message(1, b"") * 50)) * (SPAN // 120))
    yield "arrays of arrays", arrays
    yield "an object without names", message(6, message(1, b"") * (SPAN // 2))
    yield "one value many times", b"\x10\1" * (SPAN // 2)
    yield "bytes", message(7, b"\xff" * SPAN)
    deep = b""
    for _ in range(40_000):
        deep = message(5, message(1, deep))
        if len(deep) > SPAN // 64:
            break
    yield "nested values", deep


def protobuf() -> Iterator[tuple[str, bytes]]:
    """Requests whose messages are many, empty or unknown."""
    one = "00" * 15 + "99"
    yield "empty resources", message(1, b"") * (BODY // 2)
    yield "empty scopes", message(1, message(2, b"") * (BODY // 2))
    yield "empty spans", request(*[b""] * (BODY // 2))
    yield "unknown fields", b"\x78\1" * (BODY // 2)
    yield "unknown fields of a span", request(span(one, b"\x78\1" * (SPAN // 2)))
    yield "groups", b"\x7b" * BODY
    yield "empty attributes", request(span(one, message(9, b"") * (SPAN // 2)))
    yield "empty events", request(span(one, message(11, b"") * (SPAN // 2)))
    yield "events", request(span(one, message(11, message(2, b"e")) * 9_999))
    events = message(11, attribute(message(5, message(1, b"") * (SPAN // 2)), number=3))
    yield "an event with an array of nothing", request(span(one, events))
    yield (
        "attributes of a resource",
        request(span(one), resource=attribute(text(b"v"), b"k", 1) * (BODY // 12)),
    )
    yield (
        "an array of a resource",
        request(span(one), resource=attribute(message(5, message(1, b"") * (BODY // 2)), b"k", 1)),
    )
    yield "a name", request(span(one, message(5, b"n" * SPAN)))
    smile = b"a" * (SPAN - 64) + "😀".encode()
    two = [span(f"{number:032x}", attribute(text(smile))) for number in (0x97, 0x98)]
    yield "two texts with a smile", request(*two)
    yield "a name with a smile", request(span(one, message(5, smile)))
    yield "an event with a smile", request(span(one, message(11, attribute(text(smile), number=3))))
    yield "a link with a smile", request(span(one, message(13, attribute(text(smile), number=4))))
    yield "a status with a smile", request(span(one, message(15, message(2, smile) + b"\x18\2")))
    yield "a key", request(span(one, attribute(text(b"v"), b"k" * (SPAN - 64))))
    quotes = [attribute(text(b'"' * 1500), f"k{n}".encode()) for n in range(9_990)]
    yield "many texts of quotes", request(span(one, *quotes))
    yield "long varints", b"\xff" * BODY


def json_bodies() -> Iterator[tuple[str, bytes]]:
    """Requests in JSON."""

    def whole(spans: str) -> bytes:
        return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}'.encode()

    one = "00" * 15 + "98"
    yield "JSON, empty spans", whole(",".join(["{}"] * (JSON_BODY // 3)))
    yield "JSON, numbers as spans", whole(",".join(["1"] * (JSON_BODY // 2)))
    yield "JSON, unknown", b'{"x":[' + b",".join([b"[]"] * (JSON_BODY // 3)) + b"]}"
    for name, item in (
        ("attributes", "{}"),
        ("floats", '{"key":"k","value":{"doubleValue":1.7976931348623157e308}}'),
        ("integers", '{"key":"k","value":{"intValue":%s}}' % ("9" * 4000)),
        ("lists", "[[]]"),
    ):
        many = ",".join([item] * (JSON_BODY // (len(item) + 1)))
        yield f"JSON, {name}", whole(JSON_SPAN % (one, many))
    values = ",".join(['{"boolValue":true}'] * 99_000)
    nested = f'{{"key":"k","value":{{"arrayValue":{{"values":[{values}]}}}}}}'
    yield "JSON, an array", whole(JSON_SPAN % (one, nested))
    yield "JSON, brackets", b'{"resourceSpans":' + b"[" * (JSON_BODY - 20)


def bombs() -> Iterator[Bomb]:
    """All of them, with compressed ones."""
    attributes = chain(((f"a text of {n}", text(t)) for n, t in texts()), values())
    for number, (name, value) in enumerate(attributes, 1):
        trace = f"{number:032x}"
        yield Bomb(name, request(span(trace, attribute(value))), trace)
    for name, body in protobuf():
        yield Bomb(name, body, "00" * 15 + "99")
    for name, body in json_bodies():
        yield Bomb(name, body, "00" * 15 + "98", dict(JSON))
    zeros = bytes(MAX_OTLP_BYTES)
    spaces = b" " * MAX_OTLP_BYTES
    for encoding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        headers = PROTOBUF | {"Content-Encoding": encoding}
        yield Bomb(f"{encoding} of zeros", pack(zeros), "", headers)
        yield Bomb(f"{encoding} of too much", pack(zeros + zeros), "", headers)
        yield Bomb(f"{encoding} of blanks", pack(spaces), "", JSON | {"Content-Encoding": encoding})
    many = gzip.compress(b"") * 400_000
    yield Bomb("empty members", many, "", PROTOBUF | {"Content-Encoding": "gzip"})
