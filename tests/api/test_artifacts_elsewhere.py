"""Artifacts with schemes that only MLflow's repositories support, and with unknown schemes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tests.fix_packages import environment_without
from tests.fix_server import headrace
from tests.wire import Wire

from headrace.extras import install_command

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = "/api/2.0/mlflow-artifacts/artifacts"
JSON = {"Content-Type": "application/json"}


def post(wire: Wire, target: str, body: dict[str, Any]) -> Any:
    answer = wire.ask("POST", target, json.dumps(body).encode(), JSON)
    assert answer.status == 200, str(answer)
    return answer.json()


def test_another_artifact_server_can_be_the_destination(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    near.mkdir()
    far.mkdir()
    data = os.urandom(3_000_000)
    with headrace("sqlite:///mlflow.db", far, "--artifacts-only") as store:
        destination = ("--artifacts-destination", store.url + OBJECTS)
        with (
            headrace(f"sqlite:///{near}/mlflow.db", near, *destination) as server,
            Wire(server.url) as wire,
        ):
            for path, body in (("run/a%20b.bin", data), ("run/d/c.txt", b"text")):
                assert wire.ask("PUT", f"{OBJECTS}/{path}", body).status == 200
            assert (far / "mlartifacts/run/a b.bin").read_bytes() == data
            answer = wire.ask("GET", f"{OBJECTS}/run/a%20b.bin")
            assert (answer.body, answer.headers["content-length"]) == (data, str(len(data)))
            part = wire.ask("GET", f"{OBJECTS}/run/a%20b.bin", headers={"Range": "bytes=5-9"})
            assert (part.status, part.body) == (206, data[5:10])
            assert wire.ask("GET", f"{OBJECTS}?path=run").json()["files"] == [
                {"path": "a b.bin", "is_dir": False, "file_size": len(data)},
                {"path": "d", "is_dir": True},
            ]
            assert wire.ask("GET", f"{OBJECTS}/run/d").status == 400
            assert wire.ask("GET", f"{OBJECTS}/..%2fx").status == 400
            for _ in range(2):
                assert wire.ask("DELETE", f"{OBJECTS}/run/d").status == 200
            assert [p.name for p in (far / "mlartifacts/run").iterdir()] == ["a b.bin"]
            body = {"path": "f", "num_parts": 1}
            made = wire.ask(
                "POST", "/api/2.0/mlflow-artifacts/mpu/create/x", json.dumps(body).encode(), JSON
            )
            assert made.status >= 500
            assert "Traceback" not in server.log()


def test_without_mlflow_such_a_destination_is_501_with_a_message(tmp_path: Path) -> None:
    with (
        headrace(
            f"sqlite:///{tmp_path}/mlflow.db",
            tmp_path,
            *("--artifacts-destination", "hdfs://namenode:8020/mlflow"),
            environment=environment_without(tmp_path / "env", "mlflow"),
        ) as server,
        Wire(server.url) as wire,
    ):
        for method in ("GET", "PUT", "DELETE"):
            answer = wire.ask(method, f"{OBJECTS}/x", b"x" if method == "PUT" else None)
            assert (answer.status, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
            assert "'hdfs'" in answer.json()["message"]
            assert install_command("mlflow") in answer.json()["message"]


def test_a_location_of_an_unknown_scheme_is_reported(tmp_path: Path) -> None:
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path) as server, Wire(server.url) as wire:
        for name, location, says in (
            ("unknown", "foo://x/y", "Could not find a registered artifact repository"),
            ("no bucket", "s3:///x", "Not an S3 URI"),
            ("no container", "wasbs://x/y", "Not an Azure URI"),
        ):
            body = {"name": name, "artifact_location": location}
            exp = post(wire, "/api/2.0/mlflow/experiments/create", body)["experiment_id"]
            run = post(wire, "/api/2.0/mlflow/runs/create", {"experiment_id": exp})["run"]["info"]
            answer = wire.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run['run_id']}")
            assert says in answer.json()["message"]
            assert answer.status == 400
