"""Bodies and query strings to Structs, Structs to JSON bytes: the fast way, once compiled per route."""

from __future__ import annotations

import codecs
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from headrace.errors import ApiError, invalid
from headrace.http import proto

_encoder: Final = msgspec.json.Encoder()
encode = _encoder.encode


def _keep_encoded(error: UnicodeError) -> tuple[str, int]:
    """Leave bytes that are not UTF-8 percent-encoded, as stock's query parser does."""
    assert isinstance(error, UnicodeDecodeError), "only query strings are read with this"
    wrong = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in wrong), error.end


KEEP_ENCODED: Final = "headrace.keep-encoded"
codecs.register_error(KEEP_ENCODED, _keep_encoded)


class Decoder:
    """Reads one request type. `from_body` is the hot path: msgspec in C, the exact reading only on refusal."""

    __slots__ = ("_decode", "cls")

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self.cls = cls
        self._decode = msgspec.json.Decoder(cls).decode

    def from_body(self, body: bytes) -> Any:
        """A Struct of the route's request type. Raises MLflow's error for a wrong body."""
        try:
            return self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return proto.read_body(self.cls, body)

    def from_query(self, query_string: str) -> Any:
        """A Struct from a query string (`a=1&b=2`, still percent-encoded)."""
        try:
            query = parse_qs(query_string, keep_blank_values=True, errors=KEEP_ENCODED)
        except ValueError as error:
            raise invalid(str(error)) from error
        return proto.read_query(self.cls, query)


def check_content_type(content_type: str | None) -> None:
    """POST and PUT must say they send JSON (parameters after the media type are allowed)."""
    if content_type == "application/json":
        return
    if content_type is None:
        raise invalid("Bad Request. Content-Type header is missing.")
    # To the letter, as stock: no other case, no blanks around.
    if content_type.split(";", 1)[0] != "application/json":
        raise invalid("Bad Request. Content-Type must be one of ['application/json'].")


def encode_error(error: ApiError) -> bytes:
    """The body of an error answer."""
    return encode(error.body())
