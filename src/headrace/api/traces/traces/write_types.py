"""Requests that write traces (MLflow's service.proto)."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from headrace.api.nouns import Tag
from headrace.api.traces.assessments.write_types import AssessmentIn
from headrace.contract.scalars import (
    DEMANDED,
    NUMBER_AS_TEXT,
    CheckedStr,
    Int32,
    LongStr,
    Message,
    OptionalInt64,
    OptionalStr,
    Text,
)


class ExperimentIn(Message):
    """The experiment of a trace."""

    experiment_id: OptionalStr = None


class LocationIn(Message):
    """The place of a trace; this kind of store has experiments only."""

    type: str | None = None
    mlflow_experiment: ExperimentIn | None = None
    inference_table: dict[str, Any] | None = None


class TraceInfoIn(Message):
    """A trace without its spans. Times in RFC 3339, durations in seconds (`1.5s`)."""

    # PostgreSQL cannot store NUL. In these texts, which hold values of programs, it is replaced.
    __replaced_nul__ = ("request_preview", "response_preview")
    __kept_ids__ = ("trace_id",)  # the client chooses it for a new trace

    trace_id: OptionalStr = None
    client_request_id: OptionalStr = None
    trace_location: LocationIn | None = None
    request: LongStr = None  # not used by MLflow 3
    response: LongStr = None
    request_time: str | None = None
    execution_duration: str | None = None
    state: str | None = None
    trace_metadata: dict[str, str] | None = None
    assessments: list[AssessmentIn] = []
    tags: dict[str, str] | None = None
    request_preview: LongStr = None
    response_preview: LongStr = None


class TraceIn(Message):
    """A trace in a request; its spans are ignored."""

    trace_info: Annotated[TraceInfoIn | None, Meta(extra=DEMANDED)] = None
    spans: list[Any] = []


class StartTraceIn(Message):
    """POST 3.0 traces"""

    trace: Annotated[TraceIn, Meta(extra={"checks": ("required",)})]


class SetTraceTag(Message):
    """PATCH 3.0 traces/{trace_id}/tags"""

    key: CheckedStr
    value: LongStr = None
    trace_id: str = ""


class DeleteTraceTag(Message):
    """DELETE 3.0 traces/{trace_id}/tags"""

    key: CheckedStr
    trace_id: str = ""


class SetTraceTagV2(Message):
    """PATCH 2.0 traces/{request_id}/tags"""

    key: CheckedStr
    value: LongStr = None
    request_id: str = ""


class DeleteTraceTagV2(Message):
    """DELETE 2.0 traces/{request_id}/tags"""

    key: CheckedStr
    request_id: str = ""


class LinkToRun(Message):
    """POST traces/link-to-run"""

    trace_ids: Annotated[
        list[Text], Meta(extra={"checks": ("array", "required", "item_type_string")})
    ]
    run_id: CheckedStr


class PromptVersion(Message):
    """A version of a prompt."""

    name: OptionalStr = None
    version: OptionalStr = None


class LinkPrompts(Message):
    """POST traces/link-prompts"""

    trace_id: CheckedStr
    prompt_versions: Annotated[list[PromptVersion], Meta(extra={"checks": ("array", "required")})]


class DeleteTraces(Message):
    """POST traces/delete-traces; either a time or ids."""

    experiment_id: CheckedStr
    max_timestamp_millis: OptionalInt64 = None
    max_traces: Annotated[Int32 | None, Meta(extra={"checks": ("intlike",)})] = None
    request_ids: Annotated[list[Text], Meta(extra={"checks": ("array", "item_type_string")})] = []


class DeletedTraces(Message):
    """The number of deleted traces."""

    traces_deleted: int


class StartTraceV2In(Message):
    """POST 2.0 traces, of clients before MLflow 3"""

    experiment_id: Annotated[
        OptionalStr, Meta(extra=DEMANDED, extra_json_schema=NUMBER_AS_TEXT)
    ] = None
    timestamp_ms: OptionalInt64 = None
    request_metadata: list[Tag] = []
    tags: list[Tag] = []


class EndTraceV2In(Message):
    """PATCH 2.0 traces/{request_id}"""

    request_id: str = ""
    timestamp_ms: OptionalInt64 = None
    status: Annotated[str | None, Meta(extra={"checks": ("string",)})] = None
    request_metadata: list[Tag] = []
    tags: list[Tag] = []
