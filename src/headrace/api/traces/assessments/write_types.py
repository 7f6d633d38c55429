"""Requests that write assessments (MLflow's assessments.proto)."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta

from headrace.api.traces.assessments.types import AssessmentOut
from headrace.contract.scalars import LongStr, Message, OptionalStr, RequiredStr


class SourceIn(Message):
    """The author of an assessment; unknown types are read as SOURCE_TYPE_UNSPECIFIED."""

    source_type: str | None = None
    source_id: OptionalStr = None


class ErrorIn(Message):
    """An error that prevented an assessment."""

    error_code: OptionalStr = None
    error_message: LongStr = None
    stack_trace: LongStr = None


class FeedbackIn(Message):
    """A value that a person, code or a model gave: any JSON value."""

    value: Any = None
    error: ErrorIn | None = None


class SerializedIn(Message):
    """The JSON text of a list or an object."""

    serialization_format: str | None = None
    value: LongStr = None


class ExpectationIn(Message):
    """The value that was expected: any JSON value, or its JSON text."""

    value: Any = UNSET
    serialized_value: SerializedIn | None = None


class IssueIn(Message):
    """A reference to an issue, whose id is the name of the assessment."""

    issue_name: OptionalStr = None


class AssessmentIn(Message):
    """An assessment in a request; exactly one of feedback, expectation and issue is set."""

    assessment_id: OptionalStr = None
    assessment_name: OptionalStr = None
    trace_id: OptionalStr = None
    span_id: OptionalStr = None
    source: SourceIn | None = None
    create_time: str | None = None
    last_update_time: str | None = None
    feedback: FeedbackIn | None = None
    expectation: ExpectationIn | None = None
    rationale: LongStr = None
    error: ErrorIn | None = None  # not used by MLflow 3
    metadata: dict[str, str] | None = None
    overrides: OptionalStr = None
    valid: bool | None = None
    issue: IssueIn | None = None


class CreateAssessment(Message):
    """POST traces/{trace_id}/assessments"""

    assessment: Annotated[AssessmentIn, Meta(extra={"checks": ("required",)})]
    trace_id: str = ""


class UpdateAssessment(Message):
    """PATCH traces/{trace_id}/assessments/{assessment_id}; `update_mask`: camelCase names, with commas."""

    assessment: Annotated[AssessmentIn, Meta(extra={"checks": ("required",)})]
    update_mask: RequiredStr
    trace_id: str = ""
    assessment_id: str = ""


class DeleteAssessment(Message):
    """DELETE traces/{trace_id}/assessments/{assessment_id}"""

    trace_id: str = ""
    assessment_id: str = ""


class AssessmentAnswer(Message):
    """One assessment."""

    assessment: AssessmentOut
