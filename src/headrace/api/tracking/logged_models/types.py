"""Requests and answers of the logged model endpoints (MLflow's service.proto)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.api.nouns import KeyValue, Tag
from headrace.contract.scalars import CheckedStr, Int32, LongStr, Message, OptionalStr, UncheckedStr


class LoggedModelStatus(StrEnum):
    """A logged model's status, in the protobuf enum's order; the database stores the number."""

    __first_number__ = 0

    LOGGED_MODEL_STATUS_UNSPECIFIED = "LOGGED_MODEL_STATUS_UNSPECIFIED"
    LOGGED_MODEL_PENDING = "LOGGED_MODEL_PENDING"
    LOGGED_MODEL_READY = "LOGGED_MODEL_READY"
    LOGGED_MODEL_UPLOAD_FAILED = "LOGGED_MODEL_UPLOAD_FAILED"


STATUSES = tuple(LoggedModelStatus)  # by number


class CreateLoggedModel(Message):
    """POST logged-models"""

    __kept_ids__ = ("source_run_id",)  # stored as it is

    experiment_id: CheckedStr
    name: OptionalStr = None
    model_type: OptionalStr = None
    source_run_id: OptionalStr = None
    params: Annotated[list[Tag], Meta(extra={"checks": ("array",)})] = []
    tags: Annotated[list[Tag], Meta(extra={"checks": ("array",)})] = []


class LoggedModelId(Message):
    """DELETE logged-models/{model_id}: the path holds the whole request"""

    model_id: UncheckedStr = None


class GetLoggedModel(Message):
    """GET logged-models/{model_id}; `allow_deleted` is the query's text, in upper or lower case"""

    model_id: UncheckedStr = None
    allow_deleted: UncheckedStr = None


class FinalizeLoggedModel(Message):
    """PATCH logged-models/{model_id}: the body must have an id; the id in the path is used"""

    model_id: CheckedStr
    status: Annotated[LoggedModelStatus, Meta(extra={"checks": ("intlike", "required")})]


class LogParams(Message):
    """POST logged-models/{model_id}/params: the body must have an id; the id in the path is used"""

    model_id: CheckedStr
    params: Annotated[list[Tag], Meta(extra={"checks": ("array",)})] = []


class SetLoggedModelTags(Message):
    """PATCH logged-models/{model_id}/tags"""

    model_id: UncheckedStr = None
    tags: Annotated[list[Tag], Meta(extra={"checks": ("array",)})] = []


class DeleteLoggedModelTag(Message):
    """DELETE logged-models/{model_id}/tags/{tag_key}"""

    model_id: UncheckedStr = None
    tag_key: UncheckedStr = None


class DatasetFilter(Message):
    """A dataset whose metrics a search considers."""

    dataset_name: str | None = None
    dataset_digest: str | None = None


class OrderBy(Message):
    """One sort key of a search: an attribute, or `metrics.<name>` on a dataset."""

    field_name: str | None = None
    ascending: bool = True
    dataset_name: str | None = None
    dataset_digest: str | None = None


class SearchLoggedModels(Message):
    """POST logged-models/search"""

    experiment_ids: Annotated[
        list[str], Meta(extra={"checks": ("array", "item_type_string", "required")})
    ]
    filter: LongStr = None
    datasets: Annotated[list[DatasetFilter], Meta(extra={"checks": ("array",)})] = []
    max_results: Annotated[Int32 | None, Meta(extra={"checks": ("intlike",)})] = None
    order_by: Annotated[list[OrderBy], Meta(extra={"checks": ("array",)})] = []
    page_token: LongStr = None


# Answers.


class ModelMetric(msgspec.Struct, omit_defaults=True, gc=False):
    """One point of a model's metric; `timestamp` in milliseconds since the epoch."""

    key: str
    value: float
    timestamp: int
    step: int
    dataset_name: str | None = None
    dataset_digest: str | None = None
    model_id: str | None = None
    run_id: str | None = None


class LoggedModelInfo(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The columns of a model and its tags; times in milliseconds since the epoch."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: LoggedModelStatus
    model_type: str | None = None
    source_run_id: str | None = None
    status_message: str | None = None
    tags: list[KeyValue] = []


class LoggedModelData(msgspec.Struct, omit_defaults=True, gc=False):
    """The params of a model, and every point of every metric."""

    params: list[KeyValue] = []
    metrics: list[ModelMetric] = []


class LoggedModel(msgspec.Struct, gc=False):
    """One model."""

    info: LoggedModelInfo
    data: LoggedModelData


class LoggedModelAnswer(msgspec.Struct, gc=False):
    """An answer with one model."""

    model: LoggedModel


class LoggedModelPage(Message):
    """One page of a search; `next_page_token` is present only if there are more results."""

    models: list[LoggedModel] = []
    next_page_token: str | None = None
