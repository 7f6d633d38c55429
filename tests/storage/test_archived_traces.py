"""Archived traces in a bucket: stock MLflow's archiver writes them, headrace reads and deletes them."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.compat.archiver import archive
from tests.faults.trace_load import OTLP, span
from tests.fix_s3 import BUCKET
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fix_s3 import S3
    from tests.fix_server import Server

A3 = "/api/3.0/mlflow/traces"
AJAX = "/ajax-api/3.0/mlflow"
JSON = {"Content-Type": "application/json"}
LONG = "long text " * 5000  # 30 of them are more than is kept in memory


def send(server: Server, trace: str, spans: int, text: str) -> None:
    """Send spans of a trace, each with a text."""
    many = [span(trace, number, 1 if number > 1 else None) for number in range(1, spans + 1)]
    for one in many:
        one["attributes"] = [{"key": "note", "value": {"stringValue": text}}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": many}]}]}).encode()
    with Wire(server.url) as wire:
        answer = wire.ask("POST", "/v1/traces", body, OTLP)
    assert answer.status == 200, answer


def read(server: Server, target: str, status: int = 200) -> Any:
    """The JSON of an answer."""
    with Wire(server.url) as wire:
        answer = wire.ask("GET", target)
    assert answer.status == status, answer
    return answer.json()


@pytest.mark.timeout(300)  # starts stock MLflow's archiver
@pytest.mark.parametrize("inside", [True, False], ids=["the server's root", "another place"])
def test_traces_in_a_bucket_are_read_and_deleted(
    uri: str, s3: S3, tmp_path: Path, *, inside: bool
) -> None:
    """The place belongs to the server's artifacts, or is another prefix of the same bucket."""
    root = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    place = f"{root}/archive" if inside else f"s3://{BUCKET}/{uuid.uuid4().hex}"
    small, long = sorted(uuid.uuid4().hex for _ in range(2))
    whole = [f"{A3}/get?trace_id=tr-{trace}" for trace in (small, long)]
    stored = [f"{AJAX}/get-trace-artifact?request_id=tr-{trace}" for trace in (small, long)]
    batch = f"{A3}/batchGet?trace_ids=tr-{long}&trace_ids=tr-{small}"
    with headrace(
        uri, tmp_path, "--artifacts-destination", root, environment=s3.environment
    ) as server:
        send(server, small, 2, "short")
        send(server, long, 30, LONG)
        before = [read(server, target) for target in (*whole, *stored, batch)]
        assert archive(uri, place, s3.environment) == 2
        files = [key for key in list(s3.keys()) if key.endswith("traces.pb")]
        assert len(files) == 2
        after = [read(server, target) for target in (*whole, *stored, batch)]
        assert list(map(spans_of, after)) == list(map(spans_of, before))
        s3.client.delete_object(Bucket=BUCKET, Key=next(key for key in files if small in key))
        assert "spans" not in read(server, f"{whole[0]}&allow_partial=true")["trace"]
        broken = next(key for key in files if long in key)
        s3.client.put_object(Bucket=BUCKET, Key=broken, Body=b"\x0a\xff")
        refused = read(server, whole[1], 500)
        assert refused["message"] == "Trace data is corrupted for path=traces.pb"
        body = {"experiment_id": "0", "request_ids": [f"tr-{small}", f"tr-{long}"]}
        with Wire(server.url) as wire:
            answer = wire.ask("POST", f"{A3}/delete-traces", json.dumps(body).encode(), JSON)
        assert answer.json() == {"traces_deleted": 2}
        assert not set(files) & set(s3.keys())


def spans_of(answer: Any) -> Any:
    """The spans in an answer, without the rest of the traces."""
    if "traces" in answer:
        return [trace["spans"] for trace in answer["traces"]]
    return answer["trace"]["spans"] if "trace" in answer else answer["spans"]
