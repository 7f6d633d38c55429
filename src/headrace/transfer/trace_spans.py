"""Spans of MLflow's file `traces.json` as rows of the database."""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import invalid
from headrace.otlp.batch import Batch, NotASpan, Resource
from headrace.otlp.span import Event, Link, RawSpan, TooLongText, TooManyItems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from headrace.otlp.batch import TraceSpans

FILE: Final = "traces.json"
PORTION_BYTES: Final = 8 << 20  # of the spans of one transaction
_CODES: Final = {"STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2, "OK": 1, "ERROR": 2}
_ID: Final = re.compile(r"tr-[0-9a-f]{32}")


def are_rows(trace_id: str) -> bool:
    """Whether the spans of a trace can be rows: ids of MLflow 2 are not those of their spans."""
    return _ID.fullmatch(trace_id) is not None


def batches(trace_id: str, spans: Iterable[dict[str, Any]]) -> Iterator[tuple[TraceSpans, int]]:
    """Yield portions of a trace, and about how many bytes each has.

    Raises INVALID_PARAMETER_VALUE for a span that cannot be read or is beyond a limit.
    """
    batch, nothing = Batch(None), Resource({})
    for number, one in enumerate(spans):
        try:
            span = _span(one)
            span.trace_id = bytes.fromhex(trace_id.removeprefix("tr-"))
            batch.add(span, nothing)
        except (KeyError, TypeError, ValueError, AttributeError, NotASpan) as error:
            raise _refused(trace_id, number, "it is malformed") from error
        except (TooLongText, TooManyItems) as error:
            raise _refused(trace_id, number, "it is beyond the limits of a span") from error
        if batch.content_bytes > PORTION_BYTES:
            yield batch.traces[trace_id], batch.content_bytes
            batch = Batch(None)
    if batch.traces:
        yield batch.traces[trace_id], batch.content_bytes


def _refused(trace_id: str, number: int, reason: str) -> Exception:
    return invalid(f"The span {number} of the trace {trace_id} cannot be imported: {reason}")


def _span(found: dict[str, Any]) -> RawSpan:
    span = RawSpan()
    span.name = str(found["name"])
    if "context" in found:  # of MLflow 2
        span.span_id = _id(found["context"]["span_id"])
        span.parent_id = _id(found.get("parent_id"))
        span.start_ns, span.end_ns = int(found["start_time"]), int(found.get("end_time") or 0)
        code, message = found.get("status_code"), found.get("status_message")
    else:
        span.span_id = _id(found["span_id"])
        span.parent_id = _id(found.get("parent_span_id"))
        span.start_ns = int(found["start_time_unix_nano"])
        span.end_ns = int(found.get("end_time_unix_nano") or 0)
        status = found.get("status") or {}
        code, message = status.get("code"), status.get("message")
    span.code, span.message = _CODES.get(code or "", 0), str(message or "")
    attributes = found.get("attributes") or {}
    events, links = found.get("events") or [], found.get("links") or []
    span.check_items(len(attributes), len(events), len(links))
    span.attributes = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in attributes.items()
    }
    span.events = [
        Event(
            str(one["name"]),
            int(one.get("time_unix_nano") or one.get("timestamp") or 0),
            dict(one.get("attributes") or {}),
        )
        for one in events
    ]
    span.links = [
        Link(
            bytes.fromhex(one["trace_id"].removeprefix("tr-")),
            bytes.fromhex(one["span_id"]),
            dict(one.get("attributes") or {}),
        )
        for one in links
    ]
    return span


def _id(text: str | None) -> bytes:
    """Return an id: base64 of 8 bytes, or hexadecimal in files of MLflow 2, with or without `0x`."""
    if not text:
        return b""
    digits = text.removeprefix("0x")
    if len(digits) == 16:
        return bytes.fromhex(digits)
    try:
        return b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
