"""The filter, order_by and page token of logged-models/search, which differ from other searches.

Strings are single-quoted or bare words (double quotes are part of the string), an order_by is a
list of objects, and datasets restrict the metrics.
"""

from __future__ import annotations

import ast
import base64
import json
import re
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import MAX_DATASET_TESTS, MAX_LOGGED_MODELS_TOKEN
from headrace.search import boolean, parser
from headrace.search.compile import Page, Parameters, storable, term_sql
from headrace.search.grouping import statements
from headrace.search.lexer import Kind, Node, TooLong
from headrace.search.tree import Condition, Term, Value, conditions_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.auth.access import Scope
    from headrace.db.base import Dialect

LOGGED_MODEL_COLUMNS: Final = (
    "model_id",
    "experiment_id",
    "name",
    "artifact_location",
    "creation_timestamp_ms",
    "last_updated_timestamp_ms",
    "status",
    "lifecycle_stage",
    "model_type",
    "source_run_id",
    "status_message",
)
_NOT_NULL: Final = ("creation_timestamp_ms", "last_updated_timestamp_ms", "name", "model_id")
_ENTITIES: Final = ("attributes", "metrics", "params", "tags")
_ALIASES: Final = {
    "creation_time": "creation_timestamp_ms",
    "creation_timestamp": "creation_timestamp_ms",
    "last_updated_timestamp": "last_updated_timestamp_ms",
}
_TIMES: Final = ("creation_timestamp_ms", "last_updated_timestamp_ms")
_STATUS_NAMES: Final = ("UNSPECIFIED", "PENDING", "READY", "FAILED")  # at their numbers
# MLflow 3.17 compares numbers, 3.18 names.
_STATUSES: Final = {text: n for n, name in enumerate(_STATUS_NAMES) for text in (name, str(n))}
_NUMBER_OPERATORS: Final = ("<", "<=", ">", ">=", "=", "!=")
_TEXT_OPERATORS: Final = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")
_STATUS_OPERATORS: Final = ("=", "!=", "IN", "NOT IN")
_PREFIXED: Final = re.compile(r"([a-z]+)\.(.+)$")
_MISMATCHES: Final = {
    "experiment_ids": "Experiment IDs in the page token do not match the requested experiment IDs",
    "filter_string": ("Filter string in the page token does not match the requested filter string"),
    "order_by": "Order by in the page token does not match the requested order by",
}
_TABLES: Final = {
    "params": ("logged_model_params", "param_key", "param_value"),
    "tags": ("logged_model_tags", "tag_key", "tag_value"),
}


@dataclass(frozen=True, slots=True)
class ModelSort:
    """One item of the order_by; empty strings of the request are None."""

    field_name: str
    ascending: bool = True
    dataset_name: str | None = None
    dataset_digest: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The item in the form of a page token."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ModelDataset:
    """A dataset that restricts the metrics; without a digest, only metrics without one match."""

    name: str
    digest: str | None = None


def logged_models_page(
    *,
    experiment_ids: Sequence[str],
    filter: str | None,
    datasets: Sequence[ModelDataset],
    order_by: Sequence[ModelSort],
    max_results: int,
    page_token: str | None,
    dialect: Dialect,
    columns: Sequence[str] = LOGGED_MODEL_COLUMNS,
    readable: Scope | None = None,
) -> Page:
    """The page of logged models that a search requests, as one statement; deleted ones are excluded.

    A condition on a metric compares its latest point, and an order sorts by it, as in MLflow 3.18.

    `readable` has the experiments that the caller may read (None: all). It has no effect on the
    page token, so that a token says nothing about it.
    Errors, in MLflow's order: a dataset without a name, the page token (which must be of the same
    request), the form of the filter, the experiment ids, its conditions, the order_by.
    """
    if not all(dataset.name for dataset in datasets):
        raise invalid("`dataset_name` in the `datasets` clause must be specified.")
    request = _Request(
        list(experiment_ids), filter or None, [s.as_dict() for s in order_by] or None
    )
    offset = request.offset_of(page_token) if page_token else 0
    terms = parse_filter(filter)
    metrics = sum(condition.entity == "metrics" for condition in conditions_of(terms))
    sorts = sum(item.field_name.startswith("metrics.") for item in order_by)
    if len(datasets) * max(metrics + sorts, 1) > MAX_DATASET_TESTS:
        raise invalid(
            f"Too many datasets for {metrics} conditions on metrics and {sorts} sort fields:"
            f" {len(datasets)}"
        )
    parser.check_sort_fields(len(order_by))
    ids = storable(map(parser.experiment_id, experiment_ids))
    parameters = Parameters(dialect)
    condition_sql = partial(_condition, datasets=datasets, parameters=parameters)
    where = [term_sql(term, condition_sql) for term in terms]
    if datasets and not metrics:
        of_datasets = _of_datasets(datasets, parameters)
        where.append(
            parameters.exists(f"logged_model_metrics x WHERE x.model_id = m.model_id{of_datasets}")
        )
    if readable is not None:
        ids = [number for number in ids if readable.admits(str(number))]
    where.append("m.lifecycle_stage <> 'deleted'")
    where.append(parameters.is_in("m.experiment_id", ids, array="bigint"))
    order = ", ".join(_order(order_by, datasets, parameters))
    text = (
        f"SELECT {', '.join(f'm.{column}' for column in columns)} FROM logged_models m"
        f" WHERE {' AND '.join(where)} ORDER BY {order}"
    )
    return parameters.page(text, offset, max_results, request.token)


@dataclass(frozen=True, slots=True)
class _Request:
    """The parts of the request that a page token contains."""

    experiment_ids: list[str]
    filter_string: str | None
    order_by: list[dict[str, Any]] | None

    def token(self, offset: int) -> str:
        content = {name: getattr(self, name) for name in self.__slots__} | {"offset": offset}
        return base64.b64encode(json.dumps(content).encode()).decode()

    def offset_of(self, token: str) -> int:
        if len(token) > MAX_LOGGED_MODELS_TOKEN:
            raise invalid(
                f"Invalid page token: it has more than {MAX_LOGGED_MODELS_TOKEN} characters."
            )
        try:
            text = base64.b64decode(token.encode()).decode()
        except ValueError as exc:  # MLflow answers with a 500 page
            raise invalid(f"Invalid page token: {token}. {exc}") from exc
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise invalid(f"Invalid page token: {token}. {exc}") from exc
        if not isinstance(found, dict):
            raise invalid(f"Invalid page token: {token}. Expected a JSON object.")
        for name, mismatch in _MISMATCHES.items():
            wanted, repeated = getattr(self, name), found.get(name) or None
            if (wanted or None) != repeated:
                raise invalid(f"{mismatch}. Expected: {wanted}. Found: {repeated}")
        offset = found.get("offset") or 0
        if not isinstance(offset, int) or not 0 <= offset < 2**63:
            raise invalid(f"Invalid page token: {token}. Offset {offset} is not a row number.")
        return offset


def parse_filter(text: str | None) -> tuple[Term, ...]:
    """The checked terms of a logged-models filter. Values are text, lists or numbers."""
    return boolean.terms(text, _parse_plain) if text else ()


def _parse_plain(text: str) -> tuple[Condition, ...]:
    try:
        found = statements(text)
    except TooLong as exc:
        raise invalid(f"Invalid filter string: {parser.shortened(text)}. {exc}") from exc
    if len(found) != 1:
        raise invalid(f"Invalid filter string: {text!r}. Expected a single SQL expression.")
    nodes = parser.joined(found[0])
    parser.checked_number([node for node in nodes if node.kind is Kind.COMPARISON])
    conditions: list[Condition] = []
    for node in nodes:
        if node.kind is Kind.COMPARISON:
            conditions.append(_parse_condition(node))
        elif node.text.upper() != "AND":
            raise invalid(
                f"Invalid filter string: {text!r}. Expected a list of comparisons separated by "
                "'AND' (e.g. 'metrics.loss > 0.1 AND params.lr = 0.01')."
            )
    return tuple(conditions)


def _parse_condition(node: Node) -> Condition:
    parts = [part.text for part in node.parts]
    if len(parts) != 3:
        # The message has no space before IS NULL, because MLflow concatenates tokens.
        text = "".join(parts) if len(parts) == 2 else node.text
        raise invalid(f"Invalid comparison: {text}. Expected a comparison with 3 tokens.")
    identifier, operator, value = parts[0], parts[1].upper(), parts[2]
    entity, key = _identifier(identifier)
    is_number = entity == "metrics" or (entity == "attributes" and _ALIASES.get(key, key) in _TIMES)
    allowed = _NUMBER_OPERATORS if is_number else _TEXT_OPERATORS
    if operator not in allowed:
        raise invalid(
            f"Invalid comparison operator for {entity}.{key}: {operator!r}. "
            f"Expected one of {allowed}."
        )
    if is_number:
        return Condition(entity, key, operator, _float(f"{entity}.{key}", value))
    if value.startswith("(") and value.endswith(")"):
        return Condition(entity, key, operator, _list(value))
    return Condition(entity, key, operator, value.strip("'"))


def _identifier(text: str) -> tuple[str, str]:
    prefixed = _PREFIXED.match(text)
    if not prefixed:
        return "attributes", _ALIASES.get(text, text).strip("`")
    entity, key = prefixed.groups()
    if entity not in _ENTITIES:
        raise invalid(f"Invalid entity type: {entity!r}. Expected one of {list(_ENTITIES)}.")
    return entity, key.strip("`")


def _float(what: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise invalid(f"Invalid value for {what}: {text}. Expected a number.") from exc


def _list(text: str) -> tuple[str, ...]:
    plain = parser.plain_list(text)
    if plain is not None:
        return plain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as exc:
        raise invalid(f"Invalid list of values: {text}") from exc
    items = (found,) if isinstance(found, str) else found
    if isinstance(items, tuple) and all(isinstance(item, str | int) for item in items):
        return tuple(map(str, items))
    raise ApiError(ErrorCode.BAD_REQUEST, f"Invalid list of values: {text}")


def _condition(
    condition: Condition, datasets: Sequence[ModelDataset], parameters: Parameters
) -> str:
    entity, key, operator, value = (
        condition.entity,
        condition.key,
        condition.operator,
        condition.value,
    )
    if isinstance(value, tuple) != (operator in ("IN", "NOT IN")):
        raise parser.unexpected_list(operator)
    if entity == "attributes":
        return _attribute_condition(condition, parameters)
    if entity == "metrics":
        latest = _latest_metric(key, _of_datasets(datasets, parameters), parameters)
        test = parameters.compares("y.metric_value", operator, value)
        return parameters.exists(f"{latest} y WHERE {test}")
    table, key_column, value_column = _TABLES[entity]
    is_key = f"x.{key_column} = {parameters.add(key)}"
    test = parameters.compares(f"x.{value_column}", operator, value)
    return parameters.exists(f"{table} x WHERE x.model_id = m.model_id AND {is_key} AND {test}")


def _attribute_condition(condition: Condition, parameters: Parameters) -> str:
    key, operator, value = condition.key, condition.operator, condition.value
    if key not in LOGGED_MODEL_COLUMNS:
        raise invalid(f"Invalid attribute: {key!r}. Expected one of {list(LOGGED_MODEL_COLUMNS)}.")
    column = f"m.{key}"
    if isinstance(value, float):
        return parameters.compares_integer(column, operator, value)
    if key == "status":
        negate = operator in ("!=", "NOT IN")
        return parameters.is_in(column, _statuses(operator, value), array="bigint", negate=negate)
    if key != "experiment_id" or parameters.dialect == "sqlite":
        # SQLite compares an integer column with the text of a number numerically.
        return parameters.compares(column, operator, value)
    if operator in ("LIKE", "ILIKE"):
        raise ApiError(ErrorCode.BAD_REQUEST, f"operator does not exist: integer {operator} text")
    return parameters.is_in(
        column, _integers(value), array="bigint", negate=operator in ("!=", "NOT IN")
    )


def _statuses(operator: str, value: Value) -> list[int]:
    """The numbers of statuses. Raises INVALID_PARAMETER_VALUE as MLflow 3.18."""
    if operator not in _STATUS_OPERATORS:
        raise invalid(f"Invalid comparison operator for status: {operator}")
    names = value if isinstance(value, tuple) else (value,)
    try:
        return [_STATUSES[str(name)] for name in names]
    except KeyError as exc:
        raise invalid(f"Unknown model status in filter: {value!r}") from exc


def _integers(value: object) -> list[int]:
    texts = value if isinstance(value, tuple) else (value,)
    try:
        return storable(int(str(text)) for text in texts)
    except ValueError as exc:
        # PostgreSQL's error for such a comparison; SQLite returns no rows.
        raise ApiError(
            ErrorCode.BAD_REQUEST, f"invalid input syntax for type integer: {exc}"
        ) from exc


def _of_datasets(datasets: Iterable[ModelDataset], parameters: Parameters) -> str:
    tests: list[str] = []
    for dataset in datasets:
        test = f"x.dataset_name = {parameters.add(dataset.name)} AND x.dataset_digest"
        digest = dataset.digest
        tests.append(f"{test} = {parameters.add(digest)}" if digest else f"{test} IS NULL")
    return f" AND ({' OR '.join(tests)})" if tests else ""


def _order(
    order_by: Iterable[ModelSort], datasets: Sequence[ModelDataset], parameters: Parameters
) -> list[str]:
    order: list[str] = []
    names: set[str] = set()
    for item in order_by:
        direction = "NULLS LAST" if item.ascending else "DESC NULLS LAST"
        entity, dot, key = item.field_name.partition(".")
        if dot:
            if entity != "metrics":
                raise invalid(
                    f"Invalid order by field name: {item.field_name}. Only metrics are supported."
                )
            tests = _of_datasets(datasets, parameters) + _of_sort(item, parameters)
            order.append(f"{_latest_metric(key, tests, parameters)} {direction}")
            continue
        column = _ALIASES.get(item.field_name, item.field_name)
        if column not in LOGGED_MODEL_COLUMNS:
            raise ApiError(
                ErrorCode.INVALID_PARAMETER_VALUE,
                f"Invalid order by field name: {item.field_name}",
                sqlstate="KAM04",
                error_class="ATTRIBUTE_NOT_FOUND",
            )
        names.add(column)
        if column in _NOT_NULL:  # so that an index has the same order
            direction = "" if item.ascending else "DESC"
        order.append(f"m.{column} {direction}".rstrip())
    if "creation_timestamp_ms" not in names:
        order.append("m.creation_timestamp_ms DESC")
    if "model_id" not in names:
        order.append("m.model_id")
    return order


def _of_sort(item: ModelSort, parameters: Parameters) -> str:
    tests = ""
    if item.dataset_name:
        tests += f" AND x.dataset_name = {parameters.add(item.dataset_name)}"
    if item.dataset_digest:
        tests += f" AND x.dataset_digest = {parameters.add(item.dataset_digest)}"
    return tests


def _latest_metric(key: str, tests: str, parameters: Parameters) -> str:
    """A query for the latest value of a metric of the model `m`, among the points that pass `tests`."""
    return (
        "(SELECT x.metric_value FROM logged_model_metrics x WHERE x.model_id = m.model_id"
        f" AND x.metric_name = {parameters.add(key)}{tests}"
        " ORDER BY x.metric_step DESC, x.metric_timestamp_ms DESC, x.metric_value DESC LIMIT 1)"
    )
