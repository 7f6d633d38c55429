"""Requests and answers of traces/metrics."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.contract.scalars import (
    Int32,
    Message,
    OptionalInt64,
    OptionalStr,
    RequiredStr,
    Text,
)


class MetricView(StrEnum):
    """The subject of a metric."""

    TRACES = "TRACES"
    SPANS = "SPANS"
    ASSESSMENTS = "ASSESSMENTS"


class AggregationType(StrEnum):
    """A function over the values of a metric."""

    COUNT = "COUNT"
    SUM = "SUM"
    AVG = "AVG"
    PERCENTILE = "PERCENTILE"
    MIN = "MIN"
    MAX = "MAX"


class AggregationIn(Message):
    """A function over the values of a metric; a percentile needs its value, 0 to 100."""

    aggregation_type: AggregationType | None = None
    percentile_value: float | None = None


Texts = Annotated[list[Text], Meta(extra={"checks": ("array", "item_type_string")})]


class QueryMetrics(Message):
    """POST traces/metrics. Times are in milliseconds since the epoch."""

    experiment_ids: Annotated[
        list[Text], Meta(extra={"checks": ("array", "required", "item_type_string")})
    ]
    view_type: Annotated[MetricView, Meta(extra={"checks": ("required",)})]
    metric_name: RequiredStr
    aggregations: Annotated[list[AggregationIn], Meta(extra={"checks": ("array", "required")})]
    dimensions: Texts = []
    filters: Texts = []
    time_interval_seconds: OptionalInt64 = None
    start_time_ms: OptionalInt64 = None
    end_time_ms: OptionalInt64 = None
    max_results: Annotated[Int32 | None, Meta(extra={"checks": ("intlike",)})] = None
    page_token: OptionalStr = None


class DataPoint(msgspec.Struct, gc=False, omit_defaults=True):
    """The values of a metric for one combination of dimensions."""

    metric_name: str
    dimensions: dict[str, str] = {}
    values: dict[str, float] = {}


class DataPoints(Message):
    """The values of a metric; there is never a further page."""

    data_points: list[DataPoint] = []
