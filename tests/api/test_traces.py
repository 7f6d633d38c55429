"""Promises of the routes that write traces, which a comparison with stock does not show."""

from __future__ import annotations

import gzip
import json
import random
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.faults.stored import rows
from tests.otlp import messages
from tests.otlp.test_bytes import mutated
from tests.wire import Wire

from headrace.api.traces.traces import read_sql, view
from headrace.auth.redactions import Hidden
from headrace.contract.limits import MAX_OTLP_BYTES, MAX_SPAN_ITEMS
from headrace.db.open import open_database
from headrace.settings.table import Settings

if TYPE_CHECKING:
    from tests.fix_api import Api
    from tests.wire import Answer

A3 = "/api/3.0/mlflow/traces"
JSON = {"Content-Type": "application/json"}
START_NS = 1_760_000_000_000_000_000


def new_id() -> str:
    """The hexadecimal id of a new trace."""
    return uuid.uuid4().hex


def span(trace: str, number: int, parent: int | None = None, **attributes: Any) -> dict[str, Any]:
    """A span in OTLP's JSON; it lasts as many milliseconds as its number."""
    made: dict[str, Any] = {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "name": f"step {number}",
        "startTimeUnixNano": str(START_NS + number),
        "endTimeUnixNano": str(START_NS + number * 1_000_000),
        "attributes": [
            {"key": key.replace("_", "."), "value": {"stringValue": value}}
            for key, value in attributes.items()
        ],
    }
    return made if parent is None else made | {"parentSpanId": f"{parent:016x}"}


def export(wire: Wire, experiment: str, *spans: dict[str, Any], **headers: str) -> Answer:
    """Send spans."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "tests"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}
    sent = JSON | {"x-mlflow-experiment-id": experiment} | headers
    return wire.ask("POST", "/v1/traces", json.dumps(body).encode(), sent)


def start(wire: Wire, experiment: str, trace: str, **more: Any) -> Answer:
    """Send the information of a trace."""
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": f"tr-{trace}", "trace_location": location, "state": "OK"} | more
    body = json.dumps({"trace": {"trace_info": info}}).encode()
    return wire.ask("POST", A3, body, JSON)


def info(wire: Wire, trace: str) -> dict[str, Any]:
    """The information of a trace."""
    answer = wire.ask("GET", f"{A3}/tr-{trace}")
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json()["trace"]["trace_info"]
    return found


def usage(tokens: int) -> str:
    """The attribute of a span that used so many tokens."""
    return json.dumps({"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens})


def test_spans_and_information_merge_in_any_order(api: Api) -> None:
    experiment = api.experiment().id
    found = []
    for order in permutations(range(3)):
        trace = new_id()
        sends = [
            lambda t=trace: export(api.wire, experiment, span(t, 1, mlflow_spanInputs='{"q": 1}')),
            lambda t=trace: export(
                api.wire, experiment, span(t, 2, 1, mlflow_chat_tokenUsage=usage(5))
            ),
            lambda t=trace: start(
                api.wire,
                experiment,
                t,
                request_time="2025-10-09T08:53:20Z",
                execution_duration="1s",
                tags={"k": "v", "mlflow.traceName": "named"},
                trace_metadata={"m": "1"},
            ),
        ]
        for number in order:
            assert sends[number]().status == 200
        seen = info(api.wire, trace)
        found.append({k: v for k, v in seen.items() if k != "trace_id"})
        found[-1]["tags"] = {k: v.replace(trace, "ID") for k, v in found[-1]["tags"].items()}
    assert all(sorted(one.items(), key=str) == sorted(found[0].items(), key=str) for one in found)
    assert found[0]["tags"]["mlflow.trace.spansLocation"] == "TRACKING_STORE"
    assert json.loads(found[0]["trace_metadata"]["mlflow.trace.tokenUsage"])["total_tokens"] == 5


def test_the_answer_says_that_the_spans_are_here(api: Api) -> None:
    """A client whose spans are stored need not upload them as an artifact."""
    experiment, trace = api.experiment().id, new_id()
    assert (
        "mlflow.trace.spansLocation"
        not in start(api.wire, experiment, new_id()).json()["trace"]["trace_info"]["tags"]
    )
    export(api.wire, experiment, span(trace, 1))
    tags = start(api.wire, experiment, trace).json()["trace"]["trace_info"]["tags"]
    assert tags["mlflow.trace.spansLocation"] == "TRACKING_STORE"


async def test_a_trace_whose_spans_are_stored_is_recognised(api: Api) -> None:
    """Otherwise the answer to its information waits for them in vain."""
    experiment, with_spans, without = api.experiment().id, new_id(), new_id()
    export(api.wire, experiment, span(with_spans, 1))
    for trace in (with_spans, without):
        start(api.wire, experiment, trace, tags={"k": "mlflow.trace.spansLocation"})
    db = await open_database(Settings(backend_store_uri=api.uri))
    found = await db.read(read_sql.read, [f"tr-{with_spans}", f"tr-{without}"])
    await db.close()
    shown = {one.trace_id: view.has_spans(one) for one in view.infos(found, Hidden())}
    assert shown == {f"tr-{with_spans}": True, f"tr-{without}": False}


def test_64_writers_on_8_traces_lose_nothing(api: Api) -> None:
    experiment = api.experiment().id
    traces = [new_id() for _ in range(8)]
    rounds = 6

    def write(number: int) -> list[int]:
        rng, statuses = random.Random(number), []
        with Wire(api.server.url) as wire:
            for turn in range(rounds):
                place = number * rounds + turn + 2
                chosen = rng.sample(traces, 4)
                many = [span(t, place, 1, mlflow_chat_tokenUsage=usage(1)) for t in chosen]
                statuses.append(export(wire, experiment, *many).status)
                trace = rng.choice(traces[4:])  # what a client states about usage counts more
                statuses.append(
                    start(wire, experiment, trace, tags={f"n{number}": str(turn)}).status
                )
                tag = json.dumps({"key": f"k{number}", "value": "v"}).encode()
                answer = wire.ask("PATCH", f"{A3}/tr-{trace}/tags", tag, JSON)
                statuses.append(answer.status)
                given = {"assessment_name": f"a{number}", "feedback": {"value": True}}
                body = json.dumps({"assessment": given}).encode()
                statuses.append(wire.ask("POST", f"{A3}/tr-{trace}/assessments", body, JSON).status)
        return statuses

    export(api.wire, experiment, *[span(trace, 1) for trace in traces])
    with ThreadPoolExecutor(64) as pool:
        statuses = [status for found in pool.map(write, range(64)) for status in found]
    assert set(statuses) == {200}
    ids = ", ".join(f"'tr-{trace}'" for trace in traces)
    [(count,)] = rows(api.uri, f"SELECT count(*) FROM spans WHERE trace_id IN ({ids})")
    assert count == 64 * rounds * 4 + 8
    [(count,)] = rows(api.uri, f"SELECT count(*) FROM assessments WHERE trace_id IN ({ids})")
    assert count == 64 * rounds
    for trace in traces[:4]:
        [(tokens,)] = rows(
            api.uri, f"SELECT total_tokens FROM trace_info WHERE request_id = 'tr-{trace}'"
        )
        [(count,)] = rows(api.uri, f"SELECT count(*) FROM spans WHERE trace_id = 'tr-{trace}'")
        assert tokens == count - 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate", "GZIP"])
def test_compressed_spans_are_stored(api: Api, encoding: str) -> None:
    experiment, trace = api.experiment().id, new_id()
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span(trace, 1)]}]}]}).encode()
    packed = gzip.compress(body) if encoding.lower() == "gzip" else zlib.compress(body)
    packed = packed[2:-4] if encoding.startswith("raw") else packed
    headers = JSON | {
        "x-mlflow-experiment-id": experiment,
        "Content-Encoding": encoding.removeprefix("raw "),
    }
    assert api.wire.ask("POST", "/v1/traces", packed, headers).status == 200
    assert info(api.wire, trace)["state"] == "OK"


def test_bodies_beyond_a_limit_are_refused(api: Api) -> None:
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}
    bomb = gzip.compress(bytes(MAX_OTLP_BYTES + 1))
    answer = api.wire.ask("POST", "/v1/traces", bomb, headers | {"Content-Encoding": "gzip"})
    assert answer.status == 413
    for body, encoding in ((b"nothing", "gzip"), (b"nothing", "deflate"), (b"x", "br")):
        answer = api.wire.ask("POST", "/v1/traces", body, headers | {"Content-Encoding": encoding})
        assert answer.status == 400


def test_a_span_beyond_a_limit_is_rejected_and_the_others_are_stored(api: Api) -> None:
    experiment, trace = api.experiment().id, new_id()
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in (1, 2):
        one = spans.add(trace_id=bytes.fromhex(trace), span_id=bytes(7) + bytes([number]))
        one.start_time_unix_nano = one.end_time_unix_nano = START_NS
    for number in range(MAX_SPAN_ITEMS + 1):
        spans[1].attributes.add(key=f"k{number}")
    headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": experiment}
    answer = api.wire.ask("POST", "/v1/traces", request.SerializeToString(), headers)
    assert answer.status == 200
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert partial.rejected_spans == 1
    assert str(MAX_SPAN_ITEMS) in partial.error_message
    [(count,)] = rows(api.uri, f"SELECT count(*) FROM spans WHERE trace_id = 'tr-{trace}'")
    assert count == 1


def test_one_wrong_span_keeps_the_whole_request_out(api: Api) -> None:
    experiment, trace = api.experiment().id, new_id()
    wrong = span(trace, 2) | {"spanId": ""}
    assert export(api.wire, experiment, span(trace, 1), wrong).status == 422
    long = span(trace, 2, session_id="s" * 251)
    assert export(api.wire, experiment, span(trace, 1), long).status == 400
    assert api.wire.ask("GET", f"{A3}/tr-{trace}").status == 404


def test_mutated_requests_are_stored_or_refused(api: Api) -> None:
    """No bytes of a client are an error of the server."""
    experiment, rng = api.experiment().id, random.Random(7)
    protobuf = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": experiment}
    seen = set()
    for _ in range(400):
        body = mutated(messages.request(rng, 2).SerializeToString(), rng)
        seen.add(api.wire.ask("POST", "/v1/traces", body, protobuf).status)
    text = json.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": [span(new_id(), 1)]}]}]}
    ).encode()
    for _ in range(400):
        headers = JSON | {"x-mlflow-experiment-id": experiment}
        seen.add(api.wire.ask("POST", "/v1/traces", mutated(text, rng), headers).status)
    assert {200, 400} <= seen <= {200, 400, 413, 422}


def test_many_traces_are_deleted_in_portions(api: Api) -> None:
    experiment = api.experiment().id
    for _ in range(5):
        spans = [span(new_id(), n) for n in range(1, 101)]
        assert export(api.wire, experiment, *spans).status == 200
    body = json.dumps(
        {"experiment_id": experiment, "max_timestamp_millis": 2**41, "max_traces": 450}
    )
    answer = api.wire.ask("POST", f"{A3}/delete-traces", body.encode(), JSON)
    assert answer.json() == {"traces_deleted": 450}
    [(count,)] = rows(api.uri, f"SELECT count(*) FROM spans WHERE experiment_id = {experiment}")
    assert count == 50


def test_nul_in_texts_of_programs_is_replaced(api: Api) -> None:
    experiment, trace = api.experiment().id, new_id()
    odd = span(trace, 1, mlflow_spanInputs="a\x00b") | {"name": "n\x00"}
    assert export(api.wire, experiment, odd).status == 200
    assert start(api.wire, experiment, trace, response_preview="a\x00b").status == 200
    assert info(api.wire, trace)["response_preview"] == "a\ufffdb"
    [(name,)] = rows(api.uri, f"SELECT name FROM spans WHERE trace_id = 'tr-{trace}'")
    assert name == "n\ufffd"


def test_traces_are_linked_to_the_run_of_the_header(api: Api) -> None:
    run, trace, child = api.run(), new_id(), new_id()
    headers = {"x-mlflow-run-id": run.id}
    export(api.wire, run.experiment_id, span(trace, 1), span(child, 2, 1), **headers)
    found = rows(
        api.uri, f"SELECT source_id FROM entity_associations WHERE destination_id = '{run.id}'"
    )
    assert found == [(f"tr-{trace}",)]


@pytest.mark.parametrize("pattern", ["(", "*a", "a{2,1}", "(.|b?){0,90}" * 16, "a?" * 400])
def test_a_wrong_or_expensive_regular_expression_is_refused(api: Api, pattern: str) -> None:
    experiment = api.experiment().id
    assert export(api.wire, experiment, span(new_id(), 1)).status == 200
    place = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}]
    body = json.dumps({"locations": place, "filter": f"span.name RLIKE '{pattern}'"}).encode()
    answer = api.wire.ask("POST", f"{A3}/search", body, JSON)
    assert answer.status == 400, answer
