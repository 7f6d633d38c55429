"""Counts the values of a JSON body before decoding it, to bound the time on the event loop.

The JSON decoder reads a text of many megabytes in some ten milliseconds, but a million small values
take it, and every later check, seconds. So values are counted first, without creating them. A large
body is counted in pieces, and other requests run in between.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import MAX_BODY_VALUES, MAX_JSON_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

# A body of this size cannot exceed the limit: each value takes a character and a comma.
UNCOUNTED_BYTES: Final = 2 * MAX_BODY_VALUES
_PIECE_BYTES: Final = 4 << 20
_PIECE_TOKENS: Final = 10_000
# The rest of a string, or a part of the rest.
_TEXT: Final = rb'[^"\\]*+(?:\\.[^"\\]*+){0,9999}+(")?'
_REST: Final = re.compile(_TEXT, re.DOTALL).match
# The text up to and including the next comma, string or end. The group tells which, or None for an
# incomplete string.
_TOKEN: Final = re.compile(rb'[^",]*+(?:"' + _TEXT + rb"|(,)|(\Z))", re.DOTALL).match
_COMMA: Final = 2
_TOKENS_PER_VALUE: Final = 3  # a comma, the name of a field, a text


async def check_value_count(body: bytes) -> None:
    """Raise BAD_REQUEST beyond MAX_JSON_BYTES bytes, INVALID_PARAMETER_VALUE beyond MAX_BODY_VALUES values."""
    if len(body) > MAX_JSON_BYTES:
        raise ApiError(ErrorCode.BAD_REQUEST, f"Request body exceeds {MAX_JSON_BYTES} bytes")
    for more in _count(body, MAX_BODY_VALUES):
        if more:
            raise invalid(
                f"The request body holds more than {MAX_BODY_VALUES} values. "
                "Please split it up across multiple requests and try again."
            )
        await asyncio.sleep(0)


async def check_text_values(text: str, limit: int, name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE if the JSON text in a field has more than `limit` values."""
    if len(text) <= 2 * limit:
        return
    for more in _count(text.encode("utf-8", "surrogatepass"), limit):
        if more:
            raise invalid(
                f"The parameter '{name}' holds more than {limit} values. "
                "Please split it up across multiple requests and try again."
            )
        await asyncio.sleep(0)


def exceeds(body: bytes, values: int) -> bool:
    """Whether a JSON body has more than `values` values. Only for small bodies: it does not yield."""
    return any(_count(body, values))


def _count(body: bytes, values: int) -> Iterator[bool]:
    """Yields after each piece whether the limit is known to be exceeded."""
    commas = 0
    for start in range(0, len(body), _PIECE_BYTES):
        yield False
        commas += body.count(b",", start, start + _PIECE_BYTES)
        if commas > values:
            break
    else:
        return
    # Some commas may be inside strings.
    place = commas = tokens = 0
    inside = False
    while place < len(body):
        found = _REST(body, place) if inside else _TOKEN(body, place)
        if found is None or found.end() == place:  # a string that ends with a backslash
            return
        place = found.end()
        inside = found.lastindex is None
        commas += found.lastindex == _COMMA
        tokens += 1
        if commas > values or tokens > _TOKENS_PER_VALUE * values:
            yield True
            return
        if inside or tokens % _PIECE_TOKENS == 0:
            yield False
