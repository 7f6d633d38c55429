"""Checked rows of assessments, from requests."""

from __future__ import annotations

import json
import math
import uuid
from typing import Any, Final, Literal

from msgspec import UNSET

from headrace.api.traces.assessments.write_sql import Row
from headrace.api.traces.assessments.write_types import (
    AssessmentIn,
    ErrorIn,
    ExpectationIn,
    SerializedIn,
)
from headrace.api.traces.request_times import time_ms
from headrace.contract.errors import invalid
from headrace.contract.texts import is_all_unicode

Kind = Literal["feedback", "expectation", "issue"]
SOURCE_TYPES: Final = frozenset({"HUMAN", "LLM_JUDGE", "CODE"})
UNSPECIFIED: Final = "SOURCE_TYPE_UNSPECIFIED"
JSON_FORMAT: Final = "JSON_FORMAT"
SOURCE_RUN: Final = "mlflow.assessment.sourceRunId"
MAX_VALUE_DEPTH: Final = 100  # protobuf's limit of nested messages


def kind_of(given: AssessmentIn) -> Kind:
    """Return the kind of an assessment; of several, the first in this order, as stock.

    Raises INVALID_PARAMETER_VALUE.
    """
    if given.expectation is not None and given.feedback is None:
        return "expectation"
    if given.feedback is not None:
        return "feedback"
    if given.issue is not None:
        return "issue"
    raise invalid("Unknown assessment type: None")


def value_of(given: AssessmentIn, kind: Kind) -> Any:
    """Return the JSON value of an assessment. Raises INVALID_PARAMETER_VALUE."""
    if kind == "feedback":
        assert given.feedback is not None, "it is feedback"
        return doubles(given.feedback.value)
    if kind == "expectation":
        return expected(given.expectation)
    assert given.issue is not None, "it is a reference to an issue"
    return {"issue_name": given.issue.issue_name or ""}


def expected(given: ExpectationIn | None) -> Any:
    """Return the JSON value of an expectation. Raises INVALID_PARAMETER_VALUE."""
    value: Any = None
    if given is not None and given.serialized_value is not None:
        value = _deserialized(given.serialized_value)
    elif given is not None and given.value is not UNSET:
        value = doubles(given.value)
    if value is None:
        raise invalid("The `value` field must be specified.")
    return value


def _deserialized(given: SerializedIn) -> Any:
    if given.serialization_format != JSON_FORMAT:
        raise invalid(
            f"Unknown serialization format: {given.serialization_format or ''}. "
            f"Only {JSON_FORMAT} is supported."
        )
    try:
        value = json.loads(given.value or "")
    except (ValueError, RecursionError) as error:
        raise invalid("The value of a serialized expectation must be JSON text.") from error
    if not is_all_unicode(value):
        raise invalid("The value of a serialized expectation must be valid Unicode.")
    return value


def doubles(value: Any, depth: int = 0) -> Any:
    """Return a JSON value with its numbers as doubles, the only numbers of protobuf's `Value`."""
    if depth > MAX_VALUE_DEPTH:
        raise invalid("The value of an assessment is nested too deeply.")
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise invalid("The numbers of an assessment must be finite.")
        return number
    if isinstance(value, list):
        return [doubles(item, depth + 1) for item in value]
    return {key: doubles(item, depth + 1) for key, item in value.items()}


def aggregate(value: Any) -> tuple[float | None, bool]:
    """Return the number for averages, and whether searches compare it: not for true, false, yes, no."""
    if isinstance(value, bool):
        return float(value), False
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None, False
        return (number, True) if math.isfinite(number) else (None, False)
    if isinstance(value, str):
        return {"yes": 1.0, "no": 0.0}.get(value.strip().lower()), False
    return None, False


def error_text(error: ErrorIn | None) -> str | None:
    """Return the JSON text of an error."""
    if error is None:
        return None
    stored = {
        "error_code": error.error_code or "",
        "error_message": error.error_message or None,
        "stack_trace": error.stack_trace or None,
    }
    return json.dumps(stored)


def row_of(given: AssessmentIn, trace_id: str, now_ms: int, path: str) -> Row:
    """Return the row of a new assessment. Raises INVALID_PARAMETER_VALUE."""
    kind = kind_of(given)
    value = value_of(given, kind)
    metadata = given.metadata or {}
    source_type = given.source.source_type if given.source is not None else None
    created = time_ms(given.create_time, f"{path}.create_time") if given.create_time else 0
    updated = (
        time_ms(given.last_update_time, f"{path}.last_update_time") if given.last_update_time else 0
    )
    number, is_numeric = aggregate(value)
    error = given.feedback.error if kind == "feedback" and given.feedback is not None else None
    return Row(
        assessment_id=given.assessment_id or f"a-{uuid.uuid4().hex}",
        trace_id=trace_id,
        name=given.assessment_name or "",
        assessment_type=kind,
        value=json.dumps(value),
        error=error_text(error),
        created_timestamp=created or now_ms,
        last_updated_timestamp=updated or now_ms,
        source_type=source_type if source_type in SOURCE_TYPES else UNSPECIFIED,
        source_id=(given.source.source_id or None) if given.source is not None else None,
        run_id=metadata.get(SOURCE_RUN),
        span_id=given.span_id or None,
        rationale=(given.rationale or None) if kind != "expectation" else None,
        overrides=(given.overrides or None) if kind == "feedback" else None,
        valid=True,
        assessment_metadata=json.dumps(metadata) if metadata else None,
        aggregate_value=number,
        is_numeric_value=is_numeric,
    )
