"""Streaming across the bridge: answers and bodies are passed on piece by piece."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from tests.fix_server import Server, base_environment, headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JSON = {"content-type": "application/json"}
END_S = 60.0
ASKED = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "go on"}]}


class Model(http.server.ThreadingHTTPServer):
    """A language model that sends its second word only after the first has been received."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Words)
        self.heard = threading.Event()
        self.hung_up = threading.Event()


class Words(http.server.BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            self.say("first")
            assert self.server.heard.wait(END_S)
            while True:  # until the client disconnects, or up to a limit
                self.say("second")
                if self.server.hung_up.wait(0.05):
                    break
        except OSError:
            self.server.hung_up.set()

    def say(self, word: str) -> None:
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}}
        chunk = {
            "id": "c-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
        }
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def talking() -> Iterator[Model]:
    with Model() as model:
        thread = threading.Thread(target=model.serve_forever)
        thread.start()
        try:
            yield model
        finally:
            model.heard.set()
            model.hung_up.set()
            model.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory: Path = tmp_path_factory.mktemp("server")
    env = base_environment() | {
        "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "http,https",
    }
    # Not ./mlflow.db, which is MLflow's default and would hide that MLflow uses the default.
    with headrace(f"sqlite:///{directory}/tracking.db", directory, environment=env) as running:
        yield running


def create(wire: Wire, kind: str, **body: Any) -> Any:
    path = f"/api/3.0/mlflow/gateway/{kind}/create"
    answer = wire.ask("POST", path, json.dumps(body).encode(), JSON)
    assert answer.status == 200, answer.body
    return answer.json()


def offer(server: Server, model: Model, name: str) -> None:
    """Make the model known to MLflow's gateway."""
    with Wire(server.url) as wire:
        secret = create(
            wire,
            "secrets",
            secret_name=name,
            secret_value={"api_key": "none"},
            provider="openai",
            auth_config={"api_base": f"http://127.0.0.1:{model.server_port}/v1"},
        )["secret"]["secret_id"]
        made = create(
            wire,
            "model-definitions",
            name=name,
            secret_id=secret,
            provider="openai",
            model_name="m",
        )["model_definition"]["model_definition_id"]
        config = {"model_definition_id": made, "linkage_type": "PRIMARY", "weight": 1.0}
        create(wire, "endpoints", name=name, model_configs=[config], usage_tracking=False)


def test_words_arrive_while_the_answer_is_being_made(server: Server) -> None:
    """The second word is sent only after the first was received, so a buffered answer would never end."""
    with talking() as model:
        offer(server, model, "slow")
        address = urlsplit(server.url).netloc
        with closing(http.client.HTTPConnection(address, timeout=END_S)) as connection:
            connection.request(
                "POST", "/gateway/mlflow/v1/chat/completions", json.dumps(ASKED), JSON
            )
            with closing(connection.getresponse()) as answer:
                assert answer.status == 200, answer.read()
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert b"first" in answer.readline()
                model.heard.set()
                assert any(b"second" in answer.readline() for _ in range(10))
        # The disconnect of the client is passed on too, or the model would continue to generate.
        assert model.hung_up.wait(END_S), "MLflow was told that nobody listens"
