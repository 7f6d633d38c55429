"""Conversion of MLflow's traces, spans and assessments to the writes of headrace's transactions.

Anything unusual raises Unsupported, so MLflow's own method gets it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from mlflow.entities import Assessment, Span, TraceInfo
from mlflow.store.tracking.dbmodels.models import SqlAssessments

from headrace.api.traces.assessments.write_sql import Row
from headrace.api.traces.assessments.writes import Change, value_columns
from headrace.api.traces.traces.start import SYSTEM_TAGS, StartTrace, check_trace_id
from headrace.contract.errors import ApiError
from headrace.contract.experiment_ids import parse_id
from headrace.otlp.batch import Batch, NotASpan, Resource
from headrace.otlp.conventions import REQUEST_ID
from headrace.otlp.prices import Prices
from headrace.otlp.span import Event, Link, RawSpan, TooLongText
from headrace.otlp.values import load, of_text
from headrace.plugin import arguments
from headrace.plugin.fallback import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINKED: Final = re.compile(r"tr-([0-9a-f]{32})")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
# The beginning of a JSON text of a string that is itself JSON text, or has an escape there.
_WRAPPED: Final = ('"[', '"{', '"\\', '" ')
_NOTHING: Final = Resource({})


@cache
def prices() -> Prices:
    """The prices of models, read when they are first needed."""
    return Prices.load()


def text(value: Any) -> str:
    """Check for a str that both databases can store; it may be empty."""
    if type(value) is not str or "\0" in value:
        raise Unsupported
    return value


def optional_text(value: Any) -> str | None:
    """As `text`, or None."""
    return None if value is None else text(value)


def texts(found: Any) -> dict[str, str]:
    """Check for a dictionary of texts."""
    if type(found) is not dict:
        raise Unsupported
    return {text(key): text(value) for key, value in found.items()}


def experiment(value: Any) -> int:
    """Check the id of an experiment."""
    try:
        return arguments.experiment(value)
    except ApiError as error:  # MLflow's methods of traces word it in another way
        raise Unsupported from error


def spans(found: Sequence[Any]) -> Batch:
    """Translate spans to rows, as those of a request to /v1/traces."""
    batch = Batch(prices())
    senders: dict[int, Resource] = {}
    for span in found:
        raw = _raw(span)
        sent_by = getattr(span._span, "resource", None)
        sender = _NOTHING
        if sent_by is not None and sent_by.attributes:
            sender = senders.get(id(sent_by)) or _sender(dict(sent_by.attributes))
            senders[id(sent_by)] = sender
        try:
            batch.add(raw, sender)
        except (NotASpan, TooLongText, ApiError) as error:
            raise Unsupported from error
    return batch


def _sender(attributes: dict[str, Any]) -> Resource:
    sender = Resource(attributes)
    sender.service = None  # MLflow adds it to the spans of OpenTelemetry's exporters only
    return sender


def _raw(span: Any) -> RawSpan:
    """Return a span as the decoder of OTLP returns it. The values of attributes are JSON texts already."""
    if not isinstance(span, Span):
        raise Unsupported
    otel, raw = span._span, RawSpan()
    context, parent = getattr(otel, "context", None), getattr(otel, "parent", None)
    if context is None or otel._start_time is None or otel._end_time is None:
        raise Unsupported
    raw.trace_id = context.trace_id.to_bytes(16)
    raw.span_id = context.span_id.to_bytes(8)
    raw.parent_id = parent.span_id.to_bytes(8) if parent is not None else b""
    raw.name = text(otel.name)
    raw.start_ns, raw.end_ns = otel._start_time, otel._end_time
    raw.code = otel.status.status_code.value
    raw.message = otel.status.description or ""
    raw.attributes = {key: _unwrapped(value) for key, value in (otel.attributes or {}).items()}
    if raw.attributes.get(REQUEST_ID) != f'"tr-{context.trace_id:032x}"':
        raise Unsupported
    raw.events = [Event(one.name, one.timestamp, dict(one.attributes or {})) for one in otel.events]
    raw.links = [_link(one) for one in span._links]
    return raw


def _unwrapped(value: Any) -> str:
    """Return the JSON text of an attribute; of a string that is JSON text itself, that one, as MLflow."""
    if type(value) is not str:
        raise Unsupported
    if value.startswith(_WRAPPED):
        inner = load(value)
        if isinstance(inner, str) and of_text(inner) is inner:
            return inner
    return value


def _link(link: Any) -> Link:
    trace, span_id = _LINKED.fullmatch(text(link.trace_id)), text(link.span_id)
    if trace is None or _SPAN_ID.fullmatch(span_id) is None:
        raise Unsupported
    return Link(bytes.fromhex(trace[1]), bytes.fromhex(span_id), dict(link.attributes or {}))


class NewTrace(StartTrace):
    """`StartTrace` whose result is not used."""

    __slots__ = ()
    reads_back = False


def new_trace(info: Any) -> NewTrace:
    """Return the write of the information about a trace."""
    if type(info) is not TraceInfo or info.trace_location.mlflow_experiment is None:
        raise Unsupported
    tags = texts(info.tags)
    if not SYSTEM_TAGS.isdisjoint(tags):
        raise Unsupported
    columns = {
        "timestamp_ms": arguments.int64(info.request_time),
        "execution_time_ms": _optional_int64(info.execution_duration),
        "status": text(info.state.value),
        "client_request_id": optional_text(info.client_request_id),
    }
    for name in ("request_preview", "response_preview"):
        if (preview := optional_text(getattr(info, name))) is not None:
            columns[name] = preview
    try:
        trace_id = check_trace_id(text(info.trace_id))
    except ApiError as error:  # MLflow 3.17 accepts any id
        raise Unsupported from error
    rows = [assessment(one)._replace(trace_id=trace_id) for one in info.assessments]
    number = parse_id(text(info.experiment_id))
    return NewTrace(trace_id, number, columns, tags, texts(info.trace_metadata), rows)


def _optional_int64(value: Any) -> int | None:
    return None if value is None else arguments.int64(value)


def assessment(found: Any) -> Row:
    """Return the row of a new assessment, with an id."""
    if not isinstance(found, Assessment):
        raise Unsupported
    made = SqlAssessments.from_mlflow_entity(found)
    row = Row(**{name: getattr(made, name) for name in Row._fields})
    for name in ("assessment_id", "name", "value", "source_type"):
        text(getattr(row, name))
    for name in (
        *("error", "source_id", "run_id", "span_id", "rationale", "overrides"),
        *("assessment_metadata", "trace_id"),
    ):
        optional_text(getattr(row, name))
    arguments.int64(row.created_timestamp)
    arguments.int64(row.last_updated_timestamp)
    return row._replace(is_numeric_value=bool(row.is_numeric_value))


def change(name: Any, expectation: Any, feedback: Any, rationale: Any, metadata: Any) -> Change:
    """Return the changes of an assessment."""
    if expectation is not None and feedback is not None:
        raise Unsupported
    kind: Any = None
    columns: dict[str, Any] = {}
    try:
        if expectation is not None:
            kind, columns = "expectation", value_columns(expectation.value, None)
        elif feedback is not None:
            error = feedback.error
            stored = json.dumps(error.to_dictionary()) if error else None
            kind, columns = "feedback", value_columns(feedback.value, stored)
    except (TypeError, ValueError) as failure:
        raise Unsupported from failure
    return Change(
        optional_text(name),
        optional_text(rationale),
        texts(metadata) if metadata else None,
        kind,
        columns,
    )
