"""A server with one experiment whose answers a test replaces: they can be cut, broken or late."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN = "a" * 32
GOOD_RUN = "b" * 32
SIZE = 100_000


def run(run_id: str, **info: Any) -> dict[str, Any]:
    """A run with the metric `loss`."""
    given = {"run_id": run_id, "status": "FINISHED", "start_time": 5, "end_time": 9, **info}
    return {"info": given, "data": {"metrics": [{"key": "loss", "value": 1}]}}


class Answer:
    """A status, headers, and raw bytes. `Content-Length` can differ from the number of bytes."""

    def __init__(self, body: Any, status: int = 200, **headers: str) -> None:
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status = status
        self.headers = {"Content-Length": str(len(self.body))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }


class Hostile:
    """The answers by path. A test replaces them; a function gets the fields and the number of the request."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: dict[str, int] = {}
        self.answers: dict[str, Callable[[dict[str, Any], int], Answer]] = {
            "experiments/search": lambda _fields, _n: Answer(
                {"experiments": [{"experiment_id": "7", "name": "one"}]}
            ),
            "runs/search": lambda _fields, _n: Answer({"runs": [run(RUN), run(GOOD_RUN)]}),
            "metrics/get-history": lambda _fields, _n: Answer(
                {"metrics": [{"key": "loss", "value": 1, "timestamp": 5, "step": "3"}]}
            ),
            "artifacts/list": lambda _fields, _n: Answer(
                {"files": [{"path": "a.bin", "is_dir": False, "file_size": SIZE}]}
            ),
            "get-artifact": lambda _fields, _n: Answer(b"x" * SIZE),
        }

    def of(self, path: str, found: Answer | Callable[[dict[str, Any], int], Answer]) -> None:
        """Replace the answers of a path for the run `RUN` (and of requests without a run)."""
        before = self.answers[path]

        def answer(fields: dict[str, Any], number: int) -> Answer:
            if fields.get("run_id", RUN) != RUN:
                return before(fields, number)
            return found if isinstance(found, Answer) else found(fields, number)

        self.answers[path] = answer


@contextmanager
def serving(hostile: Hostile) -> Iterator[Hostile]:
    """Serve the answers on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet for an answer

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._send(parts.path, {name: one[0] for name, one in parse_qs(parts.query).items()})

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            self._send(urlsplit(self.path).path, json.loads(self.rfile.read(size)))

        def _send(self, path: str, fields: dict[str, Any]) -> None:
            name = path.removeprefix("/api/2.0/mlflow/").strip("/")
            key = f"{name} {fields.get('run_id', '')}".strip()
            hostile.requests[key] = hostile.requests.get(key, 0) + 1
            answers = hostile.answers.get(name)
            answer = (
                answers(fields, hostile.requests[key])
                if answers
                else Answer({"error_code": "ENDPOINT_NOT_FOUND", "message": "no"}, 404)
            )
            self.send_response(answer.status)
            for header, value in answer.headers.items():
                if value:
                    self.send_header(header, value)
            self.end_headers()
            self.wfile.write(answer.body)
            cut = answer.headers["Content-Length"] != str(len(answer.body))
            self.close_connection = cut

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    hostile.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hostile
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
