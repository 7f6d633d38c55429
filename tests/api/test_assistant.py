"""The page's question about MLflow's assistant starts MLflow only if an assistant is available."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from tests.fill import fill
from tests.fix_server import Server, headrace
from tests.wire import Answer, Wire

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mlflow uses deprecated functions of its dependencies
    from mlflow.assistant.providers import MlflowGatewayProvider

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "/ajax-api/3.0/mlflow/assistant/config"
PROVIDERS = "/ajax-api/3.0/mlflow/assistant/providers"
PROXY = "/ajax-api/2.0/mlflow/gateway-proxy"
STARTED = "starting MLflow"


def get(server: Server, path: str) -> Answer:
    with Wire(server.url) as wire:
        return wire.ask("GET", path)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An empty home directory and an empty search path."""
    (tmp_path / "bin").mkdir()
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}


def test_without_an_assistant_mlflow_is_not_started(tmp_path: Path, bare: dict[str, str]) -> None:
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, environment=bare) as server:
        empty = {"providers": {}, "projects": {}, "remote_access_allowed": False}
        assert get(server, CONFIG).json() == empty
        assert get(server, PROVIDERS).json()["providers"] == []
        assert get(server, PROXY).json() == {"endpoints": []}
        assert STARTED not in server.log()


def test_an_assistant_that_was_set_up_is_asked(tmp_path: Path, bare: dict[str, str]) -> None:
    directory = tmp_path / ".mlflow" / "assistant"
    directory.mkdir(parents=True)
    chosen = {"providers": {"ollama": {"model": "m", "selected": True}}}
    (directory / "config.json").write_text(json.dumps(chosen))
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, environment=bare) as server:
        assert get(server, CONFIG).json()["providers"]["ollama"]["model"] == "m"
        assert "ollama" in {p["name"] for p in get(server, PROVIDERS).json()["providers"]}
        assert STARTED in server.log()


def test_a_program_that_it_can_talk_to_is_offered(tmp_path: Path, bare: dict[str, str]) -> None:
    program = tmp_path / "bin" / "claude"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with headrace(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, environment=bare) as server:
        assert "claude_code" in {p["name"] for p in get(server, PROVIDERS).json()["providers"]}


def test_an_endpoint_of_the_gateway_is_offered(tmp_path: Path, bare: dict[str, str]) -> None:
    """As by stock, without starting it."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path, environment=bare) as server:
        columns = "endpoint_id, name, created_at, last_updated_at, usage_tracking"
        fill(uri, "endpoints", columns, [("e-1", "chat", 1, 1, False)])
        (offered,) = get(server, PROVIDERS).json()["providers"]
        assert STARTED not in server.log()
        expected = asdict(MlflowGatewayProvider())
        assert {key: offered[key] for key in expected} == expected
        assert offered["available"] is True


def asdict(provider: MlflowGatewayProvider) -> dict[str, Any]:
    """A provider in stock's answer."""
    names = ("name", "display_name", "description", "allows_remote_access", "client_tool_delivery")
    return {name: getattr(provider, name) for name in names}


def test_a_gateway_is_asked_when_there_is_one(tmp_path: Path, bare: dict[str, str]) -> None:
    target = {"MLFLOW_DEPLOYMENTS_TARGET": "http://127.0.0.1:9"}
    with headrace(f"sqlite:///{tmp_path}/m.db", tmp_path, environment=bare | target) as server:
        answer = get(server, f"{PROXY}?gateway_path=api/2.0/endpoints/")
        assert answer.status == 500
        assert STARTED in server.log()
