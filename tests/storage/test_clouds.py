"""Artifacts in Google Cloud Storage and Azure Blob Storage, through a server and the clouds' emulators."""

from __future__ import annotations

import http.client
import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.fix_server import headrace
from tests.processes import peak_bytes, resident_bytes
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_clouds import Cloud
    from tests.fix_server import Server

OBJECTS = "/api/2.0/mlflow-artifacts/artifacts"
PARTS = "/api/2.0/mlflow-artifacts/mpu"
JSON = {"Content-Type": "application/json"}
MIB = 1 << 20
LARGE_MIB = 96
ALLOWED_GROWTH_MIB = 64
CHUNK = os.urandom(MIB)


@pytest.fixture(scope="module", params=["google", "azure"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    found: Cloud = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def server(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("cloud")
    options = ("--artifacts-destination", cloud.destination)
    uri = f"sqlite:///{directory}/m.db"
    with headrace(uri, directory, *options, environment=cloud.environment) as running:
        yield running


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.url) as connection:
        yield connection


def test_files_go_up_and_down_and_are_listed_and_deleted(wire: Wire) -> None:
    bodies = {"d/a.txt": b"hello", "d/deep/b b.bin": b"b" * 100_000, "zero": b"", "d2": b"x"}
    for path, body in bodies.items():
        assert wire.ask("PUT", f"{OBJECTS}/{path.replace(' ', '%20')}", body).status == 200
    for path, body in bodies.items():
        answer = wire.ask("GET", f"{OBJECTS}/{path.replace(' ', '%20')}")
        assert (answer.status, answer.body) == (200, body), path
    part = wire.ask("GET", f"{OBJECTS}/d/a.txt", headers={"Range": "bytes=1-3"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"ell", "bytes 1-3/5")
    wire.ask("PUT", f"{OBJECTS}/d/a.txt", b"again")
    assert wire.ask("GET", f"{OBJECTS}/d/a.txt").body == b"again"
    assert wire.ask("GET", f"{OBJECTS}?path=d").json()["files"] == [
        {"path": "a.txt", "is_dir": False, "file_size": 5},
        {"path": "deep", "is_dir": True},
    ]
    assert wire.ask("GET", f"{OBJECTS}/d").status == 400
    assert wire.ask("GET", f"{OBJECTS}/nothing").status == 404
    assert wire.ask("GET", f"{OBJECTS}/d%252f..%252f..%252fx").status == 400
    for _ in range(2):  # a missing file is no error
        assert wire.ask("DELETE", f"{OBJECTS}/d").status == 200
    names = [file["path"] for file in wire.ask("GET", f"{OBJECTS}?path=").json()["files"]]
    assert {"d2", "zero"} <= set(names)
    assert "d" not in names


def test_a_large_file_streams_through_in_little_memory(server: Server, wire: Wire) -> None:
    wire.ask("PUT", f"{OBJECTS}/large/warm", CHUNK)
    wire.ask("GET", f"{OBJECTS}/large/warm")
    before = resident_bytes(server.process.pid)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    length = {"Content-Length": str(LARGE_MIB * MIB)}
    connection.request("PUT", f"{OBJECTS}/large/f", (CHUNK for _ in range(LARGE_MIB)), length)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    connection.request("GET", f"{OBJECTS}/large/f")
    answer = connection.getresponse()
    received = sha256()
    while chunk := answer.read(MIB):
        received.update(chunk)
    connection.close()
    assert received.digest() == sha256(CHUNK * LARGE_MIB).digest()
    assert peak_bytes(server.process.pid) - before < ALLOWED_GROWTH_MIB * MIB


def test_a_client_that_vanishes_leaves_nothing(server: Server, wire: Wire) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.putrequest("PUT", f"{OBJECTS}/gone/f")
    connection.putheader("Content-Length", str(64 * MIB))
    connection.endheaders(CHUNK * 12)
    connection.close()
    wire.ask("PUT", f"{OBJECTS}/gone2/f", b"x")  # which waits for the end of the interrupted one
    assert wire.ask("GET", f"{OBJECTS}?path=gone").json() == {}
    assert "Traceback" not in server.log()


def test_an_upload_in_parts_goes_past_the_server(cloud: Cloud, wire: Wire) -> None:
    body = json.dumps({"path": "f.bin", "num_parts": 2}).encode()
    made = wire.ask("POST", f"{PARTS}/create/parts", body, JSON)
    if not cloud.uploads_parts:
        assert (made.status, made.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
        return
    parts = []
    for given in made.json()["credentials"]:
        address = urlsplit(given["url"])
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        connection.request("PUT", f"{address.path}?{address.query}", CHUNK)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()
        connection.close()
        parts.append({"part_number": given["part_number"], "url": given["url"], "etag": ""})
    whole = {"path": "f.bin", "upload_id": "", "parts": parts}
    done = wire.ask("POST", f"{PARTS}/complete/parts", json.dumps(whole).encode(), JSON)
    assert done.status == 200, str(done)
    assert wire.ask("GET", f"{OBJECTS}/parts/f.bin").body == CHUNK * 2
