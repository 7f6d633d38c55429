"""A receiver of webhooks: an HTTP server in this process that keeps the requests it gets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 60.0
HEADERS = ("content-type", "x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature")


@dataclass(frozen=True)
class Received:
    """One POST."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def event(self) -> str:
        """The event, as `ENTITY.ACTION`."""
        said = self.json()
        return f"{said['entity']}.{said['action']}"

    def is_signed_with(self, secret: str) -> bool:
        """Whether the signature is that of the secret, by the rule that MLflow documents."""
        signed = f"{self.headers['x-mlflow-delivery-id']}.{self.headers['x-mlflow-timestamp']}."
        mac = hmac.new(secret.encode(), signed.encode() + self.body, hashlib.sha256).digest()
        return self.headers.get("x-mlflow-signature") == "v1," + base64.b64encode(mac).decode()


class Receiver:
    """Answers with the items of `answers` (status, headers) in turn, then with 200."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[Received] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self._changed = threading.Condition()

    def take(self, received: Received) -> tuple[int, dict[str, str]]:
        """Record a request; the answer to give."""
        with self._changed:
            self.received.append(received)
            self._changed.notify_all()
            return self.answers.pop(0) if self.answers else (200, {})

    def wait_for(self, count: int, path: str = "") -> list[Received]:
        """The requests so far (for `path`, if it is given), once there are `count` of them."""
        deadline = time.monotonic() + WAIT_S
        with self._changed:
            while len(found := [r for r in self.received if path in ("", r.path)]) < count:
                rest_s = deadline - time.monotonic()
                assert rest_s > 0, f"{count} expected, came: {[r.event for r in self.received]}"
                self._changed.wait(rest_s)
            return found


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver on a free port of the loopback interface."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more = found.take(Received(self.path, headers, body))
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
