"""Random OTLP requests, and what the installed mlflow package makes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mlflow.entities.span import Span
from mlflow.tracing.otel.translation import translate_span_when_storing
from mlflow.tracing.utils import TraceJSONEncoder
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headrace.otlp import conventions
from headrace.otlp.conventions import CONVENTIONS

if TYPE_CHECKING:
    import random

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

KINDS: Final = [kind for one in CONVENTIONS for kind in one.kinds]
KIND_KEYS: Final = [one.kind for one in CONVENTIONS if one.kind] + ["entity.type", "ai.operationId"]
FIELDS: Final = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read",
    "cache_write",
    "inputs",
    "outputs",
    "models",
    "tools",
)
KEYS: Final = sorted(
    {
        key
        for one in CONVENTIONS
        for name in FIELDS
        for key in getattr(one, name)
        if isinstance(key, str)
    }
    | {one.provider for one in CONVENTIONS if one.provider}
    | {
        "gen_ai.prompt.0.content",
        "gen_ai.completion.0.tool_calls.1.arguments",
        "gen_ai.completion.0.content",
        "gen_ai.agent.name",
        "ai.prompt.tools",
        "ai.prompt.messages",
        "ai.response.toolCalls",
        "user_prompt",
        "new_context",
        "tool_input",
        "file_path",
        "response.model_output",
        "lk.agent_name",
        "lk.tts.x",
        "lk.function_tool.name",
        "lk.retry_count",
        "voltagent.operation_id",
        "plain.key",
        conventions.SPAN_TYPE,
        conventions.INPUTS,
        conventions.OUTPUTS,
        conventions.MODEL,
        conventions.USAGE,
        conventions.REQUEST_ID,
    }
)
EVENTS: Final = (
    ("gen_ai.content.prompt", "gen_ai.prompt"),
    ("gen_ai.content.completion", "gen_ai.completion"),
    ("gen_ai.user.message", "content"),
    ("gen_ai.system.message", "content"),
    ("gen_ai.choice", "content"),
    ("tool.output", "output"),
    ("exception", "exception.message"),
)
TEXTS: Final = (
    "", "plain", "5", "true", "null", '"q"', '"UNKNOWN"', "UNKNOWN", "[1]", '[{"role": "user", "content": "é"}]',
    '{"a": 1}', '{"model": "gpt-4o"}', '{"model": 5}', '{"messages": [{"role": "user", "content": "hi"}]}',
    "gpt-4o", "openai", "gemini-cli", "<REDACTED>", '"<REDACTED>"', "é\u2028\x00\t", "{broken", '"half', "[]", "{}",
    '{"contents": 1}', '[{"parts": [1]}]', '{"input_tokens": 3, "output_tokens": 4}', "  [1]", "NaN", "[NaN]",
)  # fmt: skip


def fill(value: AnyValue, rng: random.Random, depth: int = 0) -> None:
    """Set a random value."""
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind in (0, 1, 2):
        value.string_value = rng.choice(TEXTS)
    elif kind == 3:
        value.int_value = rng.choice([0, 1, -1, 7, 2**63 - 1, -(2**63)])
    elif kind == 4:
        value.double_value = rng.choice([0.0, -0.0, 2.0, 1e300, 0.1, float("nan"), float("inf")])
    elif kind == 5:
        value.bool_value = rng.random() < 0.5
    elif kind == 6:
        value.array_value.SetInParent()
        for _ in range(rng.randrange(3)):
            fill(value.array_value.values.add(), rng, depth + 1)
    elif kind == 7:
        value.kvlist_value.SetInParent()
        for _ in range(rng.randrange(3)):
            item = value.kvlist_value.values.add()
            item.key = rng.choice(["a", "b", "model", "é"])
            fill(item.value, rng, depth + 1)
    elif rng.random() < 0.3:
        value.bytes_value = rng.randbytes(3)


def request(rng: random.Random, spans: int = 3) -> ExportTraceServiceRequest:
    """A request with some spans of one trace."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    if rng.random() < 0.5:
        attribute = resource.resource.attributes.add(key="service.name")
        attribute.value.string_value = rng.choice(["claude-code", "my service"])
    scope = resource.scope_spans.add()
    trace_id = rng.randbytes(16)
    for _ in range(spans):
        span = scope.spans.add(trace_id=trace_id, span_id=rng.randbytes(8))
        span.name = rng.choice(["n", "", "é"])
        span.kind = rng.randrange(6)
        span.start_time_unix_nano = 1_760_000_000_000_000_000 + rng.randrange(10**9)
        span.end_time_unix_nano = span.start_time_unix_nano + rng.randrange(10**9)
        if rng.random() < 0.5:
            span.parent_span_id = rng.randbytes(8)
        span.status.code = rng.randrange(3)
        span.status.message = rng.choice(["", "boom"])
        for _ in range(rng.randrange(8)):
            attribute = span.attributes.add()
            if rng.random() < 0.3:
                attribute.key = rng.choice(KIND_KEYS)
                attribute.value.string_value = rng.choice(KINDS)
            else:
                attribute.key = rng.choice(KEYS)
                fill(attribute.value, rng)
        for _ in range(rng.choice([0, 0, 1, 2])):
            name, key = rng.choice(EVENTS)
            event = span.events.add(name=name, time_unix_nano=rng.randrange(2**40))
            attribute = event.attributes.add(key=key)
            if key in ("gen_ai.prompt", "gen_ai.completion"):
                # Stock stores other values than strings in a form that it cannot read.
                attribute.value.string_value = rng.choice(TEXTS)
            else:
                fill(attribute.value, rng)
        if rng.random() < 0.2:
            link = span.links.add(trace_id=rng.randbytes(16), span_id=rng.randbytes(8))
            fill(link.attributes.add(key="k").value, rng)
    return made


def stock_contents(body: bytes) -> list[dict[str, Any]] | None:
    """The stored form of each span by the installed package; None if it refuses the request."""
    parsed = ExportTraceServiceRequest()
    parsed.ParseFromString(body)
    found = []
    for resource in parsed.resource_spans:
        for scope in resource.scope_spans:
            for proto in scope.spans:
                try:
                    span = Span.from_otel_proto(proto, resource=resource.resource)
                    stored = translate_span_when_storing(span)
                except Exception:  # noqa: BLE001 stock answers 422 for any
                    return None
                text = json.dumps(stored, cls=TraceJSONEncoder, ensure_ascii=False)
                found.append(json.loads(text))
    return found
