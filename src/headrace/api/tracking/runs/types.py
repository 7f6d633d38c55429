"""Requests and answers of the run endpoints (MLflow's service.proto)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.api.nouns import KeyValue, Tag, ViewType
from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import (
    DEMANDED,
    INT32_MIN,
    NUMBER_AS_TEXT,
    CheckedStr,
    ExperimentNumbers,
    Int64,
    LongStr,
    Message,
    OptionalMillis,
    OptionalStr,
    RequiredStr,
    Timestamp,
    UncheckedStr,
)


class RunStatus(StrEnum):
    """The status of a run, in the order of the protobuf enum, which starts at 1."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


class MetricIn(Message):
    """One point of a log-batch; `timestamp` in milliseconds since the epoch."""

    key: Annotated[str, Meta(min_length=1)]
    value: float
    timestamp: Timestamp
    step: Int64 = 0
    dataset_name: str | None = None
    dataset_digest: str | None = None
    model_id: str | None = None
    run_id: str | None = None


class ParamIn(Message):
    """A param of a log-batch."""

    key: Annotated[str, Meta(min_length=1)]
    value: str | None = None


class TagIn(Message):
    """A tag of a log-batch."""

    key: Annotated[str, Meta(min_length=1)]
    value: str | None = None


class LogBatch(Message):
    """POST runs/log-batch"""

    run_id: CheckedStr
    metrics: Annotated[
        list[MetricIn], Meta(extra={"checks": ("array", "present:key,value,timestamp")})
    ] = []
    params: Annotated[list[ParamIn], Meta(extra={"checks": ("array", "present:key")})] = []
    tags: Annotated[list[TagIn], Meta(extra={"checks": ("array", "present:key")})] = []


class LogMetric(Message):
    """POST runs/log-metric"""

    run_id: RequiredStr
    key: RequiredStr
    value: Annotated[float, Meta(extra={"checks": ("required", "floatlike")})]
    timestamp: Annotated[Timestamp, Meta(extra={"checks": ("intlike", "required")})]
    run_uuid: UncheckedStr = None
    step: Annotated[Int64, Meta(extra={"checks": ("intlike",)})] = 0
    model_id: OptionalStr = None
    dataset_name: OptionalStr = None
    dataset_digest: OptionalStr = None


class LogParam(Message):
    """POST runs/log-parameter"""

    run_id: RequiredStr
    key: RequiredStr
    run_uuid: UncheckedStr = None
    value: LongStr = None


class SetTag(Message):
    """POST runs/set-tag"""

    run_id: RequiredStr
    key: RequiredStr
    run_uuid: UncheckedStr = None
    value: LongStr = None


class DeleteTag(Message):
    """POST runs/delete-tag"""

    run_id: RequiredStr
    key: RequiredStr


class CreateRun(Message):
    """POST runs/create"""

    experiment_id: Annotated[
        OptionalStr, Meta(extra=DEMANDED, extra_json_schema=NUMBER_AS_TEXT)
    ] = None
    user_id: UncheckedStr = None
    run_name: OptionalStr = None
    start_time: OptionalMillis = None
    tags: list[Tag] = []


class GetRun(Message):
    """GET runs/get"""

    run_id: RequiredStr
    run_uuid: UncheckedStr = None


class RunId(Message):
    """POST runs/delete and runs/restore"""

    run_id: RequiredStr


class UpdateRun(Message):
    """POST runs/update"""

    run_id: RequiredStr
    run_uuid: UncheckedStr = None
    status: Annotated[RunStatus | None, Meta(extra={"checks": ("string",)})] = None
    end_time: OptionalMillis = None
    run_name: OptionalStr = None


class SearchRuns(Message):
    """POST runs/search"""

    experiment_ids: Annotated[ExperimentNumbers, Meta(extra={"checks": ("array",)})] = []
    filter: LongStr = None
    run_view_type: ViewType | None = None
    max_results: Annotated[
        Annotated[int, Meta(ge=INT32_MIN, le=SEARCH_MAX_RESULTS, extra_json_schema={"minimum": 1})]
        | None,
        Meta(extra={"checks": ("intlike", ("max", SEARCH_MAX_RESULTS))}),
    ] = None
    order_by: Annotated[list[str], Meta(extra={"checks": ("array", "item_type_string")})] = []
    page_token: UncheckedStr = None


class Dataset(Message):
    """A dataset that a run reads."""

    name: str | None = None
    digest: str | None = None
    source_type: str | None = None
    source: str | None = None
    schema: str | None = None
    profile: str | None = None


class DatasetInput(Message):
    """A dataset that a run uses, and the tags of that use."""

    tags: list[Tag] = []
    dataset: Dataset | None = None


class ModelInput(Message):
    """A logged model that a run reads."""

    __kept_ids__ = ("model_id",)  # stored as it is

    model_id: str | None = None


class ModelOutput(Message):
    """A logged model that a run wrote, and the step at which it did."""

    __kept_ids__ = ("model_id",)  # stored as it is

    model_id: str | None = None
    step: Int64 | None = None


class LogInputs(Message):
    """POST runs/log-inputs"""

    run_id: RequiredStr
    datasets: Annotated[list[DatasetInput], Meta(extra={"checks": ("array",)})] = []
    models: Annotated[list[ModelInput], Meta(extra={"checks": ("array",)})] = []


class LogOutputs(Message):
    """POST runs/outputs"""

    run_id: RequiredStr
    models: Annotated[
        list[ModelOutput], Meta(min_length=1, extra={"checks": ("required", "array")})
    ]


class LogModel(Message):
    """POST runs/log-model; `model_json` is the JSON text of an MLmodel file"""

    run_id: CheckedStr
    model_json: Annotated[str, Meta(min_length=1, extra={"checks": ("string", "required")})]


# Answers. They are positional and untracked by garbage collection, because a page of a search holds
# thousands of them.


class Metric(msgspec.Struct, gc=False):
    """The latest point of a metric; `value` is the text "NaN" for NaN."""

    key: str
    value: float | str
    timestamp: int
    step: int


class RunInfo(msgspec.Struct, omit_defaults=True, gc=False):
    """The columns of a run; times in milliseconds since the epoch."""

    run_uuid: str
    experiment_id: str
    run_name: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    artifact_uri: str
    lifecycle_stage: str
    run_id: str


class RunInfoOpen(msgspec.Struct, gc=False):
    """A `RunInfo` without `end_time`, for a run that has not ended."""

    run_uuid: str
    experiment_id: str
    run_name: str
    user_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    run_id: str


class RunData(msgspec.Struct, omit_defaults=True):
    """The metrics, params and tags of a run."""

    metrics: list[Metric] = []
    params: list[KeyValue] = []
    tags: list[KeyValue] = []


class RunInputs(msgspec.Struct, omit_defaults=True):
    """The datasets and models that a run read."""

    dataset_inputs: list[DatasetInput] = []
    model_inputs: list[ModelInput] = []


class RunOutputs(msgspec.Struct, omit_defaults=True):
    """The models that a run wrote."""

    model_outputs: list[ModelOutput] = []


class Run(msgspec.Struct, omit_defaults=True):
    """One run."""

    info: RunInfo | RunInfoOpen
    data: RunData
    inputs: RunInputs
    outputs: RunOutputs | None = None


class RunAnswer(msgspec.Struct):
    """An answer with one run."""

    run: Run


class RunInfoAnswer(msgspec.Struct):
    """The columns of one run."""

    run_info: RunInfo | RunInfoOpen
