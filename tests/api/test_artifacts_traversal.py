"""Every spelling of a path out of the store, on every route that takes a path, for both kinds of store.

Paths that stock MLflow refuses get 400 with its message. Paths that it takes as plain names are plain names here
too, and lead nowhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tests.fix_s3 import BUCKET
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server
    from tests.wire import Answer

SECRET = b"nobody may read this"
JSON = {"Content-Type": "application/json"}
REFUSED = [
    "..",
    "../",
    "../secret",
    "a/../../secret",
    "a/..",
    "a/../b",
    "%2e%2e/secret",
    "%2E%2E/secret",
    ".%2e/secret",
    "..%2fsecret",
    "a%2f..%2f..%2fsecret",
    "%2e%2e%2fsecret",
    "%252e%252e/secret",
    "%252e%252e%252fsecret",
    "%25252e%25252e%25252fsecret",
    "a/%252e%252e/%252e%252e/secret",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "%252fetc%252fpasswd",
    "C:/secret",
    "C:%5csecret",
    "%5c%5chost%5cshare",
    "file:/etc/passwd",
    "file:///etc/passwd",
    "file%3a/etc/passwd",
    "FILE:secret",
    "a%23/../secret",
    "a%2523b",
]
NAMES = [
    "..%5csecret",
    "..%5c..%5csecret",
    "a%5c..%5csecret",
    "%00",
    "a%00/secret",
    "secret%00.txt",
    "..%00/secret",
    "...",
    "..;/secret",
    "%c0%ae%c0%ae/secret",
    "%uff0e%uff0e/secret",
    "%ef%bc%8e%ef%bc%8e/secret",
    "~root",
    "out/secret",  # a symbolic link to where the secret is, where there are such
    "out",
    "to-secret",
]
OBJECTS = "/api/2.0/mlflow-artifacts/artifacts"
# `{}` is the path as it is spelled in a URL, "{raw}" what a JSON body says.
ROUTES: list[tuple[str, str, dict[str, Any] | bytes | None]] = [
    ("GET", OBJECTS + "/{}", None),
    ("HEAD", OBJECTS + "/{}", None),
    ("PUT", OBJECTS + "/{}", b"x"),
    ("DELETE", OBJECTS + "/{}", None),
    ("GET", OBJECTS + "?path={}", None),
    ("GET", "/ajax-api/2.0/mlflow-artifacts/artifacts/{}", None),
    ("GET", "/api/2.0/mlflow-artifacts/presigned/{}", None),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/create/{}", {"path": "f", "num_parts": 1}),
    (
        "POST",
        "/api/2.0/mlflow-artifacts/mpu/complete/{}",
        {"path": "f", "upload_id": "u", "parts": [{"part_number": 1, "etag": "0" * 32}]},
    ),
    ("POST", "/api/2.0/mlflow-artifacts/mpu/abort/{}", {"path": "f", "upload_id": "u"}),
    ("GET", "/api/2.0/mlflow/artifacts/list?run_id=$run&path={}", None),
    ("GET", "/get-artifact?run_id=$run&path={}", None),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=$run&path={}", b"x"),
    ("GET", "/model-versions/get-artifact?name=m&version=1&path={}", None),
    (
        "GET",
        "/ajax-api/2.0/mlflow/logged-models/$model/artifacts/files?artifact_file_path={}",
        None,
    ),
    (
        "GET",
        "/api/2.0/mlflow/logged-models/$model/artifacts/directories?artifact_directory_path={}",
        None,
    ),
    (
        "POST",
        "/api/2.0/mlflow/artifacts/presigned-upload-url",
        {"run_id": "$run", "path": "{raw}"},
    ),
    (
        "POST",
        "/api/2.0/mlflow/artifacts/presigned-download-url",
        {"run_id": "$run", "path": "{raw}"},
    ),
]


class Site:
    """A server with a run, a model version and a logged model; no path may reach `beside`."""

    def __init__(self, server: Server, wire: Wire, s3: Any, *, location: str) -> None:
        self.server = server
        self.wire = wire
        self._s3 = s3
        where = {"name": location or "x"} | ({"artifact_location": location} if location else {})
        experiment = self._made("experiments/create", where)["experiment_id"]
        run = self._made("runs/create", {"experiment_id": experiment})["run"]["info"]
        logged = self._made("logged-models", {"experiment_id": experiment, "name": "m"})
        self.ids = {"$run": run["run_id"], "$model": logged["model"]["info"]["model_id"]}
        self._made("registered-models/create", {"name": "m"})
        version = {"name": "m", "source": f"runs:/{run['run_id']}/m", "run_id": run["run_id"]}
        self._made("model-versions/create", version)
        self.root = run["artifact_uri"]

    def _made(self, path: str, body: dict[str, Any]) -> Any:
        url = f"/api/2.0/mlflow/{path}"
        answer = self.wire.ask("POST", url, json.dumps(body).encode(), JSON)
        assert answer.status == 200, str(answer)
        return answer.json()

    def ask(self, method: str, shape: str, body: Any, path: str) -> Answer:
        target = shape.replace("{}", quote(path, safe="%/") if "?" in shape else path)
        for name, value in self.ids.items():
            target = target.replace(name, value)
        sent = body
        if isinstance(body, dict):
            text = json.dumps(body).replace("{raw}", path).replace("$run", self.ids["$run"])
            sent = text.encode()
        return self.wire.ask(method, target, sent, JSON if isinstance(body, dict) else {})

    def beside(self) -> dict[str, Any]:
        """Everything outside the artifact root that such a path could change."""
        files = {
            path.name: path.read_bytes()
            for path in (self.server.directory / "guarded").iterdir()
            if path.is_file()
        }
        keys = self._s3.keys("guarded/") if self._s3 else {}
        return files | keys


@pytest.fixture(scope="module", params=["local", "local, own location", "s3", "s3, own location"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("traversal")
    guarded = directory / "guarded"
    (guarded / "mlartifacts").mkdir(parents=True)
    (guarded / "secret").write_bytes(SECRET)
    kind, _, own = request.param.partition(", ")
    s3 = request.getfixturevalue("s3") if kind == "s3" else None
    environment, destination, location = {}, str(guarded / "mlartifacts"), ""
    if s3 is not None:
        environment = s3.environment
        destination = f"s3://{BUCKET}/guarded/root-{len(own)}"
        s3.client.put_object(Bucket=BUCKET, Key="guarded/secret", Body=SECRET)
    if own:
        location = destination + "/own"
    options = ("--artifacts-destination", destination)
    uri = f"sqlite:///{directory}/m.db"
    with (
        headrace(uri, directory, *options, environment=environment) as server,
        Wire(server.url) as wire,
    ):
        made = Site(server, wire, s3, location=location)
        if s3 is None:
            roots = [guarded / "mlartifacts"]
            if own:
                roots.append(guarded / "mlartifacts/own" / made.ids["$run"] / "artifacts")
            for root in roots:
                root.mkdir(parents=True, exist_ok=True)
                (root / "out").symlink_to(guarded)
                (root / "to-secret").symlink_to(guarded / "secret")
        yield made


@pytest.mark.parametrize(
    ("method", "shape", "body"), ROUTES, ids=[f"{m} {s.partition('?')[0]}" for m, s, _ in ROUTES]
)
def test_no_spelling_leads_out(site: Site, method: str, shape: str, body: Any) -> None:
    before = site.beside()
    for path in REFUSED:
        answer = site.ask(method, shape, body, path)
        assert answer.status == 400, (path, str(answer))
        assert SECRET not in answer.body
    for path in NAMES:
        answer = site.ask(method, shape, body, path)
        # moto answers 500 to the completion of an upload that it does not know.
        is_stores = answer.status == 503 and b"The artifact store answered 500" in answer.body
        assert answer.status < 500 or answer.status == 501 or is_stores, (path, str(answer))
        assert SECRET not in answer.body, path
        assert b'"secret"' not in answer.body, path  # as a listing would show it
    after = {name: value for name, value in site.beside().items() if "root-" not in name}
    assert after == {name: value for name, value in before.items() if "root-" not in name}
