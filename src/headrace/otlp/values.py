"""Attribute values as the JSON texts that MLflow stores."""

from __future__ import annotations

import json
from json import encoder
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.contract.limits import MAX_INTERPRETED, MAX_SPAN_CONTENT, MAX_SPAN_VALUES
from headrace.contract.texts import REPLACEMENT, as_unicode
from headrace.otlp.span import TooLongText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# The JSON text of a string, without ASCII escapes; written in C.
quote_short: Final[Callable[[str], str]] = encoder.encode_basestring
# Without the hook, some floats take msgspec 20 µs each.
_decode: Final = msgspec.json.Decoder(float_hook=float).decode
_check: Final = msgspec.json.Decoder(msgspec.Raw).decode
# No other thread runs during one call of C; these bounds keep each below some 20 ms.
LONG: Final = 1 << 20  # characters; a longer text is made in pieces
_UNCOUNTED: Final = 16 << 10  # characters; so few cannot be too many values
_WRAPPED: Final = frozenset('"[{ \t\n\r')  # the first character of a text that may be unwrapped

# Python's separators and no ASCII escapes, so that a LIKE finds the text; bytes as their `repr`.
dump: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode


class _NotJson:
    """The type of NOT_JSON."""


NOT_JSON: Final = _NotJson()


def quote(text: str) -> str:
    """As `quote_short`, for texts of any length. Raises TooLongText."""
    return quote_short(text) if len(text) <= LONG else decoded(gathered(quoted(text)))


def quoted(text: str) -> Iterator[str]:
    """The pieces of `quote(text)`."""
    if len(text) <= LONG:
        yield quote_short(text)
        return
    yield '"'
    for at in range(0, len(text), LONG):
        yield quote_short(text[at : at + LONG])[1:-1]
    yield '"'


def gathered(pieces: Iterable[str]) -> bytearray:
    """A long text as UTF-8. Raises TooLongText.

    As a string it takes four bytes for each character if it has one emoji.
    """
    found, size = bytearray(), 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_SPAN_CONTENT:
            raise TooLongText
        found += piece.encode("utf-8", "surrogatepass")
    return found


def decoded(text: str | bytearray) -> str:
    """The string of a text that may be `gathered`."""
    return text if isinstance(text, str) else text.decode("utf-8", "surrogatepass")


def values_in(text: str) -> int:
    """At least the number of values that a JSON text has; 0 for a string, and for a short text."""
    if len(text) <= _UNCOUNTED or text[0] == '"':
        return 0
    return text.count(",") + text.count("[") + text.count("{")


def is_opaque(text: str) -> bool:
    """Whether a JSON text is too long, or has too many values, to be interpreted."""
    if len(text) <= _UNCOUNTED or text[0] == '"':
        return False
    return len(text) > MAX_INTERPRETED or values_in(text) > MAX_SPAN_VALUES


def load(text: str) -> Any:
    """The value of a JSON text (with NaN and Infinity, as Python reads it), or NOT_JSON.

    A text that `is_opaque` is NOT_JSON.
    """
    if is_opaque(text):
        return NOT_JSON
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        # An escape of a lone surrogate, as in a text that was cut within an emoji, cannot be stored.
        return as_unicode(json.loads(text), REPLACEMENT)
    except (ValueError, RecursionError):
        return NOT_JSON


def of_text(value: str) -> str:
    """The JSON text of a string; a string that is the JSON of a string, list or object stays as it is.

    MLflow's own SDK and others encode structured values before they put them into an attribute.
    """
    if value[:1] in _WRAPPED and value and _holds_json(value):
        return value
    return quote(value)


def _holds_json(text: str) -> bool:
    """Whether a text is the JSON of a string, list or object."""
    if not is_opaque(text):
        return isinstance(load(text), str | list | dict)
    try:
        _check(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return text.lstrip()[:1] in '"[{'


def plain(text: str | None) -> Any:
    """The value of a JSON text; the text itself if it is not JSON."""
    if text is None:
        return None
    value = load(text)
    return text if value is NOT_JSON else value


def string_in(text: str) -> str:
    """The string that a JSON text holds, or the text itself if it holds anything else."""
    value = load(text)
    return value if isinstance(value, str) else text
