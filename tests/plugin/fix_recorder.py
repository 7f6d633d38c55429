"""A server that records requests and gives scripted answers, to compare the requests of two clients."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import json
import ssl
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = {
    "info": {
        "run_id": "a" * 32,
        "run_uuid": "a" * 32,
        "experiment_id": "0",
        "run_name": "named",
        "user_id": "me",
        "status": "RUNNING",
        "start_time": 1,
        "lifecycle_stage": "active",
        "artifact_uri": "s3://b/0",
    },
    "data": {"tags": [{"key": "t", "value": "v"}]},
}
EXPERIMENT = {
    "experiment_id": "0",
    "name": "Default",
    "artifact_location": "s3://b",
    "lifecycle_stage": "active",
    "creation_time": 5,
    "workspace": "default",
    "tags": [{"key": "t", "value": "v"}],
}
ANSWERS: dict[str, Any] = {
    "runs/create": {"run": RUN},
    "runs/get": {"run": RUN},
    "runs/update": {"run_info": RUN["info"]},
    "runs/search": {"runs": [RUN], "next_page_token": "next"},
    "experiments/get": {"experiment": EXPERIMENT},
    "experiments/get-by-name": {"experiment": EXPERIMENT},
    "metrics/get-history": {"metrics": [{"key": "m", "value": "NaN", "timestamp": 1, "step": 2}]},
    "/api/3.0/mlflow/server-info": {"workspaces_enabled": True},
}
SLOW_S = 1.5  # longer than MLFLOW_HTTP_REQUEST_TIMEOUT=1
# Headers that depend on the connection or on the version of the HTTP library.
LEFT_OUT = frozenset({"host", "connection", "content-length"})


class Recorder(ThreadingHTTPServer):
    """`asked` holds every request; the next answers are as in `statuses`, then all are 200.

    Besides the number of a status: "cut" (an answer that breaks off), "hang up" (none), "slow" (too late), "cookie",
    "garbage" (no JSON), "chunked", "gzip", "close" (the last on its connection).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[list[Any]] = []
        self.statuses: list[int | str] = []

    def taken(self) -> list[list[Any]]:
        """The requests since the last call."""
        asked, self.asked = self.asked, []
        return asked

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that refuses the certificate disconnects."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(
            [
                self.command,
                parts.path,
                sorted(parse_qsl(parts.query, keep_blank_values=True)),
                json.loads(text) if text else None,
                sorted(item for item in headers.items() if item[0] not in LEFT_OUT),
            ]
        )
        kind = self.server.statuses.pop(0) if self.server.statuses else 200
        answer = ANSWERS.get(parts.path.removeprefix("/api/2.0/mlflow/"), {})
        status = kind if isinstance(kind, int) else 200
        if status != 200:
            answer = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}
        body = b'{"broken' if kind == "garbage" else json.dumps(answer).encode()
        if kind == "gzip":
            body = gzip.compress(body)
        if kind == "slow":
            time.sleep(SLOW_S)
        if kind == "hang up":
            self.close_connection = True
            return
        self._send(kind, status, body)

    def _send(self, kind: int | str, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status == 307:
            self.send_header("Location", self.path)
        if kind == "cookie":
            self.send_header("Set-Cookie", "lane=7; Path=/")
        if kind == "gzip":
            self.send_header("Content-Encoding", "gzip")
        if kind in ("cut", "close"):
            self.send_header("Connection", "close")
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            length = len(body) + (9 if kind == "cut" else 0)
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def recording(certificate: Path | None = None) -> Iterator[Recorder]:
    """Run a recorder, with TLS if a certificate is given."""
    recorder = Recorder()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        recorder.socket = context.wrap_socket(recorder.socket, server_side=True)
    thread = threading.Thread(target=recorder.serve_forever, daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.shutdown()
        recorder.server_close()
        thread.join()


def make_certificate(path: Path) -> Path:
    """A key and a certificate that it signs itself, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
