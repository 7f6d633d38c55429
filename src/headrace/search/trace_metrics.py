"""The statement of traces/metrics: numbers over traces, spans or assessments, by time and dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.search import parser
from headrace.search.compile import MAX_BIGINT, Parameters, storable
from headrace.search.lexer import Kind, Node
from headrace.search.trace_filter import COLUMNS_OF, NAME, RUN, SESSION
from headrace.search.traces import equal_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Dialect

View = Literal["TRACES", "SPANS", "ASSESSMENTS"]
_NUMBERS: Final = ("AVG", "MIN", "MAX", "PERCENTILE")
_SUMS: Final = ("SUM", *_NUMBERS)
_NS_PER_MS: Final = 1_000_000


class Aggregation(NamedTuple):
    """A function over the values of a metric; `percentile` is from 0 to 100."""

    kind: str  # COUNT, SUM, AVG, MIN, MAX or PERCENTILE
    percentile: float | None = None

    @property
    def label(self) -> str:
        """Its name in answers, such as AVG or P99.9."""
        return f"P{self.percentile}" if self.kind == "PERCENTILE" else self.kind


class Metric(NamedTuple):
    """The table and columns that a metric counts or measures."""

    value: str  # SQL
    aggregations: tuple[str, ...]
    dimensions: tuple[str, ...] = ()


_TRACE_DIMENSIONS: Final = {"trace_name": "t.trace_name", "trace_status": "t.status"}
_SPAN_DIMENSIONS: Final = {
    "span_name": "s.name",
    "span_type": "s.type",
    "span_status": "s.status",
    "span_model_name": "s.model_name",
    "span_model_provider": "s.model_provider",
}
_ASSESSMENT_DIMENSIONS: Final = {"assessment_name": "a.name", "assessment_value": "a.value"}
_DIMENSIONS: Final = _TRACE_DIMENSIONS | _SPAN_DIMENSIONS | _ASSESSMENT_DIMENSIONS
_TOKENS: Final = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
_COSTS: Final = ("input_cost", "output_cost", "total_cost")
_MODELS: Final = ("span_model_name", "span_model_provider")
METRICS: Final[dict[str, dict[str, Metric]]] = {
    "TRACES": {
        "trace_count": Metric("t.request_id", ("COUNT",), tuple(_TRACE_DIMENSIONS)),
        "session_count": Metric("t.session_id", ("COUNT",)),
        "latency": Metric("t.execution_time_ms", _NUMBERS, ("trace_name",)),
        **{name: Metric(f"t.{name}", _SUMS, ("trace_name",)) for name in _TOKENS},
    },
    "SPANS": {
        "span_count": Metric("s.span_id", ("COUNT",), tuple(_SPAN_DIMENSIONS)),
        "latency": Metric(
            f"(s.end_time_unix_nano - s.start_time_unix_nano) / {_NS_PER_MS}",
            *(_NUMBERS, ("span_name", "span_status")),
        ),
        **{name: Metric(f"s.{name}", _SUMS, _MODELS) for name in _COSTS},
    },
    "ASSESSMENTS": {
        "assessment_count": Metric("a.assessment_id", ("COUNT",), tuple(_ASSESSMENT_DIMENSIONS)),
        "assessment_value": Metric("a.aggregate_value", _NUMBERS, ("assessment_name",)),
    },
}
_ENTITIES: Final = {
    "trace": ("status", "tag", "metadata"),
    "span": ("name", "status", "type"),
    "assessment": ("name", "type"),
}
_KEYED: Final = ("tag", "metadata")


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """A query for one metric. Times are in milliseconds since the epoch, inclusive."""

    experiment_ids: Sequence[int]
    view: str
    metric: str
    aggregations: Sequence[Aggregation]
    dimensions: Sequence[str]
    filters: Sequence[str]
    interval_s: int | None  # of a time bucket
    start_ms: int | None
    end_ms: int | None
    max_results: int


def check(query: MetricQuery) -> None:
    """Raises INVALID_PARAMETER_VALUE for a metric, aggregation or dimension that does not exist."""
    known = METRICS[query.view]
    if query.metric not in known:
        raise invalid(f"metric_name must be one of {list(known)}, got '{query.metric}'")
    metric = known[query.metric]
    kinds = {one.kind for one in query.aggregations}
    if wrong := sorted(kinds - set(metric.aggregations)):
        raise invalid(
            f"Found invalid aggregation_type(s): {wrong}. "
            f"Supported aggregation types: {sorted(metric.aggregations)}"
        )
    if wrong := sorted(set(query.dimensions) - set(metric.dimensions)):
        raise invalid(
            f"Found invalid dimension(s): {wrong}. Supported dimensions: {sorted(metric.dimensions)}"
        )
    if query.interval_s and (query.start_ms is None or query.end_ms is None):
        raise invalid("start_time_ms and end_time_ms are required if time_interval_seconds is set")


def metric_statement(query: MetricQuery, dialect: Dialect) -> tuple[str, tuple[Any, ...]]:
    """The statement for the values, and its arguments.

    A row has the time bucket if there are any (milliseconds since the epoch), the dimensions and
    the aggregations, in the order of the query. Errors as in `check`, and of the filters.
    """
    if not query.aggregations and not query.dimensions and not query.interval_s:
        text = "Query contains no columns with which to SELECT from."
        raise ApiError(ErrorCode.BAD_REQUEST, text)
    parameters = Parameters(dialect)
    source = _Source(query, parameters)
    groups = [_DIMENSIONS[name] for name in query.dimensions]
    source.where += [f"{column} IS NOT NULL" for column in groups]
    if query.interval_s:
        groups.insert(0, _bucket(query.view, query.interval_s))
    value = METRICS[query.view][query.metric].value
    source.where.append(f"{value} IS NOT NULL")
    rows = f"FROM {source.tables} WHERE {' AND '.join(source.where)}"
    if dialect == "sqlite" and any(one.kind == "PERCENTILE" for one in query.aggregations):
        text = _ranked(query.aggregations, groups, value, rows, parameters)
    else:
        distinct = "DISTINCT " if query.metric == "session_count" else ""
        columns = [
            *groups,
            *(_aggregate(one, f"{distinct}{value}", parameters) for one in query.aggregations),
        ]
        text = f"SELECT {', '.join(columns)} {rows}"
        if groups:
            text += f" GROUP BY {', '.join(groups)} ORDER BY {', '.join(groups)}"
    return f"{text} LIMIT {parameters.add(query.max_results)}", tuple(parameters.values)


def _aggregate(aggregation: Aggregation, value: str, parameters: Parameters) -> str:
    if aggregation.kind != "PERCENTILE":
        return f"{aggregation.kind.lower()}({value})"
    share = parameters.add((aggregation.percentile or 0.0) / 100)
    return f"percentile_cont({share}::float8) WITHIN GROUP (ORDER BY {value})"


def _ranked(
    aggregations: Sequence[Aggregation],
    groups: Sequence[str],
    value: str,
    rows: str,
    parameters: Parameters,
) -> str:
    """The statement for SQLite, which has no percentiles: the values are ranked in their group."""
    names = [f"g{number}" for number in range(len(groups))]
    partition = f"PARTITION BY {', '.join(groups)}" if groups else ""
    inner = ", ".join(
        [
            *(f"{column} AS {name}" for column, name in zip(groups, names, strict=True)),
            f"{value} AS v",
            f"row_number() OVER ({partition} ORDER BY {value}) AS place",
            f"count(*) OVER ({partition}) AS n",
        ]
    )
    columns = [*(f"x.{name}" for name in names)]
    for one in aggregations:
        if one.kind != "PERCENTILE":
            columns.append(f"{one.kind.lower()}(x.v)")
            continue
        # Linear interpolation between the two values next to the percentile's place.
        at = f"({parameters.add((one.percentile or 0.0) / 100)} * (x.n - 1))"
        whole = f"CAST({at} AS integer)"
        low = f"max(CASE WHEN x.place = {whole} + 1 THEN CAST(x.v AS double) END)"
        high = f"max(CASE WHEN x.place = min({whole} + 2, x.n) THEN CAST(x.v AS double) END)"
        columns.append(f"{low} + max({at} - {whole}) * ({high} - {low})")
    text = f"SELECT {', '.join(columns)} FROM (SELECT {inner} {rows}) x"
    if names:
        listed = ", ".join(f"x.{name}" for name in names)
        text += f" GROUP BY {listed} ORDER BY {listed}"
    return text


def _bucket(view: str, interval_s: int) -> str:
    """SQL for the start of a time bucket, in milliseconds; rounds down also before 1970."""
    if view == "SPANS":
        column, size = "s.start_time_unix_nano", min(interval_s * 1_000_000_000, MAX_BIGINT)
    else:
        column = "t.timestamp_ms" if view == "TRACES" else "a.trace_timestamp_ms"
        size = min(interval_s * 1000, MAX_BIGINT)
    start = f"({column} - (({column} % {size}) + CASE WHEN {column} % {size} < 0 THEN {size} ELSE 0 END))"
    return f"({start} / {_NS_PER_MS})" if view == "SPANS" else start


class _Source:
    """The tables and conditions of a query."""

    def __init__(self, query: MetricQuery, parameters: Parameters) -> None:
        self._query = query
        self._parameters = parameters
        self.where: list[str] = []
        filters = [parse_filter(text) for text in query.filters]
        is_cost = query.view == "SPANS" and query.metric in _COSTS
        of_traces = any(one.view == "trace" for one in filters)
        # The cost of spans has an index of its own, which needs no traces.
        alone = is_cost and not of_traces
        self.tables, owner = {
            "TRACES": ("trace_info t", "t"),
            "SPANS": ("trace_info t JOIN spans s ON s.trace_id = t.request_id", "t"),
            "ASSESSMENTS": ("assessments a", "a"),
        }[query.view]
        if alone:
            self.tables, owner = "spans s", "s"
        experiments = storable(query.experiment_ids)
        self.where.append(parameters.is_in(f"{owner}.experiment_id", experiments, array="bigint"))
        if query.view == "ASSESSMENTS":
            self.where.append("a.valid = true")
        self._limit_time(is_cost)
        self.where += [self._filter(one) for one in filters]

    def _limit_time(self, is_cost: bool) -> None:
        query, compares = self._query, self._parameters.compares_integer
        if is_cost:
            if query.start_ms is not None:
                start = query.start_ms * _NS_PER_MS
                self.where.append(compares("s.start_time_unix_nano", ">=", start))
            if query.end_ms is not None:
                end = (query.end_ms + 1) * _NS_PER_MS
                self.where.append(compares("s.start_time_unix_nano", "<", end))
            return
        column = "a.trace_timestamp_ms" if query.view == "ASSESSMENTS" else "t.timestamp_ms"
        if query.start_ms is not None:
            self.where.append(compares(column, ">=", query.start_ms))
        if query.end_ms is not None:
            self.where.append(compares(column, "<=", query.end_ms))

    def _filter(self, one: MetricFilter) -> str:
        view = self._query.view
        if one.view == "trace":
            return self._trace(one)
        if view != f"{one.view.upper()}S":
            raise invalid(
                f"Filtering by {one.view} is only supported for {one.view.upper()}S view type, got {view}"
            )
        alias = one.view[0]
        column = (
            "assessment_type" if (one.view, one.entity) == ("assessment", "type") else one.entity
        )
        return f"{alias}.{column} = {self._parameters.add(one.value)}"

    def _trace(self, one: MetricFilter) -> str:
        of_assessments = self._query.view == "ASSESSMENTS"
        column = {
            ("status", None): "status",
            ("metadata", SESSION): "session_id",
            ("tag", NAME): "trace_name",
        }.get((one.entity, one.key))
        alias = "i" if of_assessments else "t"
        if column is not None:
            test = f"{alias}.{column} = {self._parameters.add(one.value)}"
        elif one.entity == "metadata" and one.key in COLUMNS_OF:
            test = equal_columns(self._parameters, one.key, one.value, alias)
        else:
            return self._row(one, "a.trace_id" if of_assessments else "t.request_id")
        if of_assessments:
            return self._parameters.exists(
                f"trace_info i WHERE i.request_id = a.trace_id AND {test}"
            )
        return test

    def _row(self, one: MetricFilter, trace_id: str) -> str:
        """A condition on the row of a tag or of metadata; a run may also be linked."""
        table = "trace_tags" if one.entity == "tag" else "trace_request_metadata"
        key, value = self._parameters.add(one.key), self._parameters.add(one.value)
        found = self._parameters.exists(
            f"{table} x WHERE x.request_id = {trace_id} AND x.key = {key} AND x.value = {value}"
        )
        if (one.entity, one.key) != ("metadata", RUN):
            return found
        linked = self._parameters.exists(
            f"entity_associations e WHERE e.source_id = {trace_id} AND e.source_type = 'trace'"
            f" AND e.destination_type = 'run' AND e.destination_id = {value}"
        )
        return f"({found} OR {linked})"


class MetricFilter(NamedTuple):
    """`view.entity[.key] = value`"""

    view: str  # trace, span or assessment
    entity: str
    key: str | None
    value: str


def parse_filter(text: str) -> MetricFilter:
    """One comparison. Raises INVALID_PARAMETER_VALUE."""
    nodes = parser.one_statement(text) if text else []
    wrong = [node for node in nodes if node.kind is not Kind.COMPARISON]
    if wrong:
        raise invalid(
            f"Invalid clause(s) in filter string: {', '.join(node.text for node in wrong)}"
        )
    if len(nodes) != 1:
        raise invalid(f"Invalid filter: '{text}'. Expected one filter clause.")
    left, operator, value = parser.operands(nodes[0])
    view, entity, key = _identifier(left.text)
    if operator.text != "=":
        raise invalid(f"Invalid comparator: '{operator.text}', only '=' operator is supported")
    return MetricFilter(view, entity, key, _value(entity, value))


def _value(entity: str, node: Node | None) -> str:
    if node is None or node.kind not in parser.STRINGS:
        shown = "" if node is None else node.text
        raise invalid(
            f"Expected a quoted string value for {entity} value (e.g. 'my-value'). Got value {shown}"
        )
    return parser.unquoted(node)


def _identifier(text: str) -> tuple[str, str, str | None]:
    parts = text.split(".", 2)
    if len(parts) < 2:
        raise invalid(
            f"Invalid identifier {text!r}. Columns should be specified as "
            "'trace.<key>', 'span.<key>', 'assessment.<key>'."
        )
    view, entity = parser.stripped(parts[0], "`"), parts[1]
    key = parts[2] if len(parts) == 3 else None
    if view not in _ENTITIES:
        raise invalid(f"Invalid view type '{view}'. Valid values are dict_keys({list(_ENTITIES)})")
    if entity not in _ENTITIES[view]:
        raise invalid(
            f"Invalid entity '{entity}' specified for view type '{view}'. "
            f"Valid entities are {list(_ENTITIES[view])}"
        )
    if entity in _KEYED and key is None:
        raise invalid(
            f"Filtering by {entity} requires a key, e.g. '{view}.{entity}.<key> = <value>'"
        )
    if entity not in _KEYED and key is not None:
        raise invalid(
            f"Filtering by {entity} does not require a key, use '{view}.{entity}' instead"
        )
    return view, entity, parser.bare(key) if key else None
