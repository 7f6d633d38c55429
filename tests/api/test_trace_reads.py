"""Reads of traces that a comparison with stock cannot show: long traces, missing spans, odd contents."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from tests.fill import fill
from tests.fix_server import headrace
from tests.processes import peak_bytes, reset_peak
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_server import Server

A3 = "/api/3.0/mlflow/traces"
ARCHIVE_LOCATION = "mlflow.trace.archiveLocation"
ARTIFACT = "/ajax-api/3.0/mlflow/get-trace-artifact?request_id="
LONG_SPANS = 32_843  # of a trace that freezes stock's page: mlflow issue 24314
LONG = "tr-long"
TAGGED = "tr-tagged"
MANY = 300  # tags, metadata and assessments of TAGGED
GROWTH_BYTES = 20 << 20


def content(number: int, parent: int | None, size: int) -> str:
    """The stored form of a span."""
    stored = {
        "trace_id": "AAAAAAAAAAAAAAAAAAAAAQ==",
        "span_id": f"{number:011}=",
        "parent_span_id": None if parent is None else f"{parent:011}=",
        "name": f"step {number}",
        "start_time_unix_nano": 10**18 + number,
        "end_time_unix_nano": 10**18 + number + 5,
        "events": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {
            "mlflow.traceRequestId": json.dumps(LONG),
            "mlflow.spanInputs": json.dumps({"q": "x" * size}),
        },
        "links": [],
    }
    return json.dumps(stored)


def add_traces(uri: str) -> None:
    """Write the traces of these tests into a database."""
    trace = "request_id, experiment_id, timestamp_ms, status, db_payload_generation"
    fill(
        uri,
        "trace_info",
        trace,
        [(id_, 0, 1, "OK", 0) for id_ in (LONG, TAGGED, "tr-empty", "tr-old")],
    )
    located = [
        (id_, "mlflow.trace.spansLocation", "TRACKING_STORE") for id_ in (LONG, TAGGED, "tr-empty")
    ]
    archived = [("tr-old", "mlflow.trace.spansLocation", "ARCHIVE_REPO")]
    many = [(TAGGED, f"tag {n:03}", "v" * 5000) for n in range(MANY)]
    fill(uri, "trace_tags", "request_id, key, value", located + archived + many)
    stats = [("tr-empty", "mlflow.trace.sizeStats", '{"num_spans": 3}')]
    metadata = [(TAGGED, f"m {n:03}", "m" * 500) for n in range(MANY)]
    fill(uri, "trace_request_metadata", "request_id, key, value", stats + metadata)
    columns = (
        "assessment_id, trace_id, name, assessment_type, value, created_timestamp,"
        " last_updated_timestamp, source_type, valid, is_numeric_value"
    )
    found = [
        (f"a-{n:04}", TAGGED, "score", "feedback", "1.0", 1, 1, "HUMAN", True, True)
        for n in range(4 * MANY)
    ]
    fill(uri, "assessments", columns, found)
    columns = (
        "trace_id, experiment_id, span_id, parent_span_id, name, status, start_time_unix_nano,"
        " end_time_unix_nano, content"
    )
    # The root last, so that only the order of the answer puts it first.
    order = [*range(LONG_SPANS - 1, 0, -1), 0]
    spans = [
        (
            *(LONG, 0, f"{n:016x}", None if n == 0 else f"{0:016x}", f"step {n}", "OK"),
            *(10**18 + n, 10**18 + n + 5, content(n, None if n == 0 else 0, 600)),
        )
        for n in order
    ]
    spans.append((TAGGED, 0, "01", None, "s", "OK", 1, 2, content(1, None, 5)))
    fill(uri, "spans", columns, spans)


@pytest.fixture
def server(uri: str, tmp_path: Path) -> Iterator[Server]:
    """A server without a bridge on a database with the traces of these tests."""
    with headrace(uri, tmp_path, environment={"HEADRACE_BRIDGE": "off"}) as running:
        add_traces(uri)
        yield running


def read(server: Server, target: str, status: int = 200) -> Any:
    """The JSON of an answer."""
    with Wire(server.url) as wire:
        answer = wire.ask("GET", target)
        assert answer.status == status, answer
        return json.loads(answer.body)


def numbers(spans: list[dict[str, Any]]) -> list[int]:
    """The numbers of spans, from their names."""
    return [int(span["name"].split()[1]) for span in spans]


def test_a_long_trace_is_sent_whole_in_order_and_takes_little_memory(server: Server) -> None:
    """32,843 spans of 900 bytes, as OpenTelemetry's JSON and as stored."""
    read(server, f"{A3}/get?trace_id={TAGGED}")  # loads what every answer needs
    for target in (f"{A3}/get?trace_id={LONG}", f"{ARTIFACT}{LONG}"):
        before = reset_peak(server.process.pid)
        found = read(server, target)
        grown = peak_bytes(server.process.pid) - before
        spans = found["trace"]["spans"] if "trace" in found else found["spans"]
        assert numbers(spans) == list(range(LONG_SPANS))
        assert grown < GROWTH_BYTES, f"{target} took {grown >> 20} MiB"


def test_a_batch_with_a_long_trace_is_sent_in_pieces(server: Server) -> None:
    found = read(server, f"{A3}/batchGet?trace_ids={TAGGED}&trace_ids={LONG}&trace_ids=tr-no")
    traces = found["traces"]
    assert [trace["trace_info"]["trace_id"] for trace in traces] == [TAGGED, LONG]
    assert numbers(traces[1]["spans"]) == list(range(LONG_SPANS))


def test_a_trace_with_very_many_tags_and_assessments_is_shown_whole(server: Server) -> None:
    """As its info, in a batch, in a search and with its spans; values are cut as in any answer."""
    with Wire(server.url) as wire:
        headers = {"Content-Type": "application/json"}
        body = json.dumps({"trace_ids": [TAGGED]}).encode()
        batch = wire.ask("POST", f"{A3}/batchGetInfos", body, headers).json()["trace_infos"]
        places = [{"mlflow_experiment": {"experiment_id": "0"}}]
        wanted = {"locations": places, "filter": f"request_id = '{TAGGED}'"}
        sent = json.dumps(wanted).encode()
        page = wire.ask("POST", f"{A3}/search", sent, headers).json()["traces"]
    shown = [
        read(server, f"{A3}/{TAGGED}")["trace"]["trace_info"],
        read(server, f"{A3}/get?trace_id={TAGGED}")["trace"]["trace_info"],
        *batch,
        *page,
    ]
    assert len(shown) == 4
    for info in shown:
        assert len(info["tags"]) == MANY + 1
        assert info["tags"]["tag 007"] == "v" * 4096
        assert len(info["trace_metadata"]) == MANY
        assert info["trace_metadata"]["m 007"] == "m" * 250
        assert [one["assessment_id"] for one in info["assessments"]] == [
            f"a-{n:04}" for n in range(4 * MANY)
        ]


def test_spans_that_have_not_arrived_are_waited_for(server: Server, uri: str) -> None:
    """With allow_partial the answer comes at once; without it, after the time that MLflow waits."""
    partial = read(server, f"{A3}/get?trace_id=tr-empty&allow_partial=true")
    assert "spans" not in partial["trace"]
    refused = read(server, f"{A3}/get?trace_id=tr-empty", 404)
    assert "is not fully exported yet" in refused["message"]
    columns = "trace_id, experiment_id, span_id, name, status, start_time_unix_nano, end_time_unix_nano, content"
    spans = [
        ("tr-empty", 0, f"{n:016x}", "s", "OK", n + 1, n + 2, content(n, None, 1)) for n in range(3)
    ]
    fill(uri, "spans", columns, spans)
    assert len(read(server, f"{A3}/get?trace_id=tr-empty")["trace"]["spans"]) == 3


def archive(directory: Path, count: int) -> str:
    """Write the file of an archived trace, its root last; return its artifact URI."""
    data = TracesData()
    spans = data.resource_spans.add().scope_spans.add().spans
    for n in [*range(count - 1, 0, -1), 0]:
        span = spans.add(trace_id=bytes(15) + b"\1", span_id=(n + 1).to_bytes(8), name=f"step {n}")
        span.parent_span_id = b"" if n == 0 else (1).to_bytes(8)
        span.start_time_unix_nano, span.end_time_unix_nano = 10**18 + n, 10**18 + n + 5
        span.attributes.add(key="mlflow.spanInputs").value.string_value = "x" * 600
    directory.mkdir(parents=True)
    (directory / "traces.pb").write_bytes(data.SerializeToString())
    return directory.as_uri()


def test_an_archived_trace_is_read_from_its_file_in_order_and_takes_little_memory(
    server: Server, uri: str, tmp_path: Path
) -> None:
    """32,843 spans of 700 bytes: whole, in a batch, and as stored."""
    place = archive(tmp_path / "mlartifacts" / "0" / "traces", LONG_SPANS)
    fill(uri, "trace_tags", "request_id, key, value", [("tr-old", ARCHIVE_LOCATION, place)])
    read(server, f"{A3}/get?trace_id={TAGGED}")  # loads what every answer needs
    for target in (
        f"{A3}/get?trace_id=tr-old",
        f"{A3}/batchGet?trace_ids=tr-old&trace_ids={TAGGED}",
        f"{ARTIFACT}tr-old",
    ):
        before = reset_peak(server.process.pid)
        found = read(server, target)
        grown = peak_bytes(server.process.pid) - before
        if "traces" in found:
            assert len(found["traces"]) == 2
            found = {"trace": found["traces"][0]}
        spans = found["trace"]["spans"] if "trace" in found else found["spans"]
        assert numbers(spans) == list(range(LONG_SPANS))
        assert grown < GROWTH_BYTES, f"{target} took {grown >> 20} MiB"


def test_an_archive_is_read_below_the_servers_directories_only(
    server: Server, uri: str, tmp_path: Path
) -> None:
    refused = read(server, f"{A3}/get?trace_id=tr-old", 500)
    assert refused["message"] == "Trace data is corrupted for request_id=tr-old"
    place = archive(tmp_path / "elsewhere", 1)
    fill(uri, "trace_tags", "request_id, key, value", [("tr-old", ARCHIVE_LOCATION, place)])
    for target in (f"{A3}/get?trace_id=tr-old", f"{ARTIFACT}tr-old"):
        assert "--local-artifact-roots" in read(server, target, 400)["message"]
    body = json.dumps({"experiment_id": "0", "request_ids": ["tr-old"]}).encode()
    with Wire(server.url) as wire:
        answer = wire.ask("POST", f"{A3}/delete-traces", body, {"Content-Type": "application/json"})
    assert answer.json() == {"traces_deleted": 0}, "the trace remains if its file cannot be deleted"
    assert (tmp_path / "elsewhere" / "traces.pb").exists()


def test_a_regular_expression_that_backtracks_ends_and_delays_nobody(
    server: Server, uri: str
) -> None:
    """On SQLite it is refused after its time; PostgreSQL's are of another kind."""
    columns = "request_id, experiment_id, timestamp_ms, status, db_payload_generation, trace_name"
    fill(uri, "trace_info", columns, [("tr-named", 0, 1, "OK", 0, "x" * 4000)])
    wanted = {
        "locations": [{"mlflow_experiment": {"experiment_id": "0"}}],
        "filter": "name RLIKE '(x+x+)+y'",
    }
    headers = {"Content-Type": "application/json"}
    with Wire(server.url) as wire, Wire(server.url) as other, ThreadPoolExecutor(1) as pool:
        body = json.dumps(wanted).encode()
        asked = pool.submit(wire.ask, "POST", f"{A3}/search", body, headers)
        answered = 0
        while not asked.done():
            assert other.ask("GET", "/livez").status == 200
            answered += 1
            time.sleep(0.02)
        status = asked.result().status
        assert status == (400 if uri.startswith("sqlite") else 200)
        assert status == 200 or answered > 20
        wanted["filter"] = "name RLIKE 'x{3}$'"
        found = wire.ask("POST", f"{A3}/search", json.dumps(wanted).encode(), headers).json()
        assert [trace["trace_id"] for trace in found["traces"]] == ["tr-named"]


@pytest.mark.parametrize("stored", ["not JSON", '{"name": 5}', "[]", '{"attributes": {"a": "{"}}'])
def test_a_span_with_odd_contents_does_not_fail_the_trace(
    server: Server, uri: str, stored: str
) -> None:
    """The span is shown as far as it can be read."""
    columns = "trace_id, experiment_id, span_id, name, status, start_time_unix_nano, content"
    fill(uri, "spans", columns, [("tr-empty", 0, "0a", "s", "OK", 1, stored)])
    shown = read(server, f"{A3}/get?trace_id=tr-empty&allow_partial=true")
    assert len(shown["trace"]["spans"]) == 1
