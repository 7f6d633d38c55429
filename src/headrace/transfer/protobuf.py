"""The fields of a protobuf message, for the few messages that importers read."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from headrace.error import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
DOUBLE: Final = Struct("<d")
FLOAT: Final = Struct("<f")


class Malformed(Error, ValueError):
    """The bytes are no protobuf message."""


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field.

    A varint is an int; a fixed number (4 or 8 bytes, little endian) and everything with a length are bytes.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise Malformed(f"wire type {kind}")
        if at + size > end:
            raise Malformed("the message is cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("the message is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def message(value: int | bytes) -> bytes:
    """Return the bytes of a field with a length."""
    if not isinstance(value, bytes):
        raise Malformed("a number instead of a message")
    return value


def text(value: int | bytes) -> str:
    """Return the text of a field."""
    return message(value).decode("utf-8", "replace")


def signed(value: int | bytes) -> int:
    """Return a field of the type int64, int32 or enum."""
    if not isinstance(value, int):
        raise Malformed("a text instead of a number")
    return value - (1 << 64) if value >> 63 else value


def double(value: int | bytes) -> float:
    """Return a field of the type double, or float."""
    found = message(value)
    if len(found) not in (4, 8):
        raise Malformed("a number of another size")
    return float((DOUBLE if len(found) == 8 else FLOAT).unpack(found)[0])
