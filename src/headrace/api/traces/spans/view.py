"""Converts the stored form of spans to OpenTelemetry's JSON, as MLflow's clients read it.

The stored form has the values of attributes as JSON texts; the answer has typed values.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.api.results import encode
from headrace.contract.doubles import double
from headrace.contract.limits import MAX_SPAN_VALUES
from headrace.otlp.values import is_opaque, values_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    Json = dict[str, Any]

# Without the hook, some floats take msgspec 20 µs each.
_decode: Final = msgspec.json.Decoder(float_hook=float).decode
# Spans of more bytes are converted in a thread, so that the event loop runs in between.
INLINE_BYTES: Final = 64 << 10
_INT64: Final = 2**63
_TRUE: Final[Json] = {"bool_value": True}
_FALSE: Final[Json] = {"bool_value": False}
_NULL: Final[Json] = {}


def any_value(value: Any) -> Json:
    """Return a plain value as an AnyValue."""
    if isinstance(value, str):
        return {"string_value": value}
    if value is None:
        return _NULL
    if value is True:
        return _TRUE
    if value is False:
        return _FALSE
    if isinstance(value, int):
        if -_INT64 <= value < _INT64:
            return {"int_value": value}
        return {"double_value": float(value)}
    if isinstance(value, float):
        return {"double_value": double(value)}
    if isinstance(value, list):
        items = [any_value(item) for item in value]
        return {"array_value": {"values": items} if items else {}}
    pairs = [{"key": key, "value": any_value(item)} for key, item in value.items()]
    return {"kvlist_value": {"values": pairs} if pairs else {}}


def attribute_value(text: Any) -> Json:
    """Return the JSON text of an attribute as an AnyValue; a text that is not JSON as a string."""
    if not isinstance(text, str):
        return any_value(text)
    if not text:
        return _NULL
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        try:
            value = json.loads(text)  # accepts NaN
        except (ValueError, RecursionError):
            value = text
    return any_value(value)


def _plain_attributes(found: Json | None) -> list[Json]:
    return [{"key": key, "value": any_value(value)} for key, value in (found or {}).items()]


def _event(event: Json) -> Json:
    shown: Json = {}
    if event.get("time_unix_nano"):
        shown["time_unix_nano"] = int(event["time_unix_nano"])
    if event.get("name"):
        shown["name"] = event["name"]
    if event.get("attributes"):
        shown["attributes"] = _plain_attributes(event["attributes"])
    return shown


def _id(text: str, size: int) -> str | None:
    """Return an id in hex as base64 of `size` bytes; None for an id that is too long."""
    try:
        return base64.b64encode(int(text or "0", 16).to_bytes(size, "big")).decode()
    except (ValueError, OverflowError):
        return None


def _link(link: Json) -> Json | None:
    trace_id = _id(str(link.get("trace_id", "")).rpartition("/")[2].removeprefix("tr-"), 16)
    span_id = _id(str(link.get("span_id", "")), 8)
    if trace_id is None or span_id is None:
        return None  # OTLP has no place for it; MLflow leaves it out too
    shown: Json = {"trace_id": trace_id, "span_id": span_id}
    if link.get("attributes"):
        shown["attributes"] = _plain_attributes(link["attributes"])
    return shown


def _stored_id(text: str | None, size: int) -> str:
    """Return an id in base64: MLflow 3.5 stored hex, with `tr-` before the id of a trace."""
    if not text or text.endswith("="):
        return text or ""
    return _id(text.rpartition("/")[2].removeprefix("tr-"), size) or text


def span(content: str) -> Json:
    """Return a stored span in OpenTelemetry's JSON."""
    stored = _json_object(content)
    shown: Json = {
        "trace_id": _stored_id(stored.get("trace_id"), 16),
        "span_id": _stored_id(stored.get("span_id"), 8),
    }
    if stored.get("parent_span_id"):
        shown["parent_span_id"] = _stored_id(stored["parent_span_id"], 8)
    if stored.get("name"):
        shown["name"] = str(stored["name"])
    if stored.get("kind") and stored["kind"] != "SPAN_KIND_UNSPECIFIED":
        shown["kind"] = stored["kind"]
    for field in ("start_time_unix_nano", "end_time_unix_nano"):
        if stored.get(field):
            shown[field] = int(stored[field])
    attributes = stored.get("attributes")
    if attributes:
        shown["attributes"] = _attributes(attributes)
    if stored.get("events"):
        shown["events"] = [_event(event) for event in stored["events"]]
    if stored.get("links"):
        links = [link for link in map(_link, stored["links"]) if link is not None]
        if links:
            shown["links"] = links
    shown["status"] = _status(stored.get("status") or {})
    return shown


def _attributes(stored: Json) -> list[Json]:
    """Return attributes with typed values, as long as these are not too many.

    The others are strings with their JSON, which clients read as the same values.
    """
    room = MAX_SPAN_VALUES
    shown: list[Json] = []
    for key, text in stored.items():
        if isinstance(text, str) and text:
            room -= values_in(text)
            if room < 0 or is_opaque(text):
                shown.append({"key": key, "value": {"string_value": text}})
                continue
        shown.append({"key": key, "value": attribute_value(text)})
    return shown


def _status(stored: Json) -> Json:
    shown: Json = {}
    if stored.get("message"):
        shown["message"] = stored["message"]
    code = str(stored.get("code") or "UNSET").removeprefix("STATUS_CODE_")
    if code != "UNSET":
        shown["code"] = f"STATUS_CODE_{code}"
    return shown


def _json_object(content: str) -> Json:
    """Decode the content of a span; one that is not a JSON object is shown as an empty span."""
    try:
        found = _decode(content)
    except msgspec.DecodeError:
        try:
            found = json.loads(content)  # accepts NaN
        except (ValueError, RecursionError):
            found = None
    return found if isinstance(found, dict) else {}


async def spans_json(contents: Sequence[str]) -> bytes:
    """Return the JSON of spans in OpenTelemetry's form, without brackets."""
    if sum(map(len, contents)) > INLINE_BYTES:
        return await asyncio.to_thread(_spans_json, contents)
    return _spans_json(contents)


def _spans_json(contents: Sequence[str]) -> bytes:
    return encode([span(content) for content in contents])[1:-1]
