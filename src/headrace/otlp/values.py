"""Attribute values as the JSON texts that MLflow stores."""

from __future__ import annotations

import json
from json import encoder
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

# The JSON text of a string, without ASCII escapes; written in C.
quote: Final[Callable[[str], str]] = encoder.encode_basestring
_decode: Final = msgspec.json.Decoder().decode
_WRAPPED: Final = frozenset('"[{ \t\n\r')  # the first character of a text that may be unwrapped

# Python's separators and no ASCII escapes, so that a LIKE finds the text; bytes as their `repr`.
dump: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode


class _NotJson:
    """The type of NOT_JSON."""


NOT_JSON: Final = _NotJson()


def load(text: str) -> Any:
    """The value of a JSON text (with NaN and Infinity, as Python reads it), or NOT_JSON."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON


def of_text(value: str) -> str:
    """The JSON text of a string; a string that is the JSON of a string, list or object stays as it is.

    MLflow's own SDK and others encode structured values before they put them into an attribute.
    """
    if value[:1] in _WRAPPED and value and isinstance(load(value), str | list | dict):
        return value
    return quote(value)


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
