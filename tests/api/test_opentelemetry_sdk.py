"""Spans that the exporter of OpenTelemetry's own SDK sends are stored whole, in every compression it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode
from tests.wire import Wire

if TYPE_CHECKING:
    from tests.fix_api import Api

GET = "/api/3.0/mlflow/traces/get?trace_id="


def send(url: str, experiment: str, compression: Compression) -> str:
    """Export a trace of three spans; its id."""
    exporter = OTLPSpanExporter(
        endpoint=f"{url}/v1/traces",
        headers={"x-mlflow-experiment-id": experiment},
        compression=compression,
    )
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("order") as root:
        root.set_attribute("items", [1, 2, 3])
        root.set_attribute("paid", True)
        with tracer.start_as_current_span("search") as child:
            child.set_attribute("gen_ai.request.model", "small")
            child.add_event("found", {"count": 2})
        with tracer.start_as_current_span("pay") as child:
            child.set_attribute("amount", 9.5)
            child.set_status(Status(StatusCode.ERROR, "no money"))
        trace_id = format(root.get_span_context().trace_id, "032x")
    assert provider.force_flush()
    provider.shutdown()
    return f"tr-{trace_id}"


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span in an answer: names and OTLP values."""
    return {pair["key"]: pair["value"] for pair in span["attributes"]}


@pytest.mark.parametrize("compression", list(Compression), ids=lambda c: c.value)
def test_a_trace_of_the_sdk_is_read_back_whole(api: Api, compression: Compression) -> None:
    experiment = api.experiment().id
    trace_id = send(api.server.url, experiment, compression)
    with Wire(api.server.url) as wire:
        answer = wire.ask("GET", GET + trace_id)
    assert answer.status == 200, answer
    trace = answer.json()["trace"]
    assert trace["trace_info"]["state"] == "OK"
    spans = {span["name"]: span for span in trace["spans"]}
    assert spans.keys() == {"order", "search", "pay"}
    root = spans["order"]
    assert not root.get("parent_span_id")
    assert {spans[name]["parent_span_id"] for name in ("search", "pay")} == {root["span_id"]}
    values = attributes(root)["items"]["array_value"]["values"]
    assert [int(value["int_value"]) for value in values] == [1, 2, 3]
    assert attributes(root)["paid"] == {"bool_value": True}
    assert attributes(spans["pay"])["amount"] == {"double_value": 9.5}
    assert attributes(spans["search"])["gen_ai.request.model"] == {"string_value": "small"}
    (event,) = spans["search"]["events"]
    assert event["name"] == "found"
    assert spans["pay"]["status"] == {"message": "no money", "code": "STATUS_CODE_ERROR"}
