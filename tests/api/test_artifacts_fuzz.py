"""Random paths, verbs, queries and headers: never a 5xx, and never a file outside the artifact store."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

OBJECTS = "/api/2.0/mlflow-artifacts/artifacts"
PIECES = [
    *("a", "b", "run", ".", "..", "/", "//", "%2e%2e", "%252e", "%2f", "%5c", "%00", "%0a", "%ff"),
    *("%23", "%3f", ";", ":", "C:", "file:", "http://", "[", "]", "%25", "~", "*", "%c3%a9", "@"),
    *("n" * 300, "/" * 40, ".artifact.uploading.", "%20", "link", "loop"),
]
RANGES = st.lists(
    st.sampled_from(["bytes", "=", "0", "-", "5", ",", " ", "x", "99", "9" * 30]), max_size=8
).map("".join)
ROUTES = [
    ("GET", OBJECTS + "/{}"),
    ("PUT", OBJECTS + "/{}"),
    ("DELETE", OBJECTS + "/{}"),
    ("HEAD", OBJECTS + "/{}"),
    ("GET", OBJECTS + "?path={}"),
    ("GET", "/api/2.0/mlflow-artifacts/presigned/{}"),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/create/{}"),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/complete/{}"),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/abort/{}"),
    ("GET", "/api/2.0/mlflow/artifacts/list?run_id=$run&path={}"),
    ("GET", "/get-artifact?run_id=$run&path={}"),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=$run&path={}"),
    ("GET", "/model-versions/get-artifact?name={}&version={}&path={}"),
    ("GET", "/ajax-api/2.0/mlflow/logged-models/m-x/artifacts/files?artifact_file_path={}"),
    ("GET", "/api/2.0/mlflow/logged-models/m-x/artifacts/directories?artifact_directory_path={}"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("fuzz") / "here"
    directory.mkdir()
    with headrace(f"sqlite:///{directory}/mlflow.db", directory) as running:
        yield running


@pytest.fixture(scope="module")
def run_id(server: Server) -> str:
    with Wire(server.url) as wire:
        wire.ask("PUT", f"{OBJECTS}/a/b", b"x" * 10)
        root = server.directory / "mlartifacts"
        (root / "link").symlink_to(server.directory.parent)
        (root / "loop").symlink_to("loop")
        answer = wire.ask(
            "POST",
            "/api/2.0/mlflow/runs/create",
            b'{"experiment_id": "0"}',
            {"Content-Type": "application/json"},
        )
        return str(answer.json()["run"]["info"]["run_id"])


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    route=st.sampled_from(ROUTES),
    path=st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    wanted=RANGES,
    body=st.sampled_from([b"", b"x", b'{"path": "p", "num_parts": 1}', b"y" * 100_000]),
)
def test_no_request_breaks_the_server_or_leaves_its_store(
    server: Server, run_id: str, route: tuple[str, str], path: str, wanted: str, body: bytes
) -> None:
    method, shape = route
    spelled = quote(path, safe="%/;:@[]~*.") if "?" not in shape else quote(path, safe="%/")
    target = shape.replace("$run", run_id).replace("{}", spelled)
    headers = {"Range": wanted}
    if method == "POST":
        headers["Content-Type"] = "application/json"
    with Wire(server.url) as wire:
        answer = wire.ask(method, target, body if method in ("PUT", "POST") else None, headers)
    assert answer.status < 500 or answer.status == 501, (method, target, str(answer))
    assert {p.name for p in server.directory.parent.iterdir()} == {"here"}
    outside = {p.name for p in server.directory.iterdir()} - {"mlartifacts"}
    assert {name.split(".")[0].split("-")[0] for name in outside} <= {"mlflow", "headrace"}
