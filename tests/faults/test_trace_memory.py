"""Memory stays bounded while clients send very many spans."""

from __future__ import annotations

import json
import sys
import uuid
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.faults.load import Once, in_threads
from tests.faults.stored import rows
from tests.fix_server import headrace
from tests.processes import children, peak_bytes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
TRACES, SPANS = 100, 10  # of one request
CLIENTS = 4
MAX_BYTES = 150 << 20  # of all processes of the server
HEADERS = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}


def template() -> tuple[bytes, list[bytes]]:
    """A request as a tracing library sends it, and the ids of its traces."""
    made = ExportTraceServiceRequest()
    spans = made.resource_spans.add().scope_spans.add().spans
    ids = [uuid.uuid4().bytes for _ in range(TRACES)]
    for trace_id in ids:
        for number in range(1, SPANS + 1):
            span = spans.add(trace_id=trace_id, span_id=bytes(7) + bytes([number]))
            span.name = f"step {number}"
            span.parent_span_id = b"" if number == 1 else bytes(7) + b"\1"
            span.start_time_unix_nano = 1_760_000_000_000_000_000 + number
            span.end_time_unix_nano = span.start_time_unix_nano + 5_000_000
            texts = {
                "mlflow.spanType": "LLM",
                "mlflow.spanInputs": json.dumps(
                    {"messages": [{"role": "user", "content": "a" * 200}]}
                ),
                "mlflow.spanOutputs": json.dumps({"answer": "b" * 200}),
                "mlflow.llm.model": "gpt-4o",
                "mlflow.chat.tokenUsage": json.dumps(
                    {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
                ),
                "step": f"{number}",
            }
            for key, text in texts.items():
                span.attributes.add(key=key).value.string_value = text
    return made.SerializeToString(), ids


def send(url: str, requests: int, numbers: count[int]) -> None:
    """Send requests, each with traces of its own."""
    body, ids = template()
    with Once(url) as wire:
        for _ in range(requests):
            for n, old in enumerate(ids):
                ids[n] = next(numbers).to_bytes(16)
                body = body.replace(old, ids[n])
            answer = wire.ask("POST", "/v1/traces", body, headers=HEADERS)
            assert answer.status == 200, answer


@pytest.mark.parametrize(
    "spans",
    [pytest.param(40_000, marks=pytest.mark.timeout(300)), pytest.param(1_000_000, marks=SOAK)],
)
def test_memory_while_spans_come_in(
    spans: int, uri: str, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = count(0xABCD_0000_0000_0000_0000_0000_0000_0001)
    requests = spans // (TRACES * SPANS * CLIENTS)
    with headrace(uri, tmp_path) as server:
        in_threads([partial(send, server.url, requests, numbers) for _ in range(CLIENTS)])
        pid = server.process.pid
        peak = sum(map(peak_bytes, [pid, *children(pid)]))
    assert rows(uri, "SELECT count(*) FROM spans") == [(spans,)]
    with capsys.disabled():
        print(f"\n{spans:,} spans on {database}: at most {peak / 2**20:.0f} MiB")  # noqa: T201 what the long run is for
    assert peak < MAX_BYTES
