"""The results of handlers besides a Struct and an ApiError. Nothing here knows HTTP; `http.app` sends them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

_encoder: Final = msgspec.json.Encoder()
encode: Final = _encoder.encode
encode_into: Final = _encoder.encode_into


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


class NotNative(Exception):
    """The request is left to stock MLflow, across the bridge."""


class Disabled(Exception):
    """The server runs without the feature that a route belongs to: 503.

    `reason` is MLflow's sentence without its subject, the endpoint. With `as_json` it is the whole message,
    in the JSON form of stock's native routes.
    """

    def __init__(self, reason: str, *, as_json: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.as_json = as_json


@dataclass(frozen=True, slots=True)
class Beginning:
    """A page whose first items are encoded, and of whose other items only the keys are known."""

    encoded: Sequence[bytes]  # JSON of items, without the brackets around them
    keys: Sequence[Any]
    token: str | None  # of the next page


class TooLong(Exception):
    """What a read found is too much to be held at once: the answer has to come in pieces.

    With a `beginning`, the read need not be repeated.
    """

    def __init__(self, beginning: Beginning | None = None) -> None:
        self.beginning = beginning
