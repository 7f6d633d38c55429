"""Decodes bodies and query strings to Structs, and encodes Structs as JSON.

This is the fast path, with one compiled decoder per route. `proto` is the slow and exact one.
"""

from __future__ import annotations

import codecs
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from headrace.api import results
from headrace.api.results import NotNative
from headrace.contract.errors import ApiError, invalid
from headrace.contract.limits import MAX_EXPLAINED_BYTES, MAX_EXPLAINED_VALUES
from headrace.contract.texts import refuse_unstorable
from headrace.contract.value_count import exceeds
from headrace.http import proto
from headrace.http.camel import CamelDecoder
from headrace.http.typed_json import TYPED_BYTES, decode_untyped, decoder

encode: Final = results.encode


def _keep_encoded(error: UnicodeError) -> tuple[str, int]:
    """Leave bytes that are not UTF-8 percent-encoded, as stock's query parser does."""
    assert isinstance(error, UnicodeDecodeError), "only query strings are read with this"
    wrong = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in wrong), error.end


KEEP_ENCODED: Final = "headrace.keep-encoded"
codecs.register_error(KEEP_ENCODED, _keep_encoded)


MAX_SHOWN: Final = 500  # characters of the decoder's own message
_REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Decoder:
    """Decodes one request type.

    In `from_body`, only bodies that msgspec rejects take the slow path.
    """

    __slots__ = ("_camel", "_decode", "cls")

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self.cls = cls
        self._decode = msgspec.json.Decoder(cls, float_hook=float).decode
        self._camel: CamelDecoder | None = None  # created on first use

    def from_body(self, body: bytes) -> Any:
        """A Struct of the route's request type. Raises MLflow's error for a wrong body.

        The caller must check a body of more than `value_count.UNCOUNTED_BYTES` with
        `value_count.check_value_count` first.
        """
        given = None
        try:
            if len(body) <= TYPED_BYTES:
                message = self._decode(body)
            else:
                given = decode_untyped(body)
                message = msgspec.convert(given, self.cls)
        except _REFUSED as refusal:
            message = self._unusual(body, given, refusal)
        if b"\\" in body and b"\\u0000" in body:
            refuse_unstorable(message)
        return message

    def _unusual(self, body: bytes, given: Any, refusal: Exception) -> Any:
        if self._camel is None:
            self._camel = CamelDecoder(self.cls)
        try:
            if len(body) <= TYPED_BYTES:
                return self._camel.decode(body)
            if given is not None:  # otherwise the body is no JSON
                return self._camel.convert(given)
        except _REFUSED as second:
            # The first decoder stopped at the name of a field; the second one read further.
            if str(refusal).startswith("Object contains unknown field"):
                refusal = second
        if len(body) > MAX_EXPLAINED_BYTES or exceeds(body, MAX_EXPLAINED_VALUES):
            raise invalid(
                f"The request body is wrong, and too large to be explained further: "
                f"{str(refusal)[:MAX_SHOWN]}." + proto.API_DOCS
            )
        return proto.read_body(self.cls, body)

    def from_query(self, query_string: str) -> Any:
        """A Struct from a query string (`a=1&b=2`, still percent-encoded)."""
        try:
            query = parse_qs(query_string, keep_blank_values=True, errors=KEEP_ENCODED)
        except ValueError as error:
            raise invalid(str(error)) from error
        message = proto.read_query(self.cls, query)
        if "%00" in query_string:
            refuse_unstorable(message)
        return message


class PartialDecoder:
    """Decodes the requests of a `Partial` row: those of another type are left to stock MLflow."""

    __slots__ = ("_decode",)

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self._decode = decoder(cls)

    def from_body(self, body: bytes) -> Any:
        """A Struct of the row's request type. Raises NotNative."""
        try:
            return self._decode(body)
        except _REFUSED as refusal:
            raise NotNative from refusal

    def from_query(self, query_string: str) -> Any:
        """Raise NotNative: queries are left to stock MLflow."""
        raise NotNative


def check_content_type(content_type: str | None) -> None:
    """Raise unless the media type is JSON. Parameters after the media type are allowed."""
    if content_type == "application/json":
        return
    if content_type is None:
        raise invalid("Bad Request. Content-Type header is missing.")
    # An exact match, as in stock: case-sensitive, and without stripping spaces.
    if content_type.split(";", 1)[0] != "application/json":
        raise invalid("Bad Request. Content-Type must be one of ['application/json'].")


def encode_error(error: ApiError) -> bytes:
    """The body of an error answer."""
    return encode(error.body())
