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
from headrace.otlp.usage import COSTS, cost, values_of
from headrace.otlp.values import (
    LONG,
    decoded,
    dump,
    gathered,
    quote,
    quote_short,
    quoted,
    string_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.otlp.prices import Prices
    from headrace.otlp.span import Link, RawSpan

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
_ZERO: Final = bytes(8)  # as the id of a parent: there is none
_NO_COSTS: Final = (None, None, None)
Values = dict[str, Any]  # token counts or costs

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
        "shown_id",
        "status",
        "tags",
        "trace_id",
        "usage",
        "user",
    )

    def __init__(self, number: int) -> None:
        self.trace_id = f"tr-{number:032x}"
        self.shown_id = base64_of(number.to_bytes(16))
        self.rows: dict[str, SpanRow] = {}  # by span id; a later span replaces an earlier one
        self.usage: dict[str, Values] = {}  # by span id, of the spans that have any
        self.costs: dict[str, Values] = {}
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
        return bool(self.usage or self.costs)


class Batch:
    """The spans of a request by trace, in the order of their arrival."""

    __slots__ = ("_by_bytes", "content_bytes", "prices", "spans", "traces")

    def __init__(self, prices: Prices | None) -> None:
        self.traces: dict[str, TraceSpans] = {}
        self._by_bytes: dict[bytes, TraceSpans] = {}
        self.prices = prices
        self.spans = 0
        self.content_bytes = 0  # about, of the stored texts

    def _trace(self, id_: bytes) -> TraceSpans:
        """The spans of a trace, which may be a new one. Raises NotASpan."""
        new = TraceSpans(number_of(id_, 16))
        return self.traces.get(new.trace_id, new)

    def add(self, span: RawSpan, resource: Resource) -> None:
        """Translate a span and add its row.

        Raises NotASpan, TooLongText (nothing was added), and ApiError for a long session or name.
        """
        span_id, parent_id = span_id_of(span.span_id), parent_of(span)
        if span.start_ns > MAX_TIME_NS or span.end_ns > MAX_TIME_NS:
            raise NotASpan
        trace = self._by_bytes.get(span.trace_id) or self._trace(span.trace_id)
        texts = span.attributes
        span_type = texts.get(c.SPAN_TYPE)
        texts[c.REQUEST_ID] = f'"{trace.trace_id}"'
        if not parent_id and resource.service is not None:
            texts["service.name"] = f'"{resource.service}"'
        translate(texts, span.events, self.prices)
        content = span_json(span, trace.shown_id, span_id, parent_id)
        self._by_bytes[span.trace_id] = self.traces[trace.trace_id] = trace
        key = span_id.hex()
        _note(trace, span, key)
        if not parent_id:
            _note_root(trace, span)
        if resource.tags and not trace.resource:
            trace.resource = resource.tags
        costs = trace.costs.get(key)
        trace.rows[key] = (
            trace.trace_id,
            key,
            parent_id.hex() if parent_id else None,
            span.name.replace("\x00", "\ufffd"),
            None if span_type is None else _column(span_type),
            _STATUS.get(span.code, "UNSET"),
            span.start_ns,
            span.end_ns,
            content,
            *(_NO_COSTS if costs is None else [cost(costs.get(name)) for name in COSTS]),
            _column(texts[c.MODEL]) if c.MODEL in texts else None,
            _column(texts[c.PROVIDER]) if c.PROVIDER in texts else None,
        )
        self.spans += 1
        self.content_bytes += len(content)


def number_of(id_: bytes, size: int) -> int:
    """The number of an id of at most `size` bytes. Raises NotASpan."""
    number = int.from_bytes(id_)
    if not id_ or number >> (8 * size):
        raise NotASpan
    return number


def span_id_of(id_: bytes) -> bytes:
    """The id of a span, which other senders may shorten or pad. Raises NotASpan."""
    return id_ if len(id_) == 8 else number_of(id_, 8).to_bytes(8)


def _column(text: str) -> str:
    """The value of an attribute for a column of MAX_MODEL characters."""
    return string_in(text)[:MAX_MODEL].replace("\x00", "\ufffd")


def _note(trace: TraceSpans, span: RawSpan, span_id: str) -> None:
    """Note times, session, user, usage and cost."""
    start_ms, end_ns = span.start_ns // 1_000_000, span.end_ns
    if start_ms < trace.min_start_ms:
        trace.min_start_ms = start_ms
    # 0: the span is still open
    if end_ns and (trace.max_end_ms is None or end_ns // 1_000_000 > trace.max_end_ms):
        trace.max_end_ms = end_ns // 1_000_000
    texts = span.attributes
    if trace.session is None:
        text = texts.get("session.id") or texts.get("gen_ai.conversation.id")
        if text:
            trace.session = string_in(text).replace("\x00", "\ufffd")
            check_length("Session ID", MAX_SESSION, trace.session)
    if trace.user is None and (text := texts.get("user.id")):
        trace.user = string_in(text)[:MAX_TAG_VALUE].replace("\x00", "\ufffd")
    if c.USAGE in texts or trace.usage:
        _keep(trace.usage, span_id, values_of(texts.get(c.USAGE)))
    if c.COST in texts or trace.costs:
        _keep(trace.costs, span_id, values_of(texts.get(c.COST)))


def _keep(known: dict[str, Values], span_id: str, values: Values | None) -> None:
    """Set the values of a span; one that is sent again without any has none."""
    if values is None:
        known.pop(span_id, None)
    else:
        known[span_id] = values


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


def parent_of(span: RawSpan) -> bytes:
    """The id of the parent, empty for a root. Raises NotASpan."""
    if not span.parent_id:
        return b""
    parent_id = span_id_of(span.parent_id)
    return b"" if parent_id == _ZERO else parent_id


def base64_of(id_: bytes) -> str:
    """The base64 of an id, as spans are stored with it."""
    return b2a_base64(id_, newline=False).decode()


def _link(link: Link) -> str:
    return (
        f'{{"trace_id": "tr-{int.from_bytes(link.trace_id):032x}",'
        f' "span_id": "{int.from_bytes(link.span_id):016x}",'
        f' "attributes": {dump(link.attributes) if link.attributes else "null"}}}'
    )


def span_json(span: RawSpan, trace_id: str, span_id: bytes, parent_id: bytes) -> str | bytearray:
    """The JSON text of a span, with Python's separators; a long one as UTF-8. Raises TooLongText."""
    size = sum(map(len, span.attributes.values()))
    if size > MAX_SPAN_CONTENT:
        raise TooLongText
    parent = f'"{base64_of(parent_id)}"' if parent_id else "null"
    begin = (
        f'{{"trace_id": "{trace_id}", "span_id": "{base64_of(span_id)}", "parent_span_id": {parent}'
    )
    if size > LONG or len(span.name) > LONG or len(span.message) > LONG:
        return gathered(_pieces(span, begin))
    if span.events or span.links:
        content = gathered(_pieces(span, begin))
        return decoded(content) if len(content) <= LONG else content
    attributes = ", ".join(
        [f"{quote_short(key)}: {quote(text)}" for key, text in span.attributes.items()]
    )
    return (
        f'{begin}, "name": {quote(span.name)}, {_times(span)}, "events": [], "status": {_status(span)},'
        f' "attributes": {{{attributes}}}, "links": []}}'
    )


def _times(span: RawSpan) -> str:
    return f'"start_time_unix_nano": {span.start_ns}, "end_time_unix_nano": {span.end_ns}'


def _status(span: RawSpan) -> str:
    # OpenTelemetry's SDK drops the message of a status that is not an error.
    message = quote(span.message) if span.code == 2 else '""'
    return f'{{"code": "STATUS_CODE_{_STATUS.get(span.code, "UNSET")}", "message": {message}}}'


def _pieces(span: RawSpan, begin: str) -> Iterator[str]:
    """The pieces of `span_json`, each of a bounded length."""
    yield f'{begin}, "name": '
    yield from quoted(span.name)
    yield f', {_times(span)}, "events": ['
    for number, (name, time_ns, attributes) in enumerate(span.events):
        yield ', {"name": ' if number else '{"name": '
        yield from quoted(name)
        yield f', "time_unix_nano": {time_ns}, "attributes": '
        yield dump(attributes)
        yield "}"
    yield f'], "status": {_status(span)}, "attributes": {{'
    for number, (key, text) in enumerate(span.attributes.items()):
        yield ", " if number else ""
        yield from quoted(key)
        yield ": "
        yield from quoted(text)
    yield '}, "links": ['
    for number, link in enumerate(span.links):
        yield f"{', ' if number else ''}{_link(link)}"
    yield "]}"
