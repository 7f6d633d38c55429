"""HTTP/1.1 over raw sockets: torn, pipelined, chunked, oversized, slow and broken requests."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.fix_server import headrace
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_server import Server

JSON = {"Content-Type": "application/json"}
CREATE = "/api/2.0/mlflow/experiments/create"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A headrace server on a new SQLite file."""
    directory = tmp_path_factory.mktemp("framing")
    with headrace(f"sqlite:///{directory}/mlflow.db", directory) as running:
        yield running


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    """A raw connection to the server."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as raw:
        yield raw


def request(body: bytes, *headers: str, path: str = CREATE) -> bytes:
    """A POST with a Content-Length."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next answer: status, headers with lower-case names, body by its Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(1)
        assert part, f"the connection ended in the middle of a head: {data!r}"
        data += part
    first, *lines = data.decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = b""
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return int(first.split(" ")[1]), headers, body


def is_closed(connection: socket.socket) -> bool:
    """Whether the server ended the connection."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_request_may_come_byte_by_byte(connection: socket.socket) -> None:
    for byte in request(b'{"name": "torn"}'):
        connection.send(bytes([byte]))
    status, _, body = answer(connection)
    assert (status, "experiment_id" in json.loads(body)) == (200, True)


def test_pipelined_requests_are_answered_in_their_order(connection: socket.socket) -> None:
    names = [f"pipelined-{n}" for n in range(20)]
    connection.sendall(b"".join(request(json.dumps({"name": name}).encode()) for name in names))
    ids = [json.loads(answer(connection)[2])["experiment_id"] for _ in names]
    assert ids == sorted(ids, key=int)


def test_a_chunked_body_is_read(connection: socket.socket) -> None:
    head = f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    connection.sendall(b'9\r\n{"name": \r\n')
    connection.sendall(b'b\r\n"chunked!"}\r\n0\r\n\r\n')
    assert answer(connection)[0] == 200


def test_a_client_that_expects_100_continue_gets_it(connection: socket.socket) -> None:
    body = b'{"name": "continued"}'
    connection.sendall(request(body, "Expect: 100-continue")[: -len(body)])
    assert connection.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    connection.sendall(body)
    assert answer(connection)[0] == 200


def test_head_has_no_body_but_its_length(connection: socket.socket) -> None:
    connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    data = connection.recv(4096)
    assert data.startswith(b"HTTP/1.1 200 ")
    assert data.endswith(b"\r\n\r\n")
    assert b"content-length: 2" in data


def test_connection_close_is_obeyed(connection: socket.socket) -> None:
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    status, headers, _ = answer(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert is_closed(connection)


@pytest.mark.parametrize("path", ["/no/such/route", "/api/2.0/mlflow-artifacts/mpu/create/"])
def test_a_body_that_no_route_wants_leaves_the_connection_usable(
    connection: socket.socket, path: str
) -> None:
    """Head and body are sent separately, as by most clients; the next request on the connection is answered."""
    sent = request(b'{"no": "body"}', path=path)
    connection.sendall(sent[:-14])
    time.sleep(0.1)  # long enough for an answer that does not wait for the body
    connection.sendall(sent[-14:])
    assert answer(connection)[0] in (404, 501)
    connection.sendall(request(json.dumps({"name": f"after {path}"}).encode()))
    assert answer(connection)[0] == 200


@pytest.mark.parametrize("headers", [("Expect: 100-continue",), ()], ids=["asks", "large"])
def test_a_body_that_is_not_read_closes_the_connection_and_says_so(
    connection: socket.socket, headers: tuple[str, ...]
) -> None:
    """Otherwise a keep-alive client would lose its next request."""
    body = b"x" * (10 if headers else 1 << 20)
    connection.sendall(request(body, *headers, path="/no/such/route")[: -len(body)])
    status, found, _ = answer(connection)
    assert status in (404, 501)
    assert found["connection"] == "close"
    assert is_closed(connection)


def test_http_1_0_is_answered_and_closed(connection: socket.socket) -> None:
    connection.sendall(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert answer(connection)[0] == 200
    assert is_closed(connection)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: local host\r\n\r\n",
        b"GET /health HTTP/1.1\nHost: localhost\n\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_garbage_gets_400_and_ends_the_connection(
    server: Server, connection: socket.socket, garbage: bytes
) -> None:
    connection.sendall(garbage)
    assert answer(connection)[0] == 400
    assert is_closed(connection)
    with Wire(server.url) as wire:
        assert wire.ask("GET", "/health").status == 200


def test_endless_headers_are_refused(connection: socket.socket) -> None:
    """The client continues to send and can still read the answer."""
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
    for n in range(1000):
        connection.sendall(b"x-%d: %s\r\n" % (n, b"y" * 1000))
    assert answer(connection)[0] == 431
    assert is_closed(connection)


@pytest.mark.parametrize(
    ("start", "status"), [(b"GET /", 414), (b"GET / HTTP/1.1\r\nHost: a\r\nx-long: ", 431)]
)
def test_one_endless_line_is_refused_before_it_ends(
    connection: socket.socket, start: bytes, status: int
) -> None:
    connection.sendall(start + b"y" * (1 << 20))
    assert answer(connection)[0] == status
    assert is_closed(connection)


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(connection: socket.socket) -> None:
    head = request(b"")[:-4].replace(b"Content-Length: 0", b"Content-Length: 99999999999")
    connection.sendall(head + b"\r\n\r\n")
    status, _, body = answer(connection)
    assert (status, json.loads(body)["error_code"]) == (413, "BAD_REQUEST")
    assert is_closed(connection)


def test_clients_that_say_nothing_do_no_harm(server: Server) -> None:
    parts = urlsplit(server.url)
    idle = [socket.create_connection((parts.hostname or "", parts.port or 0)) for _ in range(300)]
    try:
        for half in idle[::2]:
            half.sendall(b"POST /api/2.0/mlflow/runs/search HTTP/1.1\r\nHost: loc")
        with Wire(server.url) as wire:
            for n in range(20):
                name = json.dumps({"name": f"beside-{n}"}).encode()
                assert wire.ask("POST", CREATE, name, JSON).status == 200
    finally:
        for one in idle:
            one.close()


ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
HOST = "Host: localhost"
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
LARGE_BYTES = 8 << 20


def head_of(method: str, path: str, *headers: str, version: str = "HTTP/1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {path} {version}", HOST, *headers, "", ""]).encode()


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/2.0", ""])
def test_other_versions_of_http_are_not_served(connection: socket.socket, version: str) -> None:
    connection.sendall(head_of("GET", "/health", version=version).replace(b" \r\n", b"\r\n"))
    assert answer(connection)[0] == 505
    assert is_closed(connection)


@pytest.mark.parametrize("body", [b"", b"upgrade"])
def test_an_offer_of_http_2_is_ignored(
    server: Server, connection: socket.socket, body: bytes
) -> None:
    """The requests of curl --http2, Java and .NET are executed once and answered with HTTP/1.1."""
    path = f"{ARTIFACTS}h2c-{len(body)}"
    connection.sendall(head_of("PUT", path, *H2C, f"Content-Length: {len(body)}") + body)
    assert answer(connection)[0] == 200
    connection.sendall(head_of("DELETE", path, *H2C))
    status, headers, _ = answer(connection)
    assert (status, "upgrade" in headers) == (200, False)
    connection.sendall(head_of("GET", path))
    assert answer(connection)[0] == 404


def test_an_absolute_target_names_the_host(connection: socket.socket) -> None:
    get = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    connection.sendall(head_of("GET", f"http://127.0.0.1{get}"))
    assert answer(connection)[0] == 200
    connection.sendall(head_of("GET", f"http://evil.example{get}"))
    assert answer(connection)[0] == 403


@pytest.mark.parametrize("trailer", ["Content-Type: application/json", "Host: localhost"])
def test_a_trailer_is_not_a_header(connection: socket.socket, trailer: str) -> None:
    headers = [HOST, "Content-Type: application/json", "Transfer-Encoding: chunked"]
    headers.remove(trailer)
    head = "\r\n".join([f"POST {CREATE} HTTP/1.1", *headers, "", ""])
    body = f'12\r\n{{"name": "trailer"}}\r\n0\r\n{trailer}\r\n\r\n'
    connection.sendall((head + body).encode())
    assert answer(connection)[0] == 400


def test_http_1_0_gets_no_chunks(server: Server, connection: socket.socket) -> None:
    with Wire(server.url) as wire:
        name = json.dumps({"name": "for-1.0"}).encode()
        experiment = wire.ask("POST", CREATE, name, JSON).json()["experiment_id"]
        made = {"experiment_id": experiment, "start_time": 1}
        run = wire.ask("POST", "/api/2.0/mlflow/runs/create", json.dumps(made).encode(), JSON)
        run_id = run.json()["run"]["info"]["run_id"]
        for start in range(0, 11_000, 1000):
            points = [
                {"key": "m", "value": n, "timestamp": n, "step": n}
                for n in range(start, start + 1000)
            ]
            batch = json.dumps({"run_id": run_id, "metrics": points}).encode()
            assert wire.ask("POST", "/api/2.0/mlflow/runs/log-batch", batch, JSON).status == 200
    path = f"/api/2.0/mlflow/metrics/get-history?run_id={run_id}&metric_key=m"
    connection.sendall(head_of("GET", path, "Connection: keep-alive", version="HTTP/1.0"))
    data = b""
    while more := connection.recv(1 << 16):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert len(json.loads(body)["metrics"]) == 11_000


FOLLOWERS = {
    "garbage": (b"\0garbage\r\n\r\n", b"HTTP/1.1 400 "),
    "broken": (b"BROKEN\r\n\r\n", b"HTTP/1.1 400 "),
    "too large": (
        head_of("POST", CREATE, "Content-Type: application/json", "Content-Length: 99999999999"),
        b"HTTP/1.1 413 ",
    ),
    "asks": (
        head_of(
            *("POST", CREATE, "Content-Type: application/json"),
            *("Expect: 100-continue", "Content-Length: 10"),
        ),
        b"HTTP/1.1 100 ",
    ),
}


@pytest.mark.parametrize(("follower", "after"), FOLLOWERS.values(), ids=FOLLOWERS)
def test_what_follows_never_comes_before_or_into_an_answer(
    server: Server, connection: socket.socket, follower: bytes, after: bytes
) -> None:
    """The write is acknowledged, or the whole download sent, before the next request is answered."""
    name = f"before {after.decode()}{len(follower)}"
    connection.sendall(request(json.dumps({"name": name}).encode()) + follower)
    assert answer(connection)[0] == 200
    assert connection.recv(len(after)) == after

    with Wire(server.url) as wire:
        assert wire.ask("PUT", f"{ARTIFACTS}large", b"x" * LARGE_BYTES).status == 200
    parts = urlsplit(server.url)
    address = (parts.hostname or "", parts.port or 0)
    with socket.create_connection(address, timeout=20) as download:
        download.sendall(head_of("GET", f"{ARTIFACTS}large"))
        first = download.recv(1)  # it has begun and is larger than the kernel's buffers
        download.sendall(follower)
        data = bytearray(first)
        while after not in data:
            more = download.recv(1 << 20)
            assert more, "the connection ended without an answer to the follower"
            data += more
    _, _, body = bytes(data).partition(b"\r\n\r\n")
    assert body[:LARGE_BYTES] == b"x" * LARGE_BYTES
    assert body[LARGE_BYTES:].startswith(after)


def test_after_the_last_request_the_rest_is_ignored(connection: socket.socket) -> None:
    connection.sendall(head_of("GET", "/health", "Connection: close") + b"\0" * 200_000)
    status, headers, body = answer(connection)
    assert (status, headers["connection"], body) == (200, "close", b"OK")
    assert is_closed(connection)


ODD = {
    "no zone": {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 -0000"},
    "twenty digits": {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"},
    "a long range": {"Range": "bytes=0-" + "1" * 5000},
    "a long suffix": {"Range": "bytes=-" + "1" * 5000},
    "if-range": {"Range": "bytes=0-1", "If-Range": "Mon, 01 Jan 2024 00:00:00 -0000"},
    "if-range twenty": {"Range": "bytes=0-1", "If-Range": "Mon, 01 Jan 2024 00:00:00 +" + "9" * 20},
}


@pytest.mark.parametrize("headers", ODD.values(), ids=ODD)
def test_odd_conditions_are_read_or_ignored(server: Server, headers: dict[str, str]) -> None:
    """GET and HEAD of an artifact read them as stock MLflow's two frameworks do."""
    with Wire(server.url) as wire:
        assert wire.ask("PUT", f"{ARTIFACTS}odd", b"hello").status == 200
        for method in ("GET", "HEAD"):
            assert wire.ask(method, f"{ARTIFACTS}odd", headers=headers).status < 500
