"""OpenTelemetry's JavaScript SDK, which MLflow's SDK for TypeScript is built on, sends traces.

npm installs it for the test. MLflow's own package (`@mlflow/core`, before that `mlflow-tracing`) is not tested: not
every registry has it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_clients import PROGRAMS
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_api import Api

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]
PACKAGES = (
    "@opentelemetry/api@1",
    "@opentelemetry/exporter-trace-otlp-http@0",
    "@opentelemetry/exporter-trace-otlp-proto@0",
    "@opentelemetry/resources@2",
    "@opentelemetry/sdk-trace-base@2",
)
SPANS = ("order", "search", "pay")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program beside the packages that it needs."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no npm and node on this machine")
    directory = tmp_path_factory.mktemp("javascript")
    options = ("--no-audit", "--no-fund", "--prefix", directory)
    done = subprocess.run(
        [npm, "install", *options, *PACKAGES], capture_output=True, text=True, timeout=240
    )
    if done.returncode:
        pytest.skip(f"npm cannot install OpenTelemetry's SDK: {done.stderr[-300:]}")
    return shutil.copy(PROGRAMS / "otel.mjs", directory)


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span in an answer: names and OTLP values."""
    return {pair["key"]: pair["value"] for pair in span["attributes"]}


def test_traces_of_every_exporter_are_read_back_whole(api: Api, program: Path) -> None:
    experiment = api.experiment().id
    done = subprocess.run(
        ["node", program, api.server.url, experiment], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    ids = json.loads(done.stdout)
    assert len(set(ids)) == 4, "protobuf and JSON, plain and compressed"
    shown = []
    with Wire(api.server.url) as wire:
        for trace_id in ids:
            answer = wire.ask("GET", f"/api/3.0/mlflow/traces/get?trace_id=tr-{trace_id}")
            assert answer.status == 200, answer
            trace = answer.json()["trace"]
            assert trace["trace_info"]["state"] == "OK"
            assert trace["trace_info"]["tags"]["service.name"] == "shop"
            spans = trace["spans"]
            assert sorted(span["name"] for span in spans) == sorted(SPANS)
            root = attributes(spans[0])
            assert root["city"] == {"string_value": "Ürümqi"}
            assert root["price"] == {"double_value": 9.5}
            pay = next(span for span in spans if span["name"] == "pay")
            assert pay["status"] == {"code": "STATUS_CODE_ERROR", "message": "no money"}
            search = next(span for span in spans if span["name"] == "search")
            assert [event["name"] for event in search["events"]] == ["found"]
            root.pop("mlflow.traceRequestId")
            shown.append(root)
    assert shown[1:] == shown[:-1], "every exporter sends the same"
