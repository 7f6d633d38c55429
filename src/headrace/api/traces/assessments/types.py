"""Requests and answers of the assessment endpoints."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from headrace.contract.scalars import Message


class SourceType(StrEnum):
    """The kind of author of an assessment."""

    SOURCE_TYPE_UNSPECIFIED = "SOURCE_TYPE_UNSPECIFIED"
    HUMAN = "HUMAN"
    LLM_JUDGE = "LLM_JUDGE"
    CODE = "CODE"


class SourceOut(Message):
    """The source of an assessment in an answer."""

    source_type: str
    source_id: str | None = None


class ErrorOut(Message):
    """The error of an assessment that has no value."""

    error_code: str
    error_message: str | None = None
    stack_trace: str | None = None


class FeedbackOut(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A value, which may be null, and the error if there is one."""

    value: Any
    error: ErrorOut | None = None


class SerializedValue(Message):
    """The JSON text of a list or an object."""

    serialization_format: str
    value: str


class ExpectationOut(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A plain value, or a list or object as its JSON text."""

    value: Any = msgspec.UNSET
    serialized_value: SerializedValue | None = None


class IssueOut(Message):
    """The issue that an assessment refers to; its id is the assessment's name."""

    issue_name: str | None = None


class AssessmentOut(Message, kw_only=True):
    """An assessment in an answer: feedback, an expectation, or a reference to an issue."""

    assessment_id: str
    assessment_name: str
    trace_id: str
    span_id: str | None = None
    source: SourceOut
    create_time: str
    last_update_time: str
    feedback: FeedbackOut | None = None
    expectation: ExpectationOut | None = None
    rationale: str | None = None
    metadata: dict[str, str] | None = None
    overrides: str | None = None
    valid: bool | None = None
    issue: IssueOut | None = None


class GetAssessment(Message):
    """GET traces/{trace_id}/assessments/{assessment_id}"""

    trace_id: str | None = None
    assessment_id: str | None = None


class AssessmentAnswer(Message):
    """One assessment."""

    assessment: AssessmentOut
