"""Requests and answers of the metric-history endpoints."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.contract.limits import MAX_HISTORY_BULK_RUNS, MAX_HISTORY_INTERVAL_ROWS
from headrace.contract.scalars import (
    DEMANDED,
    CheckedStr,
    DemandedStr,
    Int32,
    Message,
    OptionalInt32,
    OptionalStr,
    RequiredStr,
    UncheckedStr,
)


class GetHistory(Message):
    """GET metrics/get-history"""

    run_id: CheckedStr
    metric_key: CheckedStr
    run_uuid: UncheckedStr = None
    page_token: OptionalStr = None
    max_results: Annotated[Int32, Meta(extra_json_schema={"minimum": 1})] | None = None


class GetHistoryBulk(Message):
    """GET metrics/get-history-bulk: the handler checks the fields, in the same order as stock"""

    run_id: Annotated[
        list[str],
        Meta(extra=DEMANDED, extra_json_schema={"minItems": 1, "maxItems": MAX_HISTORY_BULK_RUNS}),
    ] = []
    metric_key: DemandedStr = None
    max_results: UncheckedStr = None


class GetHistoryInterval(Message):
    """GET metrics/get-history-bulk-interval"""

    run_ids: Annotated[
        list[str],
        Meta(
            min_length=1,
            max_length=MAX_HISTORY_BULK_RUNS,
            extra={
                "checks": (
                    "required",
                    "array",
                    "item_type_string",
                    (
                        "max_len",
                        MAX_HISTORY_BULK_RUNS,
                        "GetMetricHistoryBulkInterval request must specify at most 100 run_ids. "
                        "Received {} run_ids.",
                    ),
                )
            },
        ),
    ]
    metric_key: RequiredStr
    start_step: OptionalInt32 = None
    end_step: OptionalInt32 = None
    max_results: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_HISTORY_INTERVAL_ROWS)] | None,
        Meta(
            extra={
                "checks": (
                    "intlike",
                    (
                        "range",
                        1,
                        MAX_HISTORY_INTERVAL_ROWS,
                        f"max_results must be between 1 and {MAX_HISTORY_INTERVAL_ROWS}.",
                    ),
                )
            }
        ),
    ] = None


class Point(msgspec.Struct, gc=False):
    """One point; `value` is the text "NaN" for NaN."""

    key: str
    value: float | str
    timestamp: int
    step: int


class History(Message):
    """Points of one metric in order, and the token of the next page."""

    metrics: list[Point] = []
    next_page_token: str | None = None


class PointOfRun(msgspec.Struct, gc=False):
    """A point and the run that it belongs to."""

    key: str
    value: float | str
    timestamp: int
    step: int
    run_id: str


class PointsOfRuns(Message):
    """Sampled points of several runs."""

    metrics: list[PointOfRun] = []
