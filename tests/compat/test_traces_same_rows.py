"""The same requests leave the same rows in stock's database and in headrace's."""

from __future__ import annotations

import json
import random
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.compat.test_traces_same_database import locations
from tests.faults.stored import rows
from tests.fix_database import empty_database
from tests.fix_server import headrace, stock
from tests.otlp import messages
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.compat
JSON = {"Content-Type": "application/json"}
OTLP = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}
TABLES = {
    "trace_info": "SELECT * FROM trace_info ORDER BY request_id",
    "tags": "SELECT request_id, key, value FROM trace_tags ORDER BY 1, 2",
    "metadata": "SELECT request_id, key, value FROM trace_request_metadata ORDER BY 1, 2",
    "spans": "SELECT trace_id, span_id, experiment_id, parent_span_id, name, type, status, start_time_unix_nano,"
    " end_time_unix_nano, content, input_cost, output_cost, total_cost, model_name, model_provider"
    " FROM spans ORDER BY 1, 2",
    "assessments": "SELECT assessment_id, trace_id, name, assessment_type, value, error, source_type, source_id,"
    " run_id, span_id, rationale, overrides, valid, assessment_metadata, experiment_id, trace_timestamp_ms,"
    " aggregate_value, is_numeric_value FROM assessments ORDER BY 1",
    "links": "SELECT source_type, source_id, destination_type, destination_id FROM entity_associations ORDER BY 2, 4",
}
REQUESTS = 250
ODD = next(text for text in messages.TEXTS if "\0" in text).encode()


def spans(rng: random.Random, trace_ids: list[bytes]) -> ExportTraceServiceRequest:
    """A request with spans of some of the traces, also ones that were sent before."""
    random_spans = messages.request(rng, rng.randrange(1, 4)).SerializeToString()
    # Stock on PostgreSQL refuses NUL in names, which headrace replaces.
    made = ExportTraceServiceRequest.FromString(random_spans.replace(ODD, ODD.replace(b"\0", b"_")))
    used: set[bytes] = set()
    left = [(trace_id, number) for trace_id in trace_ids for number in range(1, 6)]
    for resource in made.resource_spans:
        for attribute in resource.resource.attributes:
            attribute.value.string_value = "my service"
        for scope in resource.scope_spans:
            for span in scope.spans:
                # A tree, because stock never ends with spans that are their own ancestors; and no
                # span twice in a request, whose tokens stock would count twice.
                trace_id, number = rng.choice(left)
                left.remove((trace_id, number))
                span.trace_id, span.span_id = trace_id, bytes(7) + bytes([number])
                span.parent_span_id = b"" if number == 1 else bytes(7) + bytes([number // 2])
                for key in (
                    "session.id",
                    "user.id",
                    "mlflow.traceTag.k",
                    "mlflow.traceTag.mlflow.traceName",
                ):
                    if rng.random() < 0.1:
                        span.attributes.add(
                            key=key
                        ).value.string_value = f"{key} {rng.randrange(5)}"
                # Stock's databases refuse a type that is not a string.
                for attribute in span.attributes:
                    if (
                        attribute.key == "mlflow.spanType"
                        and attribute.value.WhichOneof("value") != "string_value"
                    ):
                        attribute.value.string_value = "TOOL"
                # Stock sees that the client has stated the time of a trace only if a span of the
                # request has usage, cost or a session.
                if rng.random() < 0.4 or trace_id not in used:
                    used.add(trace_id)
                    usage = {
                        "input_tokens": rng.randrange(9),
                        "output_tokens": 2,
                        "total_tokens": 4,
                    }
                    text = span.attributes.add(key="mlflow.chat.tokenUsage").value
                    text.string_value = json.dumps(usage)
                if rng.random() < 0.3:
                    cost = {"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75}
                    span.attributes.add(key="mlflow.llm.cost").value.string_value = json.dumps(cost)
    return made


def information(rng: random.Random, trace_id: bytes) -> dict[str, Any]:
    """A trace as a client sends it."""
    info: dict[str, Any] = {
        "trace_id": f"tr-{trace_id.hex()}",
        "trace_location": locations("0")[0],
        "request_time": f"2025-10-09T08:53:2{rng.randrange(10)}.{rng.randrange(1000):03}Z",
        "execution_duration": f"{rng.randrange(5)}.5s",
        "state": rng.choice(["OK", "ERROR", "IN_PROGRESS"]),
        "trace_metadata": {"m": str(rng.randrange(5)), "mlflow.trace_schema.version": "3"},
        "tags": {"t": str(rng.randrange(5))},
    }
    if rng.random() < 0.5:
        info["trace_metadata"]["mlflow.trace.tokenUsage"] = json.dumps(
            {"input_tokens": rng.randrange(50)}
        )
    if rng.random() < 0.3:
        info["trace_metadata"]["mlflow.trace.session"] = "stated"
    if rng.random() < 0.5:
        info["request_preview"] = "asked"
        info["tags"]["mlflow.traceName"] = "named"
    if rng.random() < 0.5:
        info["client_request_id"] = "c"
    return {"trace": {"trace_info": info}}


def asks(rng: random.Random, name: str = "") -> list[tuple[str, str, bytes, dict[str, str]]]:
    """Requests that write to twelve traces; the ids of their assessments contain a name."""
    trace_ids = [bytes(15) + bytes([n]) for n in range(1, 13)]
    made: list[tuple[str, str, bytes, dict[str, str]]] = []
    traces = "/api/3.0/mlflow/traces"
    while len(made) < REQUESTS:
        kind, trace_id = rng.random(), rng.choice(trace_ids)
        path = f"{traces}/tr-{trace_id.hex()}"
        if kind < 0.5:
            request = spans(rng, trace_ids)
            if messages.stock_contents(request.SerializeToString()) is None:
                continue
            made.append(("POST", "/v1/traces", request.SerializeToString(), OTLP))
        elif kind < 0.75:
            made.append(("POST", traces, json.dumps(information(rng, trace_id)).encode(), JSON))
        elif kind < 0.85:
            tag = {"key": f"k{rng.randrange(3)}", "value": "v"}
            made.append(("PATCH", f"{path}/tags", json.dumps(tag).encode(), JSON))
        elif kind < 0.9:
            made.append(("DELETE", f"{path}/tags", b'{"key": "k1"}', JSON))
        else:
            given = {
                "assessment_id": f"a-{name}{len(made)}",
                "assessment_name": "score",
                "source": {"source_type": "HUMAN", "source_id": "me"},
                rng.choice(["feedback", "expectation"]): {
                    "value": rng.choice([True, 4, "yes", [1, "a"], None])
                },
                "metadata": {"k": "é"},
            }
            made.append(
                ("POST", f"{path}/assessments", json.dumps({"assessment": given}).encode(), JSON)
            )
    return made


def unquoted(table: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row without stock's quotes around the type of a span, which MLflow 3.18 no longer writes."""
    if table != "spans" or row[5] is None:
        return row
    value = row[5]
    with suppress(ValueError):
        value = json.loads(row[5])
    return (*row[:5], value if isinstance(value, str) else row[5], *row[6:])


def plain(table: str, found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [
        tuple(bool(v) if isinstance(v, bool) else v for v in unquoted(table, row)) for row in found
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_requests_leave_the_same_rows(
    seed: int, database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    uris = []
    statuses: list[list[int]] = []
    with ExitStack() as stack:
        for name, start in (("stock", stock), ("ours", headrace)):
            directory = tmp_path / name
            directory.mkdir()
            uri = stack.enter_context(empty_database(database, request, directory))
            more = (
                {"MLFLOW_MODEL_CATALOG_URI": ""} if name == "stock" else {"HEADRACE_BRIDGE": "off"}
            )
            server = stack.enter_context(start(uri, directory, environment=more))
            wire = stack.enter_context(Wire(server.url))
            answers = [wire.ask(*ask) for ask in asks(random.Random(seed))]
            statuses.append([answer.status for answer in answers])
            uris.append(uri)
            assert statuses[-1].count(200) > REQUESTS * 0.7, answers[-1]
        for table, query in TABLES.items():
            theirs, ours = (plain(table, rows(uri, query)) for uri in uris)
            assert ours == theirs, table
    # Stock answers a tag for an unknown trace with its driver's error.
    pairs = set(zip(*statuses, strict=True))
    assert pairs <= {(200, 200), (404, 404), (400, 404), (400, 400)}
