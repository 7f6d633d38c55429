"""Artifacts through a real server on a real disk: large files, interrupted transfers, links, the mlflow client."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.fix_server import base_environment, headrace
from tests.processes import has_open_file, peak_bytes, resident_bytes
from tests.waiting import eventually
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_server import Server

OBJECTS = "/api/2.0/mlflow-artifacts/artifacts"
MIB = 1 << 20
LARGE_MIB = 256
ALLOWED_GROWTH_MIB = 64  # of the server while a large file passes through it
UNFINISHED = ".artifact.uploading."  # in the name of a file whose upload is under way
CHUNK = os.urandom(MIB)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("artifacts")
    with headrace(f"sqlite:///{directory}/mlflow.db", directory) as running:
        yield running


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server.url) as connection:
        yield connection


def root_of(server: Server) -> Path:
    return server.directory / "mlartifacts"


def raw(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=60)


def head(path: str, length: int) -> bytes:
    lines = (f"PUT {OBJECTS}/{path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def files_below(directory: Path) -> list[str]:
    """Every name, including hidden ones."""
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*"))


def test_a_large_file_passes_through_in_little_memory(server: Server) -> None:
    with Wire(server.url) as wire:
        wire.ask("PUT", f"{OBJECTS}/large/warm", b"x")
        wire.ask("GET", f"{OBJECTS}/large/warm")
    before = resident_bytes(server.process.pid)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    sent = sha256()

    def body() -> Iterator[bytes]:
        for _ in range(LARGE_MIB):
            sent.update(CHUNK)
            yield CHUNK

    headers = {"Content-Length": str(LARGE_MIB * MIB)}
    connection.request("PUT", f"{OBJECTS}/large/f.bin", body(), headers)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    connection.request("GET", f"{OBJECTS}/large/f.bin")
    answer = connection.getresponse()
    received = sha256()
    while chunk := answer.read(MIB):
        received.update(chunk)
    connection.close()
    assert received.digest() == sent.digest()
    assert peak_bytes(server.process.pid) - before < ALLOWED_GROWTH_MIB * MIB


def test_a_reader_that_does_not_read_holds_no_memory(server: Server, wire: Wire) -> None:
    wire.ask("PUT", f"{OBJECTS}/slow/f.bin", CHUNK * 64)
    before = resident_bytes(server.process.pid)
    with raw(server) as idle:
        idle.sendall(f"GET {OBJECTS}/slow/f.bin HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(0.5)
        assert resident_bytes(server.process.pid) - before < 16 * MIB


def test_a_client_that_vanishes_half_way_leaves_nothing(server: Server, wire: Wire) -> None:
    assert wire.ask("PUT", f"{OBJECTS}/vanish/kept", b"kept").status == 200
    for path in ("vanish/new/deep/f.bin", "vanish/kept"):
        with raw(server) as client:
            client.sendall(head(path, 64 * MIB) + CHUNK * 8)
    eventually(lambda: files_below(root_of(server) / "vanish") == ["kept"])
    assert wire.ask("GET", f"{OBJECTS}/vanish/kept").body == b"kept"
    assert "Traceback" not in server.log()


def test_a_server_that_is_killed_leaves_nothing_visible(tmp_path: Path) -> None:
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server:
        with Wire(server.url) as wire:
            wire.ask("PUT", f"{OBJECTS}/run/whole", b"whole")
        client = raw(server)
        client.sendall(head("run/half", 64 * MIB) + CHUNK * 8)
        eventually(
            lambda: has_open_file(server.process.pid, tmp_path / "mlartifacts"), ignored=(OSError,)
        )
        os.kill(server.process.pid, signal.SIGKILL)
        client.close()
    visible = [n for n in files_below(tmp_path / "mlartifacts") if UNFINISHED not in n]
    assert visible == ["run", "run/whole"]


def test_a_refusal_is_read_by_a_client_that_is_still_sending(server: Server) -> None:
    with raw(server) as client:
        client.sendall(head("a%2f..%2fb", 8 * MIB))
        for _ in range(8):
            client.sendall(CHUNK)
        assert client.recv(4096).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_file_larger_than_the_free_space_is_refused_with_a_message(
    server: Server, wire: Wire
) -> None:
    with raw(server) as client:
        client.sendall(head("full/f.bin", 1 << 60) + CHUNK * 2)
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: not (root_of(server) / "full").exists())
    assert wire.ask("GET", OBJECTS + "?path=full").json() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_507_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a test mount a disk")
    destination = ("--artifacts-destination", str(disk / "root"))
    try:
        with (
            headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, *destination) as server,
            Wire(server.url) as wire,
        ):
            assert wire.ask("PUT", f"{OBJECTS}/run/kept", CHUNK * 4).status == 200
            announced = wire.ask("PUT", f"{OBJECTS}/run/new/f", CHUNK * 12)
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
            chunked = {"Transfer-Encoding": "chunked"}
            body = (CHUNK for _ in range(12))
            connection.request("PUT", f"{OBJECTS}/run/new/g", body, chunked, encode_chunked=True)
            answer = connection.getresponse()
            for status, text in (
                (announced.status, announced.body),
                (answer.status, answer.read()),
            ):
                assert status == 507
                assert b"There is no space left for this artifact" in text
            connection.close()
            eventually(lambda: files_below(disk / "root") == ["run", "run/kept"])
            assert wire.ask("GET", f"{OBJECTS}/run/kept").body == CHUNK * 4
            assert wire.ask("PUT", f"{OBJECTS}/run/fits", CHUNK * 3).status == 200
            assert "Traceback" not in server.log()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_uploads_of_one_file_at_once_end_with_one_of_them(server: Server) -> None:
    bodies = [bytes([n]) * (2 * MIB + n) for n in range(6)]
    statuses = []

    def put(body: bytes) -> None:
        with Wire(server.url) as wire:
            statuses.append(wire.ask("PUT", f"{OBJECTS}/race/deep/f.bin", body).status)

    threads = [threading.Thread(target=put, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * len(bodies)
    with Wire(server.url) as wire:
        assert wire.ask("GET", f"{OBJECTS}/race/deep/f.bin").body in bodies
    assert files_below(root_of(server) / "race") == ["deep", "deep/f.bin"]


def test_a_link_out_of_the_root_is_refused_by_every_verb(server: Server, wire: Wire) -> None:
    outside = server.directory / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    wire.ask("PUT", f"{OBJECTS}/links/f", b"x")
    for name, to in (("dir", outside), ("file", outside / "secret")):
        (root_of(server) / "links" / name).symlink_to(to)
    refused = [
        wire.ask(method, f"{OBJECTS}/links/{path}", b"x" if method == "PUT" else None)
        for method in ("GET", "PUT", "DELETE")
        for path in ("dir/secret", "dir/new", "dir")
    ]
    refused += [
        wire.ask("GET", f"{OBJECTS}/links/file"),
        wire.ask("PUT", f"{OBJECTS}/links/file", b"x"),
    ]
    refused += [wire.ask("GET", f"{OBJECTS}?path=links/dir")]
    assert {answer.status for answer in refused} == {400}
    assert all("outside the artifact directory" in a.json()["message"] for a in refused)
    assert [p.name for p in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_a_large_directory_is_listed_whole(server: Server, wire: Wire) -> None:
    wire.ask("PUT", f"{OBJECTS}/many/00000", b"12")
    for n in range(1, 3500):
        (root_of(server) / "many" / f"{n:05}").touch()
    answer = wire.ask("GET", f"{OBJECTS}?path=many")
    files = answer.json()["files"]
    assert [f["path"] for f in files] == [f"{n:05}" for n in range(3500)]
    assert files[0] == {"path": "00000", "is_dir": False, "file_size": 2}
    assert files[1] == {"path": "00001", "is_dir": False}


def created(wire: Wire, what: str, body: bytes) -> dict[str, object]:
    answer = wire.ask("POST", f"/api/2.0/mlflow/{what}", body, {"Content-Type": "application/json"})
    assert answer.status == 200, str(answer)
    found: dict[str, object] = answer.json()
    return found


def test_an_upload_of_the_page_goes_where_the_run_keeps_its_artifacts(
    server: Server, wire: Wire
) -> None:
    body = b'{"name": "own location", "artifact_location": "mlflow-artifacts:/custom"}'
    exp = created(wire, "experiments/create", body)["experiment_id"]
    run = created(wire, "runs/create", b'{"experiment_id": "%b"}' % str(exp).encode())
    run_id = run["run"]["info"]["run_id"]  # type: ignore[index]
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path=d/f.txt"
    assert wire.ask("POST", upload, b"data").status == 200
    assert wire.ask("GET", f"/get-artifact?run_id={run_id}&path=d/f.txt").body == b"data"
    assert (root_of(server) / "custom" / str(run_id) / "artifacts/d/f.txt").read_text() == "data"


def test_a_version_whose_source_is_a_run_can_be_downloaded_from(wire: Wire) -> None:
    run = created(wire, "runs/create", b'{"experiment_id": "0"}')
    info = run["run"]["info"]  # type: ignore[index]
    root = str(info["artifact_uri"]).removeprefix("mlflow-artifacts:/")
    wire.ask("PUT", f"{OBJECTS}/{root}/model/MLmodel", b"a: 1")
    created(wire, "registered-models/create", b'{"name": "from-a-run"}')
    body = f'{{"name": "from-a-run", "source": "runs:/{info["run_id"]}/model", "run_id": "{info["run_id"]}"}}'
    created(wire, "model-versions/create", body.encode())
    answer = wire.ask("GET", "/model-versions/get-artifact?name=from-a-run&version=1&path=MLmodel")
    assert (answer.status, answer.body) == (200, b"a: 1")


NO_SERVE = "with `--no-serve-artifacts`. To enable artifacts server functionality"
NO_OBJECTS = "Artifact serving is disabled. Run `mlflow server` with `--serve-artifacts` to enable."


def test_without_serving_the_store_says_so_and_runs_keep_theirs_here(tmp_path: Path) -> None:
    options = ("--no-serve-artifacts",)
    with (
        headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, *options) as server,
        Wire(server.url) as wire,
    ):
        for method in ("GET", "PUT"):
            answer = wire.ask(method, f"{OBJECTS}/x", b"x" if method == "PUT" else None)
            assert (answer.status, answer.json()) == (503, {"detail": NO_OBJECTS})
        for prefix in ("/api", "/ajax-api"):
            rule = f"{prefix}/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"
            answer = wire.ask("DELETE", f"{prefix}/2.0/mlflow-artifacts/artifacts/x")
            assert answer.status == 503
            assert answer.body.decode().startswith(f"Endpoint: {rule} disabled due to")
            assert NO_SERVE in answer.body.decode()
        run = created(wire, "runs/create", b'{"experiment_id": "0"}')
        info = run["run"]["info"]  # type: ignore[index]
        assert str(info["artifact_uri"]).startswith(f"{tmp_path}/mlruns/0/")
        target = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={info['run_id']}&path=f.txt"
        assert wire.ask("POST", target, b"data").status == 200
        listed = wire.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={info['run_id']}")
        assert listed.json()["files"] == [{"path": "f.txt", "is_dir": False, "file_size": 4}]
        assert wire.ask("GET", f"/get-artifact?run_id={info['run_id']}&path=f.txt").body == b"data"


def test_with_artifacts_only_there_is_nothing_else(tmp_path: Path) -> None:
    with (
        headrace("sqlite:///mlflow.db", tmp_path, "--artifacts-only") as server,
        Wire(server.url) as wire,
    ):
        assert wire.ask("PUT", f"{OBJECTS}/a/b", b"x").status == 200
        assert wire.ask("GET", f"{OBJECTS}/a/b").body == b"x"
        assert wire.ask("DELETE", f"{OBJECTS}/a").status == 200
        for target, rule in (
            ("/api/2.0/mlflow/runs/get?run_id=x", "/api/2.0/mlflow/runs/get"),
            ("/ajax-api/2.0/mlflow/runs/get?run_id=x", "/ajax-api/2.0/mlflow/runs/get"),
            (
                "/api/2.0/mlflow/logged-models/m-x/artifacts/directories",
                "/api/2.0/mlflow/logged-models/<model_id>/artifacts/directories",
            ),
            ("/get-artifact?run_id=x&path=y", "/get-artifact"),
        ):
            answer = wire.ask("GET", target)
            assert answer.status == 503
            assert answer.body.decode().startswith(
                f"Endpoint: {rule} disabled due to the mlflow server running in `--artifacts-only` mode."
            )
        assert wire.ask("GET", "/health").status == 200
    assert not (tmp_path / "mlflow.db").exists()


def test_the_store_stays_unprefixed_and_is_at_the_prefix_too(tmp_path: Path) -> None:
    with (
        headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, "--static-prefix", "/p") as server,
        Wire(server.url) as wire,
    ):
        assert wire.ask("PUT", f"/p{OBJECTS}/a/b", b"x").body == b"{}"
        assert wire.ask("GET", f"{OBJECTS}/a/b").body == b"x"
        assert wire.ask("PUT", f"{OBJECTS}/a/c", b"y").body == b""
        through_prefix = wire.ask("GET", f"/p{OBJECTS}/a/c")
        assert (through_prefix.body, through_prefix.headers["cache-control"]) == (b"y", "no-cache")
        assert "cache-control" not in wire.ask("GET", f"{OBJECTS}/a/c").headers
        for method, target in (("GET", f"{OBJECTS}?path=a"), ("DELETE", f"{OBJECTS}/a/c")):
            assert wire.ask(method, target).status == 404
        assert wire.ask("DELETE", f"/p{OBJECTS}/a").status == 200


CLIENT = """
import os, sys, pathlib, mlflow
from mlflow.artifacts import download_artifacts, list_artifacts
mlflow.set_tracking_uri(sys.argv[1])
here = pathlib.Path(sys.argv[2]); source = here / "source"; (source / "deep").mkdir(parents=True)
(source / "a.txt").write_text("a"); (source / "deep" / "b b.bin").write_bytes(os.urandom(300_000))
(source / "empty").touch(); (source / "deep" / "\\u00e9%.txt").write_text("e")
with mlflow.start_run() as run:
    mlflow.log_artifacts(str(source), "files")
    mlflow.log_artifact(str(source / "a.txt"))
    mlflow.log_text("hello", "notes/hello.txt")
    mlflow.log_dict({"k": 1}, "d.json")
run_id = run.info.run_id
print(sorted(f.path for f in list_artifacts(run_id=run_id)))
print(sorted((f.path, f.file_size) for f in list_artifacts(run_id=run_id, artifact_path="files")))
got = pathlib.Path(download_artifacts(run_id=run_id, dst_path=str(here / "got")))
for path in source.rglob("*"):
    if path.is_file():
        assert (got / "files" / path.relative_to(source)).read_bytes() == path.read_bytes(), path
print(mlflow.artifacts.load_text(f"runs:/{run_id}/notes/hello.txt"))
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
repository = get_artifact_repository(run.info.artifact_uri)
repository.delete_artifacts("files")
print(sorted(f.path for f in list_artifacts(run_id=run_id)))
"""


def test_the_mlflow_client_logs_lists_downloads_and_deletes(server: Server, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLIENT, server.url, str(tmp_path)],
        env=base_environment() | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    shown = [line for line in ended.stdout.splitlines() if line.startswith(("[", "hello"))]
    assert shown == [
        "['a.txt', 'd.json', 'files', 'notes']",
        "[('files/a.txt', 1), ('files/deep', None), ('files/empty', None)]",
        "hello",
        "['a.txt', 'd.json', 'notes']",
    ]
