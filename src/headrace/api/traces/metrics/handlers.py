"""Handler of traces/metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from headrace.api.context import Context
from headrace.api.traces.metrics.types import (
    AggregationIn,
    AggregationType,
    DataPoint,
    DataPoints,
    QueryMetrics,
)
from headrace.api.traces.traces.read_sql import check_served
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import MAX_METRIC_GROUPS, METRIC_GROUPS_DEFAULT
from headrace.db.base import Row, Tx
from headrace.db.sql import statement
from headrace.search.parser import experiment_id
from headrace.search.trace_metrics import Aggregation, MetricQuery, check, metric_statement

BUCKET: Final = "time_bucket"


async def query_metrics(req: QueryMetrics, ctx: Context) -> DataPoints:
    """POST /3.0/mlflow/traces/metrics

    Counts, sums and percentiles by time and dimension; rows without a value or dimension are left
    out. Errors: INVALID_PARAMETER_VALUE (metric, aggregation, dimension, filter). We differ: at most
    50,000 results; the daily rollups of stock MLflow are not read. Cost: one statement.
    """
    query = MetricQuery(
        experiment_ids=[experiment_id(id_) for id_ in req.experiment_ids],
        view=req.view_type.value,
        metric=req.metric_name,
        aggregations=[_aggregation(one) for one in req.aggregations],
        dimensions=req.dimensions,
        filters=req.filters,
        interval_s=_interval(req.time_interval_seconds),
        start_ms=req.start_time_ms,
        end_ms=req.end_time_ms,
        max_results=_limit(req.max_results),
    )
    check(query)
    check_served(ctx.db.schema)
    rows = await ctx.db.read(_fetch, *metric_statement(query, ctx.db.dialect))
    points = [_point(query, row) for row in rows]
    return DataPoints(data_points=[point for point in points if point is not None])


def _aggregation(given: AggregationIn) -> Aggregation:
    kind = given.aggregation_type or AggregationType.COUNT
    value = given.percentile_value
    if kind is not AggregationType.PERCENTILE:
        if value is not None:
            raise invalid(f"Only the aggregation PERCENTILE takes a percentile_value, not {kind}")
        return Aggregation(kind.value)
    if value is None or not 0 <= value <= 100:
        raise invalid(f"A percentile needs a percentile_value from 0 to 100, got {value}")
    return Aggregation(kind.value, float(value))


def _interval(seconds: int | None) -> int | None:
    if seconds is not None and seconds < 0:
        raise invalid(f"time_interval_seconds must not be negative, got {seconds}")
    return seconds or None


def _limit(max_results: int | None) -> int:
    limit = METRIC_GROUPS_DEFAULT if max_results is None else max_results
    if limit < 0:
        raise ApiError(ErrorCode.BAD_REQUEST, "LIMIT must not be negative")
    if limit > MAX_METRIC_GROUPS:
        raise invalid(f"max_results can be at most {MAX_METRIC_GROUPS}, got {limit}")
    return limit


async def _fetch(tx: Tx, text: str, args: Sequence[object]) -> list[Row]:
    return await tx.fetch(statement(text), *args)


def _point(query: MetricQuery, row: Row) -> DataPoint | None:
    """Return the values of a row; None if it has none."""
    names = ([BUCKET] if query.interval_s else []) + list(query.dimensions)
    dimensions = {name: str(value) for name, value in zip(names, row[: len(names)], strict=True)}
    if query.interval_s:
        dimensions[BUCKET] = _time(int(row[0]))
    labels = [one.label for one in query.aggregations]
    found = zip(labels, row[len(names) :], strict=True)
    values = {label: _number(value) for label, value in found if value is not None}
    if not values:
        return None
    return DataPoint(query.metric, dimensions, values)


def _number(value: Any) -> float:
    number = float(value)
    return number if math.isfinite(number) else 0.0


def _time(ms: int) -> str:
    """Return the start of a bucket in ISO 8601. Raises INVALID_PARAMETER_VALUE outside of years 1 to 9999."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise invalid(f"A time bucket starts in no year from 1 to 9999: {ms} ms") from error
