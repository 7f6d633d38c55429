"""Converts rows of assessments to their form in answers."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.api.traces.assessments.types import (
    AssessmentOut,
    ErrorOut,
    ExpectationOut,
    FeedbackOut,
    IssueOut,
    SerializedValue,
    SourceOut,
)
from headrace.api.traces.rfc3339 import timestamp

if TYPE_CHECKING:
    from headrace.api.traces.assessments.read_sql import AssessmentRow

MAX_STACK_TRACE: Final = 1000  # characters; of a longer one the end is shown
_CUT: Final = "[Stack trace is truncated]\n...\n"
_decode: Final = msgspec.json.Decoder(float_hook=float).decode


def loads(text: str) -> Any:
    """Decode JSON text, also with Python's NaN and Infinity. Raises ValueError."""
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return json.loads(text)


def _as_protobuf(value: Any) -> Any:
    """Return a JSON value as protobuf's Value shows it: numbers are doubles."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, list):
        return [_as_protobuf(item) for item in value]
    return {key: _as_protobuf(item) for key, item in value.items()}


def _error(text: str | None) -> ErrorOut | None:
    if text is None:
        return None
    found = loads(text)
    trace = found.get("stack_trace") or None
    if trace is not None and len(trace) > MAX_STACK_TRACE:
        trace = _CUT + trace[len(_CUT) - MAX_STACK_TRACE :]
    return ErrorOut(
        error_code=found.get("error_code") or "",
        error_message=found.get("error_message") or None,
        stack_trace=trace,
    )


def _expectation(text: str) -> ExpectationOut:
    value = loads(text)
    if isinstance(value, list | dict):
        serialized = SerializedValue(serialization_format="JSON_FORMAT", value=json.dumps(value))
        return ExpectationOut(serialized_value=serialized)
    return ExpectationOut(value=_as_protobuf(value))


def _metadata(text: str | None) -> dict[str, str] | None:
    found = loads(text) if text else None
    return {key: str(value) for key, value in found.items()} if found else None


def assessment(row: AssessmentRow) -> AssessmentOut:
    """Return an assessment as answers show it."""
    (
        assessment_id,
        trace_id,
        name,
        kind,
        value,
        error,
        created,
        updated,
        source_type,
        source_id,
        _,
        span_id,
        rationale,
        overrides,
        valid,
        metadata,
    ) = row
    shown = AssessmentOut(
        assessment_id=assessment_id,
        assessment_name=name,
        trace_id=trace_id,
        span_id=span_id,
        source=SourceOut(source_type=source_type, source_id=source_id),
        create_time=timestamp(created),
        last_update_time=timestamp(updated),
        rationale=rationale,
        metadata=_metadata(metadata),
        overrides=overrides or None,
        valid=bool(valid),
    )
    if kind == "feedback":
        shown.feedback = FeedbackOut(value=_as_protobuf(loads(value)), error=_error(error))
    elif kind == "expectation":
        shown.expectation = _expectation(value)
    else:
        shown.issue = IssueOut(issue_name=loads(value).get("issue_name"))
    return shown
