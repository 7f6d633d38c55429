"""The spans of a request as rows of MLflow's tables, by trace."""

from __future__ import annotations

from binascii import b2a_base64
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError
from headrace.contract.limits import MAX_SPAN_CONTENT, MAX_TAG_VALUE
from headrace.contract.names import check_length, check_name
from headrace.otlp import conventions as c
from headrace.otlp.preview import preview
from headrace.otlp.span import TooLongText
from headrace.otlp.translate import translate
from headrace.otlp.usage import Node, cost, values_of
from headrace.otlp.values import dump, quote, quote_short, string_in

if TYPE_CHECKING:
    from headrace.otlp.prices import Prices
    from headrace.otlp.span import RawSpan

MAX_KEY: Final = 250  # characters of the key of a tag
MAX_NAME: Final = 4096  # characters of a trace's name
MAX_SESSION: Final = 250  # characters
MAX_MODEL: Final = 500  # characters of a span's type, model and provider; longer ones are cut
MAX_TIME_NS: Final = 2**63 - 1
NAME: Final = "mlflow.traceName"
# Tags that only the server writes.
SYSTEM_TAGS: Final = frozenset(
    {
        "mlflow.artifactLocation",
        "mlflow.trace.spansLocation",
        "mlflow.trace.archiveLocation",
        "mlflow.trace.archivalFailure",
    }
)
# The only names of services that stock copies to root spans; others are free text of a client.
KNOWN_SERVICES: Final = frozenset(
    {"claude-code", "codex_cli_rs", "codex_vscode", "gemini-cli", "qwen-code"}
)
_STATUS: Final = {1: "OK", 2: "ERROR"}

# trace_id, span_id, parent_span_id, name, type, status, start and end in nanoseconds, content,
# input_cost, output_cost, total_cost, model_name, model_provider
SpanRow = tuple[Any, ...]


class NotASpan(Exception):
    """A span without a trace id or span id, or with one that is too long."""


class Resource:
    """The sender of some spans: tags for their traces, and the service name for their roots."""

    __slots__ = ("service", "tags")

    def __init__(self, attributes: dict[str, Any]) -> None:
        service = attributes.get("service.name")
        self.service = str(service) if str(service) in KNOWN_SERVICES else None
        self.tags: dict[str, str] = {}
        for key, value in attributes.items():
            if not key.startswith(("telemetry.sdk.", "mlflow.")):
                _add_tag(self.tags, key, value if isinstance(value, str) else dump(value))


def _add_tag(tags: dict[str, str], key: str, value: str) -> None:
    """Add a tag, its value cut; one whose key is not valid is left out, as by stock."""
    try:
        check_name(key, "key")
        check_length("key", MAX_KEY, key)
    except ApiError:
        return
    tags[key] = value[:MAX_TAG_VALUE].replace("\x00", "\ufffd")


class TraceSpans:
    """The spans of one trace in a request, and what they state about the trace."""

    __slots__ = (
        "costs",
        "has_root",
        "inputs",
        "max_end_ms",
        "min_start_ms",
        "name",
        "outputs",
        "resource",
        "rows",
        "session",
        "status",
        "tags",
        "trace_id",
        "usage",
        "user",
    )

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id
        self.rows: dict[str, SpanRow] = {}  # by span id; a later span replaces an earlier one
        self.usage: dict[str, Node] = {}
        self.costs: dict[str, Node] = {}
        self.min_start_ms = MAX_TIME_NS
        self.max_end_ms: int | None = None
        self.has_root = False
        self.status: str | None = None  # of the first root
        self.inputs: str | None = None  # of the last root: previews
        self.outputs: str | None = None
        self.session: str | None = None
        self.user: str | None = None
        self.name: str | None = None
        self.resource: dict[str, str] = {}
        self.tags: dict[str, str] = {}

    @property
    def has_usage(self) -> bool:
        """Whether a span has usage or cost."""
        return any(
            node.values is not None for nodes in (self.usage, self.costs) for node in nodes.values()
        )


class Batch:
    """The spans of a request by trace, in the order of their arrival."""

    __slots__ = ("content_bytes", "prices", "spans", "traces")

    def __init__(self, prices: Prices | None) -> None:
        self.traces: dict[str, TraceSpans] = {}
        self.prices = prices
        self.spans = 0
        self.content_bytes = 0  # about, of the stored texts

    def add(self, span: RawSpan, resource: Resource) -> None:
        """Translate a span and add its row.

        Raises NotASpan, TooLongText (nothing was added), and ApiError for a long session or name.
        """
        trace_number, span_number = _number(span.trace_id, 16), _number(span.span_id, 8)
        parent_number = _number(span.parent_id, 8) if span.parent_id else 0
        if span.start_ns > MAX_TIME_NS or span.end_ns > MAX_TIME_NS:
            raise NotASpan
        trace_id = f"tr-{trace_number:032x}"
        span_id = f"{span_number:016x}"
        parent_id = f"{parent_number:016x}" if parent_number else None
        texts = span.attributes
        span_type = texts.get(c.SPAN_TYPE)
        texts[c.REQUEST_ID] = f'"{trace_id}"'
        if parent_id is None and resource.service is not None:
            texts["service.name"] = f'"{resource.service}"'
        translate(texts, span.events, self.prices)
        content = _content(span, trace_number, span_number, parent_number)
        trace = self.traces.get(trace_id)
        if trace is None:
            trace = self.traces[trace_id] = TraceSpans(trace_id)
        _note(trace, span, span_id, parent_id)
        if parent_id is None:
            _note_root(trace, span)
        if resource.tags and not trace.resource:
            trace.resource = resource.tags
        costs = trace.costs[span_id].values or {}
        trace.rows[span_id] = (
            trace_id,
            span_id,
            parent_id,
            span.name.replace("\x00", "\ufffd"),
            None if span_type is None else _column(span_type),
            _STATUS.get(span.code, "UNSET"),
            span.start_ns,
            span.end_ns,
            content,
            cost(costs.get("input_cost")),
            cost(costs.get("output_cost")),
            cost(costs.get("total_cost")),
            _column(texts[c.MODEL]) if c.MODEL in texts else None,
            _column(texts[c.PROVIDER]) if c.PROVIDER in texts else None,
        )
        self.spans += 1
        self.content_bytes += len(content)


def _number(id_: bytes, size: int) -> int:
    number = int.from_bytes(id_)
    if not id_ or number >> (8 * size):
        raise NotASpan
    return number


def _column(text: str) -> str:
    """The value of an attribute for a column of MAX_MODEL characters."""
    return string_in(text)[:MAX_MODEL].replace("\x00", "\ufffd")


def _note(trace: TraceSpans, span: RawSpan, span_id: str, parent_id: str | None) -> None:
    """Note times, session, user, usage and cost."""
    trace.min_start_ms = min(trace.min_start_ms, span.start_ns // 1_000_000)
    if span.end_ns:  # 0: the span is still open
        trace.max_end_ms = max(trace.max_end_ms or 0, span.end_ns // 1_000_000)
    texts = span.attributes
    if trace.session is None:
        text = texts.get("session.id") or texts.get("gen_ai.conversation.id")
        if text:
            trace.session = string_in(text).replace("\x00", "\ufffd")
            check_length("Session ID", MAX_SESSION, trace.session)
    if trace.user is None and (text := texts.get("user.id")):
        trace.user = string_in(text)[:MAX_TAG_VALUE].replace("\x00", "\ufffd")
    trace.usage[span_id] = Node(span_id, parent_id, values_of(texts.get(c.USAGE)))
    trace.costs[span_id] = Node(span_id, parent_id, values_of(texts.get(c.COST)))


def _note_root(trace: TraceSpans, span: RawSpan) -> None:
    """Note the status, previews and tags that a root states."""
    trace.has_root = True
    trace.status = trace.status or ("ERROR" if span.code == 2 else "OK")
    texts = span.attributes
    inputs, outputs = texts.get(c.INPUTS), texts.get(c.OUTPUTS)
    trace.inputs = preview(inputs, "user") if inputs else None
    trace.outputs = preview(outputs, "assistant") if outputs else None
    for key, text in texts.items():
        if key.startswith(c.TRACE_TAG):
            name = key.removeprefix(c.TRACE_TAG)
            if name in SYSTEM_TAGS:
                continue
            _add_tag(trace.tags, name, string_in(text))
    if NAME in trace.tags:
        trace.name = trace.tags.pop(NAME)
        check_length("Trace name", MAX_NAME, trace.name)


def _base64(number: int, size: int) -> str:
    return b2a_base64(number.to_bytes(size), newline=False).decode()


def _content(span: RawSpan, trace_number: int, span_number: int, parent_number: int) -> str:
    """The JSON text of a span, with Python's separators. Raises TooLongText."""
    if sum(map(len, span.attributes.values())) > MAX_SPAN_CONTENT:
        raise TooLongText
    parent = f'"{_base64(parent_number, 8)}"' if parent_number else "null"
    attributes = ", ".join(
        [f"{quote_short(key)}: {quote(text)}" for key, text in span.attributes.items()]
    )
    events = ", ".join(
        f'{{"name": {quote(name)}, "time_unix_nano": {time_ns}, "attributes": {dump(attributes)}}}'
        for name, time_ns, attributes in span.events
    )
    links = ", ".join(
        f'{{"trace_id": "tr-{int.from_bytes(link.trace_id):032x}",'
        f' "span_id": "{int.from_bytes(link.span_id):016x}",'
        f' "attributes": {dump(link.attributes) if link.attributes else "null"}}}'
        for link in span.links
    )
    # OpenTelemetry's SDK drops the message of a status that is not an error.
    message = quote(span.message) if span.code == 2 else '""'
    content = (
        f'{{"trace_id": "{_base64(trace_number, 16)}", "span_id": "{_base64(span_number, 8)}",'
        f' "parent_span_id": {parent}, "name": {quote(span.name)},'
        f' "start_time_unix_nano": {span.start_ns}, "end_time_unix_nano": {span.end_ns},'
        f' "events": [{events}], "status": {{"code": "STATUS_CODE_{_STATUS.get(span.code, "UNSET")}",'
        f' "message": {message}}}, "attributes": {{{attributes}}}, "links": [{links}]}}'
    )
    if len(content) > MAX_SPAN_CONTENT:
        raise TooLongText
    return content
