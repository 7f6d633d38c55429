"""Answers of handlers that are no single Struct. Nothing here knows HTTP; `http.app` sends them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import msgspec

encode: Final = msgspec.json.Encoder().encode


class Encoded:
    """An answer as JSON, encoded once, perhaps for several callers."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body


class Chunks:
    """An answer as JSON in pieces; `length` is their sum in bytes when it is known.

    The iterator is asked for the next piece when the client has taken the one before, and is closed
    (`aclose`) when the client is gone. It must hold no connection and no transaction meanwhile.
    """

    __slots__ = ("iterator", "length")

    def __init__(self, iterator: AsyncGenerator[bytes, None], length: int | None = None) -> None:
        self.iterator = iterator
        self.length = length


class TooLong(Exception):
    """What a read found is too much to be held at once: the answer has to come in pieces."""
