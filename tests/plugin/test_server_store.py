"""The store for servers returns the same as MLflow's, from headrace and from a stock server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.fix_server import headrace, stock
from tests.plugin.conftest import ROOT, SCRIPT_TIMEOUT_S, output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVERS = {"headrace": headrace, "stock": stock}


def compare(kind: str, tmp_path: Path, python: str, paths: list[str]) -> None:
    """Plays all calls with headrace off and on, each on a fresh database."""
    outcomes = []
    for switch in ("off", "on"):
        directory = tmp_path / switch
        directory.mkdir()
        with SERVERS[kind](f"sqlite:///{directory}/mlflow.db", directory) as server:
            done = subprocess.run(
                [python, "-m", "tests.plugin.calls", server.url, switch],
                env=os.environ
                | {
                    "PYTHONPATH": os.pathsep.join(paths),
                    # Otherwise a 500 is retried for minutes.
                    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
                },
                capture_output=True,
                timeout=3 * SCRIPT_TIMEOUT_S,
                check=False,
            )
            assert done.returncode == 0, done.stderr.decode()[-3000:]
            text = done.stdout.decode().replace(server.url, "<server>")
            outcomes.append(json.loads(re.sub(r"port=\d+", "port=<port>", text)))
    off, on = outcomes
    assert [pair for pair in zip(off, on, strict=True) if pair[0] != pair[1]] == []


@pytest.mark.compat
@pytest.mark.timeout(400)  # two slow stock servers
@pytest.mark.parametrize("kind", SERVERS)
def test_every_call_gives_the_same(kind: str, tmp_path: Path) -> None:
    compare(kind, tmp_path, sys.executable, [str(ROOT / "src"), str(ROOT)])


@pytest.mark.clients
@pytest.mark.timeout(400)
def test_every_call_gives_the_same_with_mlflow_2(
    tmp_path: Path, mlflow2: tuple[str, list[str]]
) -> None:
    compare("headrace", tmp_path, *mlflow2)


def test_an_unreachable_server_is_reported_as_by_mlflow(
    script: Callable[..., subprocess.Popen[str]],
) -> None:
    text = """
import os, re, socket
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
import headrace, mlflow
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
said = []
for switch in (headrace.disable, headrace.enable):
    switch()
    try:
        mlflow.MlflowClient(f"http://127.0.0.1:{port}").log_metric("0" * 32, "m", 1.0)
    except mlflow.MlflowException as error:
        said.append((error.error_code, error.message))
assert len(said) == 2 and said[0] == said[1], said
"""
    output(script(text, headrace="0"))


@pytest.mark.parametrize(
    ("change", "store"),
    [
        ("", "ServerStore"),
        (
            "request_utils._get_request_session = lambda *args, retry_read_errors=True: None",
            "RestStore",
        ),
        ("del request_utils._get_request_session", "RestStore"),
        ("del rest_utils._validate_max_retries", "RestStore"),
        ("del registry._request_header_provider_registry", "RestStore"),
        ("del HTTPConnectionPool._get_conn", "RestStore"),
    ],
)
def test_a_release_that_sends_in_another_way_is_left_to_mlflow(
    script: Callable[..., subprocess.Popen[str]], change: str, store: str
) -> None:
    """Headrace uses private names of MLflow's client and urllib3, which may differ in the next release."""
    text = f"""
from mlflow.tracking.request_header import registry
from mlflow.utils import request_utils, rest_utils
from urllib3 import HTTPConnectionPool
{change}
from headrace.plugin.builders import tracking_server
print(type(tracking_server("http://127.0.0.1:1")).__name__)
"""
    assert output(script(text)).strip() == store
