"""Requests and answers of the trace endpoints."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.api.nouns import KeyValue
from headrace.api.traces.assessments.types import AssessmentOut
from headrace.contract.limits import MAX_SEARCH_TRACES
from headrace.contract.scalars import (
    INT32_MIN,
    LongStr,
    Message,
    OptionalStr,
    RequiredStr,
    Text,
    UncheckedStr,
)


class LocationType(StrEnum):
    """Where a trace is."""

    __first_number__ = 0
    TRACE_LOCATION_TYPE_UNSPECIFIED = "TRACE_LOCATION_TYPE_UNSPECIFIED"
    MLFLOW_EXPERIMENT = "MLFLOW_EXPERIMENT"
    INFERENCE_TABLE = "INFERENCE_TABLE"


class ExperimentLocation(Message):
    """An experiment as the place of traces."""

    experiment_id: UncheckedStr = None


class TableLocation(Message):
    """A table of another product as the place of traces."""

    full_table_name: UncheckedStr = None


class TraceLocation(Message):
    """The place of a trace."""

    type: LocationType | None = None
    mlflow_experiment: ExperimentLocation | None = None
    inference_table: TableLocation | None = None


class TraceInfo(Message, kw_only=True):
    """A trace without its spans, in an answer. Tags and metadata are JSON objects."""

    trace_id: str
    client_request_id: str | None = None
    trace_location: TraceLocation
    request_time: str  # RFC 3339
    execution_duration: str | None = None  # seconds, such as 1.500s
    state: str
    trace_metadata: msgspec.Raw | None = None
    assessments: list[AssessmentOut] = []
    tags: msgspec.Raw | None = None
    request_preview: str | None = None
    response_preview: str | None = None


class Trace(Message):
    """A trace in an answer; `spans` is a JSON array."""

    trace_info: TraceInfo
    spans: msgspec.Raw | None = None


class TraceAnswer(Message):
    """One trace."""

    trace: Trace


class TraceInfoPage(Message):
    """The traces of batchGetInfos that exist, in the order of the request."""

    trace_infos: list[TraceInfo] = []


class TraceInfoV2(Message, kw_only=True):
    """A trace without its spans, as clients before MLflow 3 know it."""

    request_id: str
    experiment_id: str
    timestamp_ms: int
    execution_time_ms: int | None = None  # 0 if it is not known
    status: str
    request_metadata: list[KeyValue] = []
    tags: list[KeyValue] = []


class TraceInfoV2Answer(Message):
    """One trace of a client before MLflow 3."""

    trace_info: TraceInfoV2


class TraceId(Message):
    """GET traces/{trace_id}"""

    trace_id: UncheckedStr = None


class RequestId(Message):
    """GET traces/{request_id}/info"""

    request_id: UncheckedStr = None


class GetTrace(Message):
    """GET traces/get; `allow_partial`: also a trace whose spans have not all arrived."""

    trace_id: RequiredStr
    allow_partial: Annotated[bool | None, Meta(extra={"checks": ("bool",)})] = None


TraceIds = Annotated[list[Text], Meta(extra={"checks": ("array", "required", "item_type_string")})]
OrderBy = Annotated[list[str], Meta(extra={"checks": ("array", "item_type_string")})]
MaxTraces = Annotated[
    Annotated[int, Meta(ge=INT32_MIN, le=MAX_SEARCH_TRACES)] | None,
    Meta(extra={"checks": ("intlike", ("max", MAX_SEARCH_TRACES))}),
]
ExperimentIds = Annotated[list[Text] | None, Meta(extra={"checks": ("array", "item_type_string")})]


class BatchGetTraces(Message):
    """GET traces/batchGet; other experiments' traces are left out."""

    trace_ids: TraceIds
    experiment_ids: ExperimentIds = None


class BatchGetTraceInfos(Message):
    """POST traces/batchGetInfos; as batchGet, without spans."""

    trace_ids: TraceIds
    experiment_ids: ExperimentIds = None


class SearchTraces(Message):
    """POST traces/search; places other than experiments are ignored."""

    locations: Annotated[list[TraceLocation], Meta(extra={"checks": ("array", "required")})]
    filter: LongStr = None
    max_results: MaxTraces = None
    order_by: OrderBy = []
    page_token: OptionalStr = None


class SearchTracesV2(Message):
    """GET traces"""

    experiment_ids: Annotated[
        list[Text], Meta(extra={"checks": ("array", "item_type_string", "required")})
    ]
    filter: LongStr = None
    max_results: MaxTraces = None
    order_by: OrderBy = []
    page_token: OptionalStr = None


class TraceInfoV2Page(Message):
    """A page of traces for clients before MLflow 3."""

    traces: list[TraceInfoV2] = []
    next_page_token: str | None = None


class CorrelateFilters(Message):
    """POST traces/calculate-filter-correlation"""

    experiment_ids: Annotated[
        list[Text], Meta(extra={"checks": ("array", "required", "item_type_string")})
    ]
    filter_string1: Annotated[str | None, Meta(extra={"checks": ("string", "required")})]
    filter_string2: Annotated[str | None, Meta(extra={"checks": ("string", "required")})]
    base_filter: LongStr = None


class Correlation(Message, kw_only=True):
    """Numbers of traces, and how often two filters match the same trace: from -1 to 1.

    The values are missing where they are not defined.
    """

    npmi: float | None = None
    npmi_smoothed: float | None = None
    filter1_count: int
    filter2_count: int
    joint_count: int
    total_count: int
