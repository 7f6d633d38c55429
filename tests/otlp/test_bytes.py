"""Bytes are read as protobuf's own parser reads them, and bad ones are refused without harm."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.otlp import messages

from headrace.contract.limits import MAX_INTERPRETED, MAX_SPAN_VALUES
from headrace.otlp import protobuf, values
from headrace.otlp.inflate import MAX_MEMBERS, Broken, TooLarge, inflated
from headrace.otlp.span import Malformed, RawSpan, TooManyItems


def ours(body: bytes) -> list[RawSpan] | None:
    """The spans of the bytes; None if they are refused."""
    try:
        return [
            protobuf.read_span(body, at, end)
            for _, places in protobuf.resources(body)
            for at, end in places
        ]
    except Malformed:
        return None


def theirs(body: bytes) -> list[Any] | None:
    """The same by protobuf's parser."""
    parsed = ExportTraceServiceRequest()
    try:
        parsed.ParseFromString(body)
    except DecodeError:
        return None
    return [
        span
        for resource in parsed.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def mutated(body: bytes, rng: random.Random) -> bytes:
    """The bytes with a few of them changed, removed or repeated."""
    data = bytearray(body)
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[place] = rng.randrange(256)
        elif kind == 1:
            del data[place : place + rng.randrange(1, 9)]
        elif kind == 2:
            data[place:place] = rng.randbytes(rng.randrange(1, 9))
        else:
            data[place] ^= 1 << rng.randrange(8)
        if not data:
            return b""
    return bytes(data)


@pytest.mark.parametrize("seed", range(20))
def test_mutated_bytes_are_read_as_by_protobuf(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(400):
        body = mutated(messages.request(rng, 2).SerializeToString(), rng)
        spans, expected = ours(body), theirs(body)
        if expected is None:
            # Scopes, which no one reads, are not checked.
            continue
        assert spans is not None, body.hex()
        assert len(spans) == len(expected)
        for span, other in zip(spans, expected, strict=True):
            assert span.trace_id == other.trace_id
            assert span.span_id == other.span_id
            assert span.parent_id == other.parent_span_id
            assert span.name == other.name
            assert span.start_ns == other.start_time_unix_nano
            assert span.end_ns == other.end_time_unix_nano
            assert span.message == other.status.message
            assert list(span.attributes) == list(dict.fromkeys(a.key for a in other.attributes))
            assert [event.name for event in span.events] == [e.name for e in other.events]
            assert [link.span_id for link in span.links] == [one.span_id for one in other.links]


def test_random_bytes_are_refused_or_read() -> None:
    rng = random.Random(1)
    for _ in range(5000):
        ours(rng.randbytes(rng.randrange(60)))


def test_values_nested_too_deeply_are_refused() -> None:
    value = b"\x0a\x01x"
    for _ in range(5000):
        array = b"\x0a" + varint(len(value)) + value
        value = b"\x2a" + varint(len(array)) + array
    attribute = b"\x0a\x01k\x12" + varint(len(value)) + value
    span = b"\x4a" + varint(len(attribute)) + attribute
    with pytest.raises(Malformed):
        protobuf.read_span(span, 0, len(span))


def varint(number: int) -> bytes:
    """The bytes of a number."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def test_a_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20))
    size = 0
    with pytest.raises(TooLarge):
        for piece in inflated(bomb, "gzip", 1 << 20):
            size += len(piece)
    assert size <= 1 << 20
    for body, encoding in (
        (gzip.compress(b"abc") + gzip.compress(b"def"), "gzip"),
        (zlib.compress(b"abcdef"), "deflate"),
        (zlib.compress(b"abcdef")[2:-4], "deflate"),
    ):
        assert b"".join(inflated(body, encoding, 100)) == b"abcdef"
    members = gzip.compress(b"") * (MAX_MEMBERS + 1)
    for broken in (b"", b"\x1f\x8b", bomb[:100], b"plain text", members):
        with pytest.raises(Broken):
            list(inflated(broken, "gzip", 100 << 20))


def attribute(value: str) -> bytes:
    """A span with one attribute that is a text."""
    text = value.encode()
    inner = b"\x0a" + varint(len(text)) + text
    pair = b"\x0a\x01k\x12" + varint(len(inner)) + inner
    return b"\x4a" + varint(len(pair)) + pair


@pytest.mark.parametrize("item", ["[]", "{}", '"é"', "1.5"])
def test_long_json_is_stored_as_it_is(item: str) -> None:
    """Text that is too long to be interpreted is JSON too, if it is valid; else it is a string."""
    text = "[" + ",".join([item] * (MAX_INTERPRETED // len(item))) + "]"
    for sent, stored in ((text, text), (text[:-1], json.dumps(text[:-1], ensure_ascii=False))):
        span = attribute(sent)
        assert protobuf.read_span(span, 0, len(span)).attributes["k"] == stored


def test_long_texts_are_quoted_as_short_ones() -> None:
    text = '"\\\n\té😀\x01' * 400_000
    assert values.quote(text) == json.dumps(text, ensure_ascii=False)


def test_a_span_with_too_many_nested_values_is_rejected() -> None:
    array = b"\x0a\x00" * MAX_SPAN_VALUES
    for extra, fits in ((b"", True), (b"\x0a\x00", False)):
        inner = array + extra
        value = b"\x2a" + varint(len(inner)) + inner
        pair = b"\x0a\x01k\x12" + varint(len(value)) + value
        span = b"\x4a" + varint(len(pair)) + pair
        if fits:
            assert protobuf.read_span(span, 0, len(span)).attributes["k"].count("null") == 100_000
        else:
            with pytest.raises(TooManyItems):
                protobuf.read_span(span, 0, len(span))
