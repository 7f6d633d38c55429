"""Artifacts in a bucket: the same requests to stock MLflow and headrace, and features of headrace alone."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.fix_s3 import BUCKET
from tests.fix_server import base_environment, headrace, stock
from tests.processes import peak_bytes, resident_bytes
from tests.waiting import eventually
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_s3 import S3
    from tests.fix_server import Server
    from tests.wire import Answer

OBJECTS = "/api/2.0/mlflow-artifacts/artifacts"
PARTS = "/api/2.0/mlflow-artifacts/mpu"
JSON = {"Content-Type": "application/json"}
MIB = 1 << 20
ALLOWED_GROWTH_MIB = 64
# MLflow 3.17 offers transfers in parts to every client; 3.18 and headrace on these servers only.
IN_PARTS = {
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
}


@pytest.fixture(scope="module")
def server(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("ours")
    destination = ("--artifacts-destination", f"s3://{BUCKET}/ours")
    with headrace(
        f"sqlite:///{directory}/m.db", directory, *destination, environment=s3.environment
    ) as running:
        yield running


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.url) as connection:
        yield connection


def post(wire: Wire, target: str, body: dict[str, Any]) -> Answer:
    return wire.ask("POST", target, json.dumps(body).encode(), JSON)


def sent(url: str, body: bytes) -> str:
    """PUT to a presigned URL; the entity tag."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    kind = {"Content-Type": "application/octet-stream"}
    connection.request("PUT", f"{parts.path}?{parts.query}", body, kind)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200
    return str(answer.headers["ETag"])


def test_keys_and_listings_are_those_of_stock(
    s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = {
        "d/a.txt": b"hello",
        "d/deep/b.csv.gz": b"b",
        "zero": b"",
        "a%20b": b"1",
        "p%2525b": b"2",
        "%c3%a9": b"3",
        "a+b": b"4",
        "a%3fb": b"5",
    }
    seen: list[list[Any]] = []
    with ExitStack() as stack:
        for name, start in (("stock", stock), ("headrace", headrace)):
            directory = tmp_path_factory.mktemp(name)
            destination = ("--artifacts-destination", f"s3://{BUCKET}/same-{name}")
            started = stack.enter_context(
                start(
                    f"sqlite:///{directory}/m.db",
                    directory,
                    *destination,
                    environment=s3.environment | IN_PARTS,
                )
            )
            wire = stack.enter_context(Wire(started.url))
            for path, body in names.items():
                assert wire.ask("PUT", f"{OBJECTS}/{path}", body).status == 200
            found: list[Any] = [wire.ask("GET", f"{OBJECTS}/{path}").body for path in names]
            found += [
                wire.ask("GET", f"{OBJECTS}?path={path}").json()
                for path in ("", "d", "d/", "zero", "nope", "d/deep")
            ]
            keys = {k.partition("/")[2]: v for k, v in s3.keys(f"same-{name}/").items()}
            head = s3.client.head_object(Bucket=BUCKET, Key=f"same-{name}/d/deep/b.csv.gz")
            found += [keys, head["ContentType"], head["ContentEncoding"]]
            info = wire.ask("GET", "/api/3.0/mlflow/server-info").json()
            found += [{k: v for k, v in info.items() if k.startswith("multipart")}]
            found += [
                wire.ask("DELETE", f"{OBJECTS}/d").json(),
                wire.ask("DELETE", f"{OBJECTS}/d").json(),
            ]
            found += [wire.ask("GET", f"{OBJECTS}?path=").json()]
            seen.append(found)
    assert seen[1] == seen[0]


def test_a_download_has_ranges_and_a_length(wire: Wire) -> None:
    wire.ask("PUT", f"{OBJECTS}/r/b.bin", b"abcdefgh")
    answer = wire.ask("GET", f"{OBJECTS}/r/b.bin")
    assert (answer.body, answer.headers["content-length"]) == (b"abcdefgh", "8")
    assert answer.headers["content-disposition"] == "attachment; filename=b.bin"
    condition = {"Range": "bytes=2-4", "If-Range": answer.headers["etag"]}
    part = wire.ask("GET", f"{OBJECTS}/r/b.bin", headers=condition)
    assert (part.status, part.body) == (206, b"cde")
    assert part.headers["content-range"] == "bytes 2-4/8"
    parts = wire.ask("GET", f"{OBJECTS}/r/b.bin", headers={"Range": "bytes=0-1,6-"})
    assert parts.status == 206
    assert parts.body.count(b"Content-Range: bytes") == 2


def test_missing_objects_and_directories(wire: Wire) -> None:
    wire.ask("PUT", f"{OBJECTS}/kinds/d/f", b"x")
    assert (
        wire.ask("GET", f"{OBJECTS}/kinds/nope").json()["message"]
        == "No such artifact: 'kinds/nope'"
    )
    assert wire.ask("GET", f"{OBJECTS}/kinds/nope").status == 404
    for path in ("kinds/d", "kinds/d/", "kinds"):
        assert wire.ask("GET", f"{OBJECTS}/{path}").status == 400
    assert wire.ask("DELETE", f"{OBJECTS}/kinds/nope").json() == {}


@pytest.mark.parametrize(
    "path", ["..", "a%2f..%2fb", "%252e%252e/b", "%2fetc", "C:/x", "a%23b", "file:x"]
)
def test_a_way_out_of_the_prefix_is_refused(s3: S3, wire: Wire, path: str) -> None:
    for method in ("PUT", "GET", "DELETE"):
        answer = wire.ask(method, f"{OBJECTS}/{path}", b"x" if method == "PUT" else None)
        assert (answer.status, answer.json()["message"]) == (400, "Invalid path")
    assert all(key.startswith(("ours/", "same-")) for key in s3.keys(""))


def test_deleting_takes_the_directory_and_nothing_beside_it(s3: S3, wire: Wire) -> None:
    for path in ("del/run/a", "del/run/d/b", "del/run2/a", "del/running"):
        wire.ask("PUT", f"{OBJECTS}/{path}", b"x")
    assert wire.ask("DELETE", f"{OBJECTS}/del/run").status == 200
    assert list(s3.keys("ours/del/")) == ["ours/del/run2/a", "ours/del/running"]
    for root in ("%20", "."):
        assert wire.ask("DELETE", f"{OBJECTS}/{root}").status == 400
    assert list(s3.keys("ours/del/")) == ["ours/del/run2/a", "ours/del/running"]


def test_a_large_file_passes_through_in_little_memory(s3: S3, server: Server, wire: Wire) -> None:
    wire.ask("PUT", f"{OBJECTS}/large/warm", b"x")
    wire.ask("GET", f"{OBJECTS}/large/warm")
    before = resident_bytes(server.process.pid)
    body = os.urandom(MIB) * 96
    assert wire.ask("PUT", f"{OBJECTS}/large/f.bin", body).status == 200
    assert s3.keys("ours/large/f.bin") == {"ours/large/f.bin": len(body)}
    assert wire.ask("GET", f"{OBJECTS}/large/f.bin").body == body
    assert peak_bytes(server.process.pid) - before < ALLOWED_GROWTH_MIB * MIB
    assert s3.unfinished_uploads() == []


def test_a_client_that_vanishes_half_way_leaves_nothing(s3: S3, server: Server) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0)) as client:
        head = f"PUT {OBJECTS}/vanish/f.bin HTTP/1.1\r\nHost: localhost\r\nContent-Length: {64 * MIB}\r\n\r\n"
        client.sendall(head.encode() + b"x" * (16 * MIB))
        eventually(lambda: s3.unfinished_uploads() != [])
    eventually(lambda: s3.unfinished_uploads() == [])
    assert s3.keys("ours/vanish/") == {}


def test_parts_are_uploaded_directly_to_the_bucket(s3: S3, wire: Wire) -> None:
    made = post(wire, f"{PARTS}/create/big/dir", {"path": "/home/me/f.bin", "num_parts": 2}).json()
    assert [c["part_number"] for c in made["credentials"]] == [1, 2]
    bodies = [b"a" * (5 * MIB), b"end"]
    parts = [
        {"part_number": c["part_number"], "etag": sent(c["url"], body), "url": c["url"]}
        for c, body in zip(made["credentials"], bodies, strict=True)
    ]
    done = {"path": "/home/me/f.bin", "upload_id": made["upload_id"], "parts": parts}
    assert post(wire, f"{PARTS}/complete/big/dir", done).json() == {}
    assert s3.keys("ours/big/") == {"ours/big/dir/f.bin": 5 * MIB + 3}
    signed = wire.ask("GET", "/api/2.0/mlflow-artifacts/presigned/big/dir/f.bin").json()
    assert (signed["file_size"], signed["headers"]) == (5 * MIB + 3, {})
    parsed = urlsplit(signed["url"])
    with Wire(f"http://{parsed.netloc}") as store:
        answer = store.ask("GET", f"{parsed.path}?{parsed.query}")
    assert answer.body == b"".join(bodies)
    assert answer.headers["content-disposition"] == 'attachment; filename="f.bin"'


def test_an_upload_in_parts_can_be_aborted(s3: S3, wire: Wire) -> None:
    made = post(wire, f"{PARTS}/create/up", {"path": "f", "num_parts": 1}).json()
    assert s3.unfinished_uploads() == ["ours/up/f"]
    gone = {"path": "f", "upload_id": made["upload_id"]}
    assert post(wire, f"{PARTS}/abort/up", gone).json() == {}
    assert s3.unfinished_uploads() == []
    assert post(wire, f"{PARTS}/abort/up", gone).status == 404
    assert post(wire, f"{PARTS}/create/up", {"path": "f", "num_parts": 10_001}).status == 400
    assert post(wire, f"{PARTS}/create/..", {"path": "f"}).status == 400


def test_a_run_may_keep_its_artifacts_in_the_bucket_itself(s3: S3, wire: Wire) -> None:
    body = {"name": "direct", "artifact_location": f"s3://{BUCKET}/direct"}
    exp = post(wire, "/api/2.0/mlflow/experiments/create", body).json()["experiment_id"]
    run = post(wire, "/api/2.0/mlflow/runs/create", {"experiment_id": exp}).json()["run"]["info"]
    ask = {"run_id": run["run_id"], "path": "d/f.txt"}
    signed = post(wire, "/api/2.0/mlflow/artifacts/presigned-upload-url", ask).json()
    assert signed["headers"] == {"Content-Type": "text/plain"}
    parts = urlsplit(signed["presigned_url"])
    with Wire(f"http://{parts.netloc}") as store:
        put = store.ask("PUT", f"{parts.path}?{parts.query}", b"data", signed["headers"])
        assert put.status == 200
    listed = wire.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run['run_id']}&path=d").json()
    assert listed["files"] == [{"path": "d/f.txt", "is_dir": False, "file_size": 4}]
    page = wire.ask("GET", f"/get-artifact?run_id={run['run_id']}&path=d/f.txt")
    assert (page.body, page.headers["content-type"]) == (b"data", "text/plain")
    signed = post(wire, "/api/2.0/mlflow/artifacts/presigned-download-url", ask).json()
    assert signed["file_size"] == 4
    assert f"/{BUCKET}/direct/{run['run_id']}/artifacts/d/f.txt?" in signed["presigned_url"]


def test_files_of_models_have_presigned_urls(s3: S3, wire: Wire) -> None:
    """As in MLflow 3.18: of a version whose source is a run, and of a logged model."""
    run = post(wire, "/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).json()["run"]["info"]
    root = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert wire.ask("PUT", f"{OBJECTS}/{root}/m/MLmodel", b"data").status == 200
    assert post(wire, "/api/2.0/mlflow/registered-models/create", {"name": "m"}).status == 200
    version = {"name": "m", "source": f"runs:/{run['run_id']}/m", "run_id": run["run_id"]}
    assert post(wire, "/api/2.0/mlflow/model-versions/create", version).status == 200
    model = post(wire, "/api/2.0/mlflow/logged-models", {"experiment_id": "0"}).json()["model"]
    root = model["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert wire.ask("PUT", f"{OBJECTS}/{root}/MLmodel", b"logged").status == 200
    model_id = model["info"]["model_id"]
    files = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files"
    for target, body in (
        ("/model-versions/get-artifact?name=m&version=1&path=MLmodel", b"data"),
        (f"{files}?artifact_file_path=MLmodel", b"logged"),
    ):
        assert wire.ask("GET", target).body == body
        signed = wire.ask("GET", f"{target}&presigned=true").json()
        assert (signed["headers"], signed["file_size"]) == ({}, len(body))
        parts = urlsplit(signed["url"])
        with Wire(f"http://{parts.netloc}") as store:
            assert store.ask("GET", f"{parts.path}?{parts.query}").body == body
    assert wire.ask("GET", f"{files}?artifact_file_path=no&presigned=true").status == 404


def test_a_server_may_refuse_the_bytes_of_artifacts(s3: S3, tmp_path: Path) -> None:
    """With --artifacts-presigned-only, clients exchange them with the store."""
    destination = ("--artifacts-destination", f"s3://{BUCKET}/only", "--artifacts-presigned-only")
    uri = f"sqlite:///{tmp_path}/m.db"
    with (
        headrace(uri, tmp_path, *destination, environment=s3.environment) as running,
        Wire(running.url) as wire,
    ):
        info = wire.ask("GET", "/api/3.0/mlflow/server-info").json()
        assert info["artifacts_presigned_only"] is True
        for method, target in (
            ("PUT", f"{OBJECTS}/a"),
            ("GET", f"{OBJECTS}/a"),
            ("GET", "/get-artifact?run_id=r&path=a"),
            ("GET", "/model-versions/get-artifact?name=m&version=1&path=a"),
            ("GET", "/ajax-api/2.0/mlflow/logged-models/m/artifacts/files?artifact_file_path=a"),
            ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_id=r&path=a"),
        ):
            body = b"x" if method != "GET" else None
            answer = wire.ask(method, target, body)
            found = answer.json()
            assert answer.status == 403, target
            assert found["error_code"] == "PERMISSION_DENIED"
            assert found["artifacts_presigned_only"] is True
        made = post(wire, f"{PARTS}/create/d", {"path": "a", "num_parts": 1}).json()
        tag = sent(made["credentials"][0]["url"], b"direct")
        done = {"path": "a", "upload_id": made["upload_id"], "parts": [{"part_number": 1, "etag": tag}]}  # fmt: skip
        assert post(wire, f"{PARTS}/complete/d", done).status == 200
        signed = wire.ask("GET", "/api/2.0/mlflow-artifacts/presigned/d/a").json()
        assert signed["file_size"] == 6


def test_a_missing_bucket_is_reported(wire: Wire) -> None:
    body = {"name": "no bucket", "artifact_location": "s3://no-such-bucket/x"}
    exp = post(wire, "/api/2.0/mlflow/experiments/create", body).json()["experiment_id"]
    run = post(wire, "/api/2.0/mlflow/runs/create", {"experiment_id": exp}).json()["run"]["info"]
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run['run_id']}&path=f"
    for answer in (
        wire.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run['run_id']}"),
        wire.ask("GET", f"/get-artifact?run_id={run['run_id']}&path=f"),
        wire.ask("POST", upload, b"data"),
    ):
        assert answer.status == 404
        assert "bucket of this artifact location" in answer.json()["message"]


CLIENT = """
import os, sys, pathlib, mlflow
from mlflow.artifacts import download_artifacts
mlflow.set_tracking_uri(sys.argv[1])
here = pathlib.Path(sys.argv[2]); (here / "f.bin").write_bytes(os.urandom(7_000_000))
with mlflow.start_run() as run:
    mlflow.log_artifact(str(here / "f.bin"), "model")
got = download_artifacts(run_id=run.info.run_id, artifact_path="model/f.bin", dst_path=str(here / "got"))
assert pathlib.Path(got).read_bytes() == (here / "f.bin").read_bytes()
print("same")
"""


def test_the_mlflow_client_uploads_and_downloads_in_parts(
    s3: S3, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("client")
    settings = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(6_000_000),
        "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(5 * MIB),
        "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE": str(3 * MIB),
    }
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLIENT, server.url, str(directory)],
        env=base_environment() | settings,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "same" in ended.stdout
    (key,) = [key for key in s3.keys("ours/0/") if key.endswith("/artifacts/model/f.bin")]
    # An entity tag with a dash is that of an upload in parts.
    assert "-2" in s3.client.head_object(Bucket=BUCKET, Key=key)["ETag"]
