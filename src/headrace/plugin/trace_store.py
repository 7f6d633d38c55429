"""The tracking store with headrace's engine for traces, for the release of mlflow with the same tables."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from mlflow.entities.trace_metrics import MetricDataPoint
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking import (
    MAX_RESULTS_QUERY_TRACE_METRICS,
    SEARCH_TRACES_DEFAULT_MAX_RESULTS,
)
from mlflow.store.tracking.utils.sql_trace_rollups import rollups_enabled
from mlflow.tracing.analysis import TraceFilterCorrelationResult

from headrace import search
from headrace.api.results import NotNative
from headrace.api.traces.assessments import reads as assessment_reads
from headrace.api.traces.assessments.writes import (
    CreateAssessment,
    DeleteAssessment,
    UpdateAssessment,
)
from headrace.api.traces.metrics import handlers as metrics
from headrace.api.traces.metrics import types as metric_types
from headrace.api.traces.spans import read_sql as spans_sql
from headrace.api.traces.spans.log import LogSpans
from headrace.api.traces.traces import handlers, read_sql, searches, write_types
from headrace.api.traces.traces import types as trace_types
from headrace.api.traces.traces.tags import (
    IMMUTABLE,
    MAX_LINKS,
    DeleteTag,
    LinkPrompts,
    LinkToRun,
    SetTag,
)
from headrace.api.traces.writes import KIND, Write, apply
from headrace.contract.errors import ApiError, ErrorCode, not_found
from headrace.plugin import arguments, trace_arguments, trace_entities
from headrace.plugin.fallback import Unsupported, with_fallback
from headrace.plugin.tracking_store import TrackingStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Trace, TraceInfo
    from mlflow.entities.assessment import Assessment

    from headrace.db.base import Tx

# Nothing has been written, and MLflow words the error in another way, or accepts the call.
_REFUSALS: Final = (
    ErrorCode.BAD_REQUEST,
    ErrorCode.INVALID_PARAMETER_VALUE,
    ErrorCode.INVALID_STATE,
    ErrorCode.RESOURCE_ALREADY_EXISTS,
    ErrorCode.RESOURCE_DOES_NOT_EXIST,
)
MAX_COST: Final = 8 << 20  # bytes that one call takes of the queue
# MLflow waits so long for spans that have not arrived.
WAITS_S: Final = (1.0, 2.0, None)


async def _whole(tx: Tx, ids: Sequence[str]) -> tuple[read_sql.Found, dict[str, list[str]]]:
    found = await read_sql.read_uncut(tx, ids)
    return found, await spans_sql.whole(tx, [row[0] for row in found.rows])


class TraceStore(TrackingStore):
    """`TrackingStore` that also reads and writes traces with headrace's engine."""

    def _write(self, write: Write, cost_bytes: int = 1000) -> Any:
        """Write in the next group. A refusal is left to MLflow's method."""
        self._check_traces()
        try:
            return self._headrace.submit(KIND, write, min(cost_bytes, MAX_COST))
        except ApiError as error:
            if error.code in _REFUSALS:
                raise Unsupported from error
            raise

    def _check_traces(self) -> None:
        """Raise Unsupported for older tables, and for daily rollups, which only MLflow maintains."""
        try:
            read_sql.check_served(self._headrace.schema)
        except NotNative as error:
            raise Unsupported from error
        if rollups_enabled():
            raise Unsupported

    def _handled(self, handler: Any, request: Any) -> Any:
        self._check_traces()
        try:
            return self._headrace.handle(handler, request)
        except NotNative as error:
            raise Unsupported from error

    # Writes

    @with_fallback
    def start_trace(self, trace_info: TraceInfo) -> TraceInfo:
        self._write(write := trace_arguments.new_trace(trace_info), 4000)
        return self._info(write.trace_ids[0])

    @with_fallback
    def log_spans(self, location: str, spans: list[Any], tracking_uri: Any = None) -> list[Any]:
        if tracking_uri is not None or type(spans) is not list:
            raise Unsupported
        if spans:
            number = trace_arguments.experiment(location)
            batch = trace_arguments.spans(spans)
            write = LogSpans(number, batch.traces, None)
            self._write(write, 500 * batch.spans + batch.content_bytes)
        return spans

    @with_fallback
    def set_trace_tag(self, trace_id: str, key: str, value: str) -> None:
        if trace_arguments.text(key) in IMMUTABLE:
            raise Unsupported
        self._write(
            SetTag(trace_arguments.text(trace_id), key, trace_arguments.text(value)),
        )

    @with_fallback
    def delete_trace_tag(self, trace_id: str, key: str) -> None:
        if trace_arguments.text(key) in IMMUTABLE:
            raise Unsupported
        self._check_traces()
        tag = DeleteTag(trace_arguments.text(trace_id), key)
        (result,) = self._headrace.write(apply, [tag])
        if isinstance(result, ApiError):
            raise result

    @with_fallback
    def _delete_traces(
        self,
        experiment_id: str,
        max_timestamp_millis: int | None = None,
        max_traces: int | None = None,
        trace_ids: list[str] | None = None,
    ) -> int:
        request = write_types.DeleteTraces(
            experiment_id=str(trace_arguments.experiment(experiment_id)),
            max_timestamp_millis=None
            if max_timestamp_millis is None
            else arguments.int64(max_timestamp_millis),
            max_traces=None if max_traces is None else arguments.int64(max_traces),
            request_ids=[trace_arguments.text(id_) for id_ in trace_ids or ()],
        )
        return int(self._handled(handlers.delete_stored, request).traces_deleted)

    @with_fallback
    def link_traces_to_run(self, trace_ids: list[str], run_id: str) -> None:
        ids = [trace_arguments.text(id_) for id_ in trace_ids]
        if len(ids) > MAX_LINKS:
            raise Unsupported
        if ids:
            self._write(LinkToRun(ids, trace_arguments.text(run_id)))

    @with_fallback
    def link_prompts_to_trace(self, trace_id: str, prompt_versions: list[Any]) -> None:
        versions = [
            f"{trace_arguments.text(one.name)}/{arguments.int64(one.version)}"
            for one in prompt_versions
        ]
        if versions:
            self._write(LinkPrompts(trace_arguments.text(trace_id), versions))

    # Assessments

    @with_fallback
    def create_assessment(self, assessment: Any) -> Assessment:
        row = trace_arguments.assessment(assessment)
        trace_arguments.text(row.trace_id)
        return trace_entities.assessment(self._write(CreateAssessment(row)))

    @with_fallback
    def get_assessment(self, trace_id: str, assessment_id: str) -> Assessment:
        self._check_traces()
        ids = trace_arguments.text(trace_id), trace_arguments.text(assessment_id)
        return trace_entities.assessment(self._headrace.read(assessment_reads.find, *ids))

    @with_fallback
    def update_assessment(
        self,
        trace_id: str,
        assessment_id: str,
        name: Any = None,
        expectation: Any = None,
        feedback: Any = None,
        rationale: Any = None,
        metadata: Any = None,
    ) -> Assessment:
        change = trace_arguments.change(name, expectation, feedback, rationale, metadata)
        ids = trace_arguments.text(trace_id), trace_arguments.text(assessment_id)
        return trace_entities.assessment(self._write(UpdateAssessment(*ids, change)))

    @with_fallback
    def delete_assessment(self, trace_id: str, assessment_id: str) -> None:
        ids = trace_arguments.text(trace_id), trace_arguments.text(assessment_id)
        self._write(DeleteAssessment(*ids))

    # Reads

    def _info(self, trace_id: str) -> TraceInfo:
        self._check_traces()
        found = self._headrace.read(read_sql.read_uncut, [trace_id])
        if not found.rows:
            raise not_found(f"Trace with ID '{trace_id}' not found.")
        return trace_entities.infos(found)[0]

    @with_fallback
    def get_trace_info(self, trace_id: str) -> TraceInfo:
        return self._info(trace_arguments.text(trace_id))

    @with_fallback
    def get_trace(self, trace_id: str, *, allow_partial: bool = False) -> Trace:
        for wait_s in WAITS_S:
            found = self._traces([trace_arguments.text(trace_id)], allow_partial=allow_partial)
            if found is None:
                raise not_found(f"Trace with ID {trace_id} is not found.")
            if found:
                return found[0]
            if wait_s is not None:
                time.sleep(wait_s)
        raise not_found(
            f"Trace with ID {trace_id} is not fully exported yet, please try again later."
        )

    def _traces(self, ids: Sequence[str], *, allow_partial: bool = False) -> list[Trace] | None:
        """Return those of the traces whose spans have arrived; None if none of the traces exists."""
        self._check_traces()
        found, contents = self._headrace.read(_whole, ids)
        if not found.rows:
            return None
        shown = []
        for info in trace_entities.infos(found):
            texts = contents.get(info.trace_id, [])
            location = info.tags.get(read_sql.SPANS_LOCATION)
            if location != "TRACKING_STORE" or "" in texts:  # archived, or files of the client
                raise Unsupported
            announced = read_sql.announced_spans(info.trace_metadata.get(read_sql.SIZE_STATS))
            if allow_partial or (texts and len(texts) >= announced):
                shown.append(trace_entities.trace(info, texts))
        return shown

    @with_fallback
    def batch_get_traces(
        self, trace_ids: list[str], location: Any = None, experiment_ids: Any = None
    ) -> list[Trace]:
        if location is not None or experiment_ids is not None:
            raise Unsupported
        ids = [trace_arguments.text(id_) for id_ in trace_ids]
        return (self._traces(ids) or []) if ids else []

    @with_fallback
    def batch_get_trace_infos(
        self, trace_ids: list[str], location: Any = None, experiment_ids: Any = None
    ) -> list[TraceInfo]:
        if location is not None or experiment_ids is not None:
            raise Unsupported
        ids = [trace_arguments.text(id_) for id_ in trace_ids]
        self._check_traces()
        if not ids:
            return []
        return trace_entities.infos(self._headrace.read(read_sql.read_uncut, ids))

    @with_fallback
    def search_traces(
        self,
        experiment_ids: Any = None,
        filter_string: Any = None,
        max_results: Any = SEARCH_TRACES_DEFAULT_MAX_RESULTS,
        order_by: Any = None,
        page_token: Any = None,
        model_id: Any = None,
        locations: Any = None,
    ) -> tuple[list[TraceInfo], Any]:
        if experiment_ids and locations:
            raise Unsupported
        given = [arguments.text(id_) for id_ in experiment_ids or locations or ()]
        numbers = [trace_arguments.experiment(id_) for id_ in given]
        self._check_traces()
        engine, token = self._headrace, arguments.token(page_token)
        limit = arguments.page_size(max_results)
        page = search.traces_page(
            experiment_ids=numbers,
            filter=arguments.optional_text(filter_string),
            order_by=[arguments.text(clause) for clause in order_by or ()],
            max_results=limit,
            page_token=token,
            dialect=engine.dialect,
            columns=read_sql.COLUMNS,
            prefixed=read_sql.prefixed(engine.schema),
        )
        if not numbers:
            raise Unsupported
        found = engine.read(read_sql.read_page_uncut, page)
        infos = trace_entities.infos(found)[:limit]
        # MLflow returns a token with every full page, also with the last one.
        more = search.page_token(search.offset_of(token) + limit) if len(infos) == limit else None
        return infos, arguments.stock_token(more)

    @with_fallback
    def calculate_trace_filter_correlation(
        self,
        experiment_ids: Any,
        filter_string1: Any,
        filter_string2: Any,
        base_filter: Any = None,
    ) -> TraceFilterCorrelationResult:
        request = trace_types.CorrelateFilters(
            experiment_ids=[str(trace_arguments.experiment(id_)) for id_ in experiment_ids],
            filter_string1=arguments.text(filter_string1),
            filter_string2=arguments.text(filter_string2),
            base_filter=arguments.optional_text(base_filter),
        )
        found = self._handled(searches.correlate_filters, request)
        nan = float("nan")
        return TraceFilterCorrelationResult(
            npmi=nan if found.npmi is None else found.npmi,
            npmi_smoothed=nan if found.npmi_smoothed is None else found.npmi_smoothed,
            filter1_count=found.filter1_count,
            filter2_count=found.filter2_count,
            joint_count=found.joint_count,
            total_count=found.total_count,
        )

    @with_fallback
    def query_trace_metrics(
        self,
        experiment_ids: Any,
        view_type: Any,
        metric_name: Any,
        aggregations: Any,
        dimensions: Any = None,
        filters: Any = None,
        time_interval_seconds: Any = None,
        start_time_ms: Any = None,
        end_time_ms: Any = None,
        max_results: Any = MAX_RESULTS_QUERY_TRACE_METRICS,
        page_token: Any = None,
    ) -> Any:
        if time_interval_seconds and (start_time_ms is None or end_time_ms is None):
            raise Unsupported
        times = (time_interval_seconds, start_time_ms, end_time_ms)
        for number in times:
            if number is not None:
                arguments.int64(number)
        request = metric_types.QueryMetrics(
            experiment_ids=[str(trace_arguments.experiment(id_)) for id_ in experiment_ids],
            view_type=metric_types.MetricView(view_type.value),
            metric_name=arguments.text(metric_name),
            aggregations=[
                metric_types.AggregationIn(
                    metric_types.AggregationType(one.aggregation_type.value), one.percentile_value
                )
                for one in aggregations
            ],
            dimensions=[arguments.text(name) for name in dimensions or ()],
            filters=[arguments.text(condition) for condition in filters or ()],
            time_interval_seconds=time_interval_seconds,
            start_time_ms=start_time_ms,
            end_time_ms=end_time_ms,
            max_results=arguments.page_size(max_results),
        )
        points = self._handled(metrics.query_metrics, request).data_points
        # MLflow shows the value of a percentile as it was given, 50 or 50.0.
        labels = {
            f"P{float(one.percentile_value)}": str(one)
            for one in aggregations
            if one.percentile_value is not None
        }
        return PagedList(
            [
                MetricDataPoint(
                    point.metric_name,
                    point.dimensions,
                    {labels.get(name, name): value for name, value in point.values.items()},
                )
                for point in points
            ],
            None,
        )
