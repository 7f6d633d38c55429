"""How much is in a JSON body, before anything is made of it: the event loop has a budget.

Reading a text of many megabytes takes the JSON decoder some ten milliseconds; a million small values take
it, and every rule after it, seconds. So values are counted, without making any. A large body is looked
at in pieces, and other requests have their turn between them.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import MAX_BODY_VALUES, MAX_JSON_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

# A body of this size cannot hold more values: each takes a character and a comma.
LIGHT_BYTES: Final = 2 * MAX_BODY_VALUES
_PIECE_BYTES: Final = 4 << 20
_PIECE_TOKENS: Final = 10_000
# The rest of a string, or a piece of it.
_TEXT: Final = rb'[^"\\]*+(?:\\.[^"\\]*+){0,9999}+(")?'
_REST: Final = re.compile(_TEXT, re.DOTALL).match
# What comes before the next comma, string or the end, and that. A group tells what ends there, but for a
# string that goes on.
_TOKEN: Final = re.compile(rb'[^",]*+(?:"' + _TEXT + rb"|(,)|(\Z))", re.DOTALL).match
_COMMA: Final = 2
_TOKENS_PER_VALUE: Final = 3  # a comma, the name of a field, a text


async def check_weight(body: bytes) -> None:
    """Refuse a body of more than MAX_JSON_BYTES bytes or MAX_BODY_VALUES values (INVALID_PARAMETER_VALUE)."""
    if len(body) > MAX_JSON_BYTES:
        raise ApiError(ErrorCode.BAD_REQUEST, f"Request body exceeds {MAX_JSON_BYTES} bytes")
    for more in _looks(body, MAX_BODY_VALUES):
        if more:
            raise invalid(
                f"The request body holds more than {MAX_BODY_VALUES} values. "
                "Please split it up across multiple requests and try again."
            )
        await asyncio.sleep(0)


def holds_more(body: bytes, values: int) -> bool:
    """Whether a JSON body holds more than that many values; to be asked of small ones."""
    return any(_looks(body, values))


def _looks(body: bytes, values: int) -> Iterator[bool]:
    """Whether there are more values, as far as is known after each piece."""
    commas = 0
    for start in range(0, len(body), _PIECE_BYTES):
        yield False
        commas += body.count(b",", start, start + _PIECE_BYTES)
        if commas > values:
            break
    else:
        return
    # Some may be inside of strings.
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
