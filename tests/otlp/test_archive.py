"""Files of archived traces are read as the installed mlflow package reads them."""

from __future__ import annotations

import json
import mmap
import random
import tempfile

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracing.otel.otel_archival import traces_data_pb_to_spans
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from tests.otlp import messages

from headrace.otlp import archive


def archived(seed: int, spans: int) -> bytes:
    """A file with random spans of one trace, in random order."""
    rng = random.Random(seed)
    data = TracesData()
    scope = data.resource_spans.add().scope_spans.add()
    while len(scope.spans) < spans:
        for resource in messages.request(rng).resource_spans:
            for inner in resource.scope_spans:
                scope.spans.extend(inner.spans)
    for number, span in enumerate(scope.spans):
        span.trace_id, span.span_id = bytes(15) + b"\x07", number.to_bytes(7) + b"\x01"
        for link in span.links:  # the package refuses longer ids
            link.trace_id, link.span_id = link.trace_id[:16], link.span_id[:8]
        if len(span.parent_span_id) > 8:
            span.parent_span_id = b""
    return data.SerializeToString()


def texts(data: bytes) -> list[str]:
    """The stored forms of the spans of a file."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            places = archive.places(mapped)
    assert places == archive.places(data)
    pairs = zip(places[::2], places[1::2], strict=True)
    return [archive.text(data[at:end]) for at, end in pairs]


@pytest.mark.parametrize("seed", range(60))
def test_spans_are_those_that_the_package_reads(seed: int) -> None:
    data = archived(seed, 6)
    expected = [span.to_dict() for span in traces_data_pb_to_spans(data)]
    assert [json.loads(text) for text in texts(data)] == json.loads(
        json.dumps(expected, default=str)
    )


def test_what_the_package_refuses_is_refused() -> None:
    data = TracesData.FromString(archived(1, 3))
    two = TracesData()
    two.CopyFrom(data)
    two.resource_spans.add().CopyFrom(data.resource_spans[0])
    scopes = TracesData()
    scopes.CopyFrom(data)
    scopes.resource_spans[0].scope_spans.add()
    traces = TracesData()
    traces.CopyFrom(data)
    traces.resource_spans[0].scope_spans[0].spans[1].trace_id = bytes(15) + b"\x08"
    nameless = TracesData()
    nameless.CopyFrom(data)
    nameless.resource_spans[0].scope_spans[0].spans[0].span_id = b""
    whole = data.SerializeToString()
    broken = [m.SerializeToString() for m in (TracesData(), two, scopes, traces, nameless)]
    for bad in (b"", *broken, whole[:-1], b"x" + whole):
        with pytest.raises((MlflowException, ValueError)):
            traces_data_pb_to_spans(bad)
        with pytest.raises(archive.Corrupted):
            archive.places(bad)


def test_mutated_files_are_read_or_refused() -> None:
    rng = random.Random(5)
    refused = 0
    for seed in range(300):
        data = bytearray(archived(seed % 10, 2))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            texts(bytes(data))
        except archive.Corrupted:
            refused += 1
    assert 20 < refused < 300
