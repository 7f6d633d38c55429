"""Decodes a request with spans, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from headrace.contract.limits import (
    MAX_OTLP_BYTES,
    MAX_OTLP_CONTENT,
    MAX_OTLP_JSON_BYTES,
    MAX_OTLP_SPANS,
    MAX_SPAN_BYTES,
    MAX_SPAN_CONTENT,
    MAX_SPAN_ITEMS,
    MAX_SPAN_VALUES,
)
from headrace.otlp import json_text, protobuf
from headrace.otlp.batch import Batch, Resource
from headrace.otlp.span import Malformed, TooLongText, TooManyItems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.otlp.prices import Prices
    from headrace.otlp.span import RawSpan


class NoSpans(Exception):
    """The request has no `resource_spans`."""


class TooMuch(Exception):
    """The request as a whole exceeds a limit; the text says which."""


class Decoded:
    """The spans of a request. `rejected` ones exceed a limit, the last of which is the `reason`."""

    __slots__ = ("batch", "body_bytes", "reason", "rejected")

    def __init__(self, batch: Batch, body_bytes: int) -> None:
        self.batch = batch
        self.body_bytes = body_bytes
        self.rejected = 0
        self.reason = ""

    def reject(self, reason: str) -> None:
        """Count a rejected span."""
        self.rejected += 1
        self.reason = reason


def decode(body: bytes, prices: Prices | None, *, is_json: bool) -> Decoded:
    """The spans of a body.

    Raises Malformed, NoSpans, TooMuch, `batch.NotASpan`, and ApiError for a long session or name.
    """
    if is_json and len(body) > MAX_OTLP_JSON_BYTES:
        raise TooMuch(
            f"The request body exceeds {MAX_OTLP_JSON_BYTES} bytes of JSON. Please send fewer spans at "
            "once, or protobuf."
        )
    decoded = Decoded(Batch(prices), len(body))
    try:
        _add_all(decoded, body, is_json=is_json)
    except TooManyItems as error:
        raise TooMuch(
            f"The request has more than {MAX_OTLP_SPANS} spans, or its resources have more than "
            f"{MAX_SPAN_VALUES} values. Please send fewer at once."
        ) from error
    return decoded


def _add_all(decoded: Decoded, body: bytes, *, is_json: bool) -> None:
    batch = decoded.batch
    count = 0
    found = False
    for attributes, spans in _resources(body, is_json=is_json):
        found = True
        count += len(spans)
        if count > MAX_OTLP_SPANS:
            raise TooMuch(
                f"The request has more than {MAX_OTLP_SPANS} spans. Please send fewer at once."
            )
        resource = Resource(attributes)
        for span in spans:
            _add(decoded, body, span, resource)
            if batch.content_bytes > MAX_OTLP_CONTENT:
                raise TooMuch(
                    f"The spans of the request take more than {MAX_OTLP_CONTENT} characters as JSON. "
                    "Please send fewer at once."
                )
    if not found:
        raise NoSpans


def _resources(body: bytes, *, is_json: bool) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    return json_text.resources(body) if is_json else protobuf.resources(body)


def _add(decoded: Decoded, body: bytes, span: Any, resource: Resource) -> None:
    try:
        if isinstance(span, msgspec.Raw):
            raw: RawSpan = json_text.read_span(span)
        else:
            at, end = span
            if end - at > MAX_SPAN_BYTES:
                decoded.reject(f"a span has at most {MAX_SPAN_BYTES} bytes")
                return
            raw = protobuf.read_span(body, at, end)
        decoded.batch.add(raw, resource)
    except TooManyItems:
        decoded.reject(
            f"a span has at most {MAX_SPAN_ITEMS} attributes, events and links, and {MAX_SPAN_VALUES} "
            "values inside them"
        )
    except TooLongText:
        decoded.reject(f"a span has at most {MAX_SPAN_CONTENT} characters as JSON")


assert MAX_SPAN_BYTES <= MAX_OTLP_BYTES, "a span fits into a request"
__all__ = ["Decoded", "Malformed", "NoSpans", "TooMuch", "decode"]
