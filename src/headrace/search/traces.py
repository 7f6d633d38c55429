"""The statements of traces/search and of the correlation of two filters."""

from __future__ import annotations

import json
import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError, ErrorCode
from headrace.search.compile import MAX_BIGINT, Page, Parameters, storable
from headrace.search.pages import offset_of
from headrace.search.trace_filter import (
    ASSESSMENTS,
    COLUMNS_OF,
    NAME,
    NUMERIC,
    ORDERS,
    PROMPTS,
    RUN,
    SESSION,
    check_operators,
    parse_filter,
    parse_order_by,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.db.base import Dialect
    from headrace.search.tree import Condition, SortKey, Value

# A span may begin so long before its trace, by another clock.
SPAN_TOLERANCE_MS: Final = 10_000
PREFIX: Final = 250  # characters of the indexes in db/schema/indexes.py
_COLUMNS: Final = {
    "end_time_ms": "(t.timestamp_ms + coalesce(t.execution_time_ms, 0))",
    "client_request_id": "t.client_request_id",
    "execution_time_ms": "t.execution_time_ms",
    "experiment_id": "t.experiment_id",
    "request_id": "t.request_id",
    "status": "t.status",
    "timestamp_ms": "t.timestamp_ms",
}
_NEVER_NULL: Final = ("timestamp_ms", "request_id", "experiment_id", "status", "end_time_ms")
_TABLES: Final = {"tag": "trace_tags", "request_metadata": "trace_request_metadata"}
# Tags and metadata that are columns of trace_info.
_PROMOTED: Final = {
    ("tag", NAME): "t.trace_name",
    ("request_metadata", SESSION): "t.session_id",
}


def traces_page(
    *,
    experiment_ids: Sequence[int],
    filter: str | None,
    order_by: Sequence[str],
    max_results: int,
    page_token: str | None,
    dialect: Dialect,
    columns: Sequence[str],
    prefixed: frozenset[str] = frozenset(),
) -> Page:
    """The page of traces that a search requests, as one statement that returns `columns` of them.

    `prefixed`: the tables with an index of the first PREFIX characters of values or names.
    Errors, in MLflow's order: order_by, the filter's form and operators, the page token;
    INVALID_PARAMETER_VALUE but for duplicate sort fields.
    """
    keys = parse_order_by(order_by)
    conditions = parse_filter(filter)
    check_operators(conditions)
    offset = offset_of(page_token)
    parameters = Parameters(dialect)
    experiments = storable(experiment_ids)
    # The signs keep SQLite, which has no statistics, from reading all traces of the experiment in the
    # order of their time.
    by_id = dialect == "sqlite" and any(map(_names_ids, conditions))
    by_session = dialect == "sqlite" and any(map(_names_session, conditions))
    scope = "+t.experiment_id" if by_id else "t.experiment_id"
    where = [parameters.is_in(scope, experiments, array="bigint")]
    where += _Conditions(parameters, experiments, prefixed).all(conditions)
    joins, order = _order(keys, parameters)
    if by_id or by_session:
        order = order.replace("t.timestamp_ms", "+t.timestamp_ms")
    text = (
        f"SELECT {', '.join(f't.{column}' for column in columns)} FROM trace_info t{joins}"
        f" WHERE {' AND '.join(where)} ORDER BY {order}"
    )
    return parameters.page(text, offset, max_results)


def correlation_counts(
    *,
    experiment_ids: Sequence[int],
    first: str | None,
    second: str | None,
    base: str | None,
    dialect: Dialect,
) -> tuple[str, tuple[Any, ...]]:
    """A statement for the numbers of traces: all that match `base`, then of those the `first` filter,
    the `second`, and both; and its arguments."""
    parameters = Parameters(dialect)
    experiments = storable(experiment_ids)
    compiled = _Conditions(parameters, experiments)
    tests: list[str] = []
    # The filters are joined as text, so that the limits of the base apply to spans too.
    for parts in ((base, first), (base, second), (base,)):
        conditions = parse_filter(" and ".join(filter(None, parts)))
        check_operators(conditions)
        tests.append(" AND ".join(compiled.all(conditions)) or "1 = 1")
    scope = parameters.is_in("t.experiment_id", experiments, array="bigint")
    # OFFSET 0 keeps PostgreSQL from evaluating the filters once more for the sum of both.
    fence = " OFFSET 0" if dialect == "postgres" else ""
    rows = (
        f"SELECT CASE WHEN {tests[0]} THEN 1 ELSE 0 END AS a, CASE WHEN {tests[1]} THEN 1 ELSE 0 END AS b"
        f" FROM trace_info t WHERE {scope} AND {tests[2]}{fence}"
    )
    text = f"SELECT count(*), sum(x.a), sum(x.b), sum(x.a * x.b) FROM ({rows}) x"
    return text, tuple(parameters.values)


def _names_ids(condition: Condition) -> bool:
    is_id = (condition.entity, condition.key) == ("attribute", "request_id")
    return is_id and condition.operator in ("=", "IN")


def _names_session(condition: Condition) -> bool:
    is_session = (condition.entity, condition.key) == ("request_metadata", SESSION)
    return is_session and condition.operator == "="


class _Conditions:
    """Compiles conditions on a row `t` of trace_info."""

    def __init__(
        self,
        parameters: Parameters,
        experiments: Sequence[int],
        prefixed: frozenset[str] = frozenset(),
    ) -> None:
        self._parameters = parameters
        self._experiments = experiments
        self._prefixed = prefixed

    def all(self, conditions: Sequence[Condition]) -> list[str]:
        """The SQL of all conditions; those on spans must hold for one span."""
        where = [self._one(one) for one in conditions if one.entity != "span"]
        spans = [one for one in conditions if one.entity == "span"]
        if spans:
            where.append(self._spans(spans, _earliest(conditions)))
        return where

    def _one(self, condition: Condition) -> str:
        entity, key = condition.entity, condition.key
        if entity == "issue":
            return self._issue(condition)
        if entity == "attribute":
            return self._attribute(condition)
        if (entity, key) in _PROMOTED:
            return self._nullable(_PROMOTED[entity, key], condition)
        if entity in ASSESSMENTS:
            return self._assessment(condition)
        if entity == "request_metadata" and key in COLUMNS_OF:
            return self._several_columns(condition)
        if entity == "request_metadata" and key == RUN and condition.operator == "=":
            return self._run(condition.value)
        if entity == "tag" and key == PROMPTS:
            return self._linked("prompt_version", condition.value)
        return self._row(condition)

    def _attribute(self, condition: Condition) -> str:
        column, operator, value = _COLUMNS[condition.key], condition.operator, condition.value
        if condition.key not in NUMERIC:
            return self._compares(column, operator, value)
        if isinstance(value, str):
            return self._number_as_text(column, operator, value)
        assert isinstance(value, int | float), "the grammar allows no other value"
        return self._parameters.compares_integer(column, operator, value)

    def _number_as_text(self, column: str, operator: str, text: str) -> str:
        """A comparison of a number with a text, as the databases make it for stock."""
        try:
            number = float(text)
        except ValueError as error:
            if self._parameters.dialect == "postgres":
                message = f"invalid input syntax for type bigint: {text}"
                raise ApiError(ErrorCode.BAD_REQUEST, message) from error
            number = math.inf  # SQLite: every text is greater than every number
        return self._parameters.compares_integer(column, operator, number)

    def _compares(self, column: str, operator: str, value: Value) -> str:
        if operator == "RLIKE":
            return self._parameters.matches(column, str(value))
        return self._parameters.compares(column, operator, value)

    def _prefix(self, table: str, column: str, operator: str, value: Value) -> str:
        """As `_compares`, by an index of the first characters if the table has one."""
        is_short = isinstance(value, str) and len(value) < PREFIX
        if table in self._prefixed and operator == "=" and is_short:
            column = f"substr({column}, 1, {PREFIX})"
        return self._compares(column, operator, value)

    def _nullable(self, column: str, condition: Condition) -> str:
        if condition.value is None:
            return f"{column} {condition.operator}"
        return self._compares(column, condition.operator, condition.value)

    def _row(self, condition: Condition) -> str:
        """A condition on the row of a tag or of metadata."""
        key = self._parameters.add(condition.key)
        table = _TABLES[condition.entity]
        rows = f"{table} x WHERE x.request_id = t.request_id AND x.key = {key}"
        if condition.operator == "IS NULL":
            return f"NOT {self._parameters.exists(rows)}"
        if condition.value is not None:
            rows += f" AND {self._prefix(table, 'x.value', condition.operator, condition.value)}"
        return self._parameters.exists(rows)

    def _several_columns(self, condition: Condition) -> str:
        columns = [f"t.{name}" for name in COLUMNS_OF[condition.key]]
        known = "(" + " OR ".join(f"{column} IS NOT NULL" for column in columns) + ")"
        if condition.value is None:
            return known if condition.operator == "IS NOT NULL" else f"NOT {known}"
        equal = equal_columns(self._parameters, condition.key, str(condition.value))
        return equal if condition.operator == "=" else f"({known} AND NOT {equal})"

    def _run(self, value: Value) -> str:
        run = self._parameters.add(value)
        named = self._prefix("trace_request_metadata", "x.value", "=", value)
        return (
            "(EXISTS (SELECT 1 FROM entity_associations e WHERE e.source_id = t.request_id"
            f" AND e.source_type = 'trace' AND e.destination_type = 'run' AND e.destination_id = {run})"
            " OR EXISTS (SELECT 1 FROM trace_request_metadata x WHERE x.request_id = t.request_id"
            f" AND x.key = '{RUN}' AND {named}))"
        )

    def _linked(self, kind: str, value: Value) -> str:
        return self._parameters.exists(
            "entity_associations e WHERE e.source_id = t.request_id AND e.source_type = 'trace'"
            f" AND e.destination_type = '{kind}' AND e.destination_id = {self._parameters.add(value)}"
        )

    def _issue(self, condition: Condition) -> str:
        return self._parameters.exists(
            "assessments a WHERE a.trace_id = t.request_id AND a.assessment_type = 'issue'"
            f" AND a.name = {self._parameters.add(condition.value)}"
        )

    def _assessment(self, condition: Condition) -> str:
        """A condition on a valid assessment of the trace, or of its session.

        An assessment whose metadata name the session counts for every trace of the session.
        """
        tests = self._assessment_tests(condition)
        direct = f"EXISTS (SELECT 1 FROM assessments a WHERE a.trace_id = t.request_id AND {tests})"
        scope = self._parameters.is_in("i.experiment_id", self._experiments, array="bigint")
        sessions = (
            "SELECT i.session_id FROM assessments a JOIN trace_info i ON i.request_id = a.trace_id"
            f" WHERE {tests} AND a.assessment_metadata LIKE '%\"{SESSION}\":%'"
            f" AND i.session_id IS NOT NULL AND {scope}"
        )
        found = f"({direct} OR (t.session_id IS NOT NULL AND t.session_id IN ({sessions})))"
        return f"NOT {found}" if condition.operator == "IS NULL" else found

    def _assessment_tests(self, condition: Condition) -> str:
        parameters, operator, value = self._parameters, condition.operator, condition.value
        tests = (
            f"a.assessment_type = '{condition.entity}' AND a.name = {parameters.add(condition.key)}"
            " AND a.valid = true"
        )
        if value is None:
            return tests
        if operator in ORDERS:
            assert isinstance(value, int | float), "the grammar allows no other value"
            test = parameters.compares("a.aggregate_value", operator, _double(value))
            return f"{tests} AND a.is_numeric_value = true AND {test}"
        if operator in ("=", "!="):
            # Booleans and numbers are stored as such, texts as JSON strings.
            plain, quoted = parameters.add(value), parameters.add(json.dumps(value))
            test = f"(a.value = {plain} OR a.value = {quoted})"
            return f"{tests} AND {test}" if operator == "=" else f"{tests} AND NOT {test}"
        return f"{tests} AND {self._compares('a.value', operator, value)}"

    def _spans(self, conditions: Iterable[Condition], earliest_ms: float | None) -> str:
        # The sign keeps SQLite from an index of the experiment: it would read all spans for each trace.
        sign = "+" if self._parameters.dialect == "sqlite" else ""
        tests = ["s.trace_id = t.request_id", f"{sign}s.experiment_id = t.experiment_id"]
        if earliest_ms is not None:
            earliest = (math.floor(earliest_ms) - SPAN_TOLERANCE_MS) * 1_000_000
            tests.append(
                self._parameters.compares_integer("s.start_time_unix_nano", ">=", earliest)
            )
        tests += [self._span(one) for one in conditions]
        return self._parameters.exists(f"spans s WHERE {' AND '.join(tests)}")

    def _span(self, condition: Condition) -> str:
        key, operator, value = condition.key, condition.operator, condition.value
        if not key.startswith("attributes."):
            compares = self._prefix("spans", "s.name", operator, value) if key == "name" else None
            return compares or self._compares(f"s.{key}", operator, value)
        name = key.removeprefix("attributes.")
        name = name[1:-1] if len(name) > 1 and name[0] == name[-1] == "`" else name
        if operator == "RLIKE":
            return self._compares("s.content", operator, _attribute_pattern(name, str(value)))
        if isinstance(value, tuple):
            # MLflow puts the list into the text that it looks for.
            value = f"({', '.join(map(repr, value))})"
            operator = "!=" if operator == "NOT IN" else "="
        return self._compares("s.content", operator, f'%"{name}"{value}%')


def equal_columns(parameters: Parameters, key: str, text: str, alias: str = "t") -> str:
    """The condition that MLflow writes the columns of this metadata as exactly this text."""
    values = _canonical(key, text)
    if values is None:
        return "1 = 0"
    cast = "float8" if key.endswith("cost") else "bigint"
    tests = []
    for name in COLUMNS_OF[key]:
        if name not in values:
            tests.append(f"{alias}.{name} IS NULL")
            continue
        placeholder = parameters.add(values[name])
        placeholder += f"::{cast}" if parameters.dialect == "postgres" else ""
        tests.append(f"({alias}.{name} IS NOT NULL AND {alias}.{name} = {placeholder})")
    return "(" + " AND ".join(tests) + ")"


def _attribute_pattern(name: str, pattern: str) -> str:
    r"""A regular expression for the attribute in a span's JSON: `"name": "\"value\""`."""
    start = r'"\\"' if pattern.startswith("^") else r'"\\".*'
    end = r"\\" + '"' if pattern.endswith("$") else ""
    inner = pattern[1:] if pattern.startswith("^") else pattern
    inner = inner[:-1] if pattern.endswith("$") else inner
    return f'"{name}": {start}{inner}{end}'


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _earliest(conditions: Iterable[Condition]) -> float | None:
    """The latest lower bound of the time of the trace, in milliseconds."""
    bounds = [
        one.value
        for one in conditions
        if (one.entity, one.key) == ("attribute", "timestamp_ms") and one.operator in (">", ">=")
    ]
    numbers = [n for n in bounds if isinstance(n, int | float) and abs(n) < MAX_BIGINT // 10**6]
    return max(numbers, default=None)


def _canonical(key: str, text: str) -> dict[str, int | float] | None:
    """The values of the columns that MLflow writes as exactly this JSON text; None if there are none."""
    names = COLUMNS_OF[key]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not set(found) <= set(names):
        return None
    convert = _cost if key.endswith("cost") else _tokens
    pairs = ((name, convert(found.get(name))) for name in names)
    values = {name: value for name, value in pairs if value is not None}
    return values if values and json.dumps(values) == text else None


def _cost(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _tokens(value: Any) -> int | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite() or not -MAX_BIGINT - 1 <= number <= MAX_BIGINT:
        return None
    return int(number) if number == number.to_integral_value() else None


def _order(keys: Iterable[SortKey], parameters: Parameters) -> tuple[str, str]:
    """The joins for the sort keys, and the ORDER BY: missing values are last, for ASC and DESC."""
    joins: list[str] = []
    order: list[str] = []
    names: set[str] = set()
    for number, key in enumerate(keys):
        direction = "" if key.ascending else " DESC"
        if key.entity == "attribute":
            names.add(key.key)
            nulls = "" if key.key in _NEVER_NULL else " NULLS LAST"
            order.append(f"{_COLUMNS[key.key]}{direction}{nulls}")
            continue
        column = _PROMOTED.get((key.entity, key.key))
        if column is None:
            table, column = _TABLES[key.entity], f"k{number}.value"
            joins.append(
                f" LEFT JOIN {table} k{number} ON k{number}.request_id = t.request_id"
                f" AND k{number}.key = {parameters.add(key.key)}"
            )
        order.append(f"{column}{direction} NULLS LAST")
    if "timestamp_ms" not in names:
        order.append("t.timestamp_ms DESC")
    if "request_id" not in names:
        order.append("t.request_id")
    return "".join(joins), ", ".join(order)
