"""The results of handlers other than Structs and ApiErrors; `http.app` turns them into HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from headrace.contract.texts import as_unicode

T = TypeVar("T", bound=msgspec.Struct)

_encoder: Final = msgspec.json.Encoder()
HELD_BYTES: Final = 3 << 19  # measured: 1.6 MiB a client that does not read a search of 6 MiB
REPLACEMENT: Final = "?"  # for a lone surrogate, as in stock's answers


def encode(value: Any) -> bytes:
    """The JSON of a value or Struct. Lone surrogates, which UTF-8 cannot have, are replaced."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_as_unicode(value))


def encode_into(value: Any, buffer: bytearray, offset: int) -> None:
    """As `encode`, into a buffer from `offset` on."""
    try:
        _encoder.encode_into(value, buffer, offset)
    except UnicodeEncodeError:
        _encoder.encode_into(_as_unicode(value), buffer, offset)


def _as_unicode(value: Any) -> Any:
    plain = msgspec.to_builtins(value, builtin_types=(msgspec.Raw,))
    return as_unicode(plain, REPLACEMENT)


class Encoded:
    """An answer as JSON that is encoded once; several callers may share it."""

    __slots__ = ("body",)
    status: ClassVar[int] = 200

    def __init__(self, body: bytes) -> None:
        self.body = body


class Created(Encoded, Generic[T]):
    """An answer as JSON with the status 201."""

    __slots__ = ()
    status = 201

    def __init__(self, answer: T) -> None:
        super().__init__(encode(answer))


class NoContent(Encoded):
    """An answer without a body: 204."""

    __slots__ = ()
    status = 204

    def __init__(self) -> None:
        super().__init__(b"")


class Line(Encoded, Generic[T]):
    """An answer as JSON with a final newline, as Flask sends it."""

    __slots__ = ()

    def __init__(self, answer: T) -> None:
        super().__init__(encode(answer) + b"\n")

    @classmethod
    def of(cls, kind: type[T], body: bytes) -> Line[T]:
        """An answer of this type that is encoded already, without the newline."""
        line = cls.__new__(cls)
        line.body = body + b"\n"
        return line


class Chunks:
    """An answer as JSON in pieces; `length` is the total number of bytes if it is known.

    At most `held_bytes` of it are in memory at a time: a piece, and its copy on the way to the socket.

    The server asks the iterator for the next piece when the client has read the previous one, and
    closes it (`aclose`) when the client disconnects. The iterator must not hold a connection or a
    transaction between pieces.
    """

    __slots__ = ("held_bytes", "iterator", "length")

    def __init__(
        self,
        iterator: AsyncGenerator[bytes, None],
        length: int | None = None,
        *,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self.iterator = iterator
        self.length = length
        self.held_bytes = held_bytes


class TextRefusal(Exception):
    """400 with a text instead of MLflow's JSON."""


class NotNative(Exception):
    """The request is passed to stock MLflow through the bridge."""


class Disabled(Exception):
    """The feature of the route is disabled on this server: 503.

    `reason` is MLflow's sentence without its subject, the endpoint. With `as_json`, `reason` is the
    whole message, sent in the JSON form of stock's native routes.
    """

    def __init__(self, reason: str, *, as_json: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.as_json = as_json


@dataclass(frozen=True, slots=True)
class Beginning:
    """A page whose first items are encoded; only the keys of its other items are known."""

    encoded: Sequence[bytes]  # JSON of items, without the brackets around them
    keys: Sequence[Any]
    token: str | None  # of the next page


class TooLong(Exception):
    """A read found more than may be held in memory: the answer must be sent in pieces.

    With a `beginning`, the read does not need to be repeated.
    """

    def __init__(self, beginning: Beginning | None = None) -> None:
        self.beginning = beginning
