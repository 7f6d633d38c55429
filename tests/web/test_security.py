"""The browser rules of headrace and of stock MLflow, request by request."""

from __future__ import annotations

import http.client
from itertools import product
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.fix_server import headrace, stock
from tests.wire import Wire

from headrace.http.security import MAX_KNOWN_HOSTS, Security
from headrace.settings.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTS = [
    "localhost",
    "localhost:5000",
    "LOCALHOST",
    "127.0.0.1:1",
    "[::1]",
    "[::1]:80",
    "[::2]:80",
    "0.0.0.0:5000",
    "192.168.1.7:5000",
    "10.evil.com",
    "172.16.0.1",
    "172.31.9.9:80",
    "172.32.0.1",
    "172.15.0.1",
    "fc00:1",
    "localhost.evil.com",
    "evil.com",
    "",
    "tracking.example.com",
    "a.team.example.org",
    "xteam.example.org",
    "localhost\t:1",
]
ORIGINS = [
    "http://localhost",
    "http://localhost:3000",
    "https://localhost",
    "http://127.0.0.1:8080",
    "http://[::1]:5",
    "http://0.0.0.0:5000",
    "null",
    "http://evil.com",
    "http://localhost.evil.com",
    "http://localhost@evil.com",
    "http://[::1",
    "https://page.example.com",
    "https://x.team.example.org",
    "vscode-webview://localhost",
]
PATHS = ["/api/3.0/mlflow/server-info", "/health", "/version", "/graphql", "/nowhere", "/"]
RENDERER = "/static-files/lib/notebook-trace-renderer/index.html"
CONFIGURATIONS: dict[str, dict[str, str]] = {
    "defaults": {},
    "listed": {
        "MLFLOW_SERVER_ALLOWED_HOSTS": "tracking.example.com, *.team.example.org",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "https://page.example.com,https://*.team.example.org",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "deny",
    },
    "wildcard": {
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "*",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "NONE",
    },
    "disabled": {"MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true"},
}
COMPARED = (
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "vary",
    "x-content-type-options",
    "x-frame-options",
)
REFUSALS = (b"Invalid Host header", b"Cross-origin request blocked", b"Disallowed CORS", b"OK")


def security(env: dict[str, str]) -> Security:
    settings = load({}, env)
    return Security(
        settings.allowed_hosts,
        settings.cors_allowed_origins,
        settings.x_frame_options,
        disabled=settings.disable_security_middleware,
    )


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[http.client.HTTPConnection, Security]]:
    env = CONFIGURATIONS[request.param]
    directory: Path = tmp_path_factory.mktemp("stock")
    with stock(f"sqlite:///{directory}/mlflow.db", directory, environment=env) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        yield connection, security(env)
        connection.close()


def ask_stock(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]
) -> tuple[int, bytes, str, dict[str, str]]:
    connection.putrequest(method, path, skip_host=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    found = {k.lower(): v for k, v in answer.getheaders() if k.lower() in COMPARED}
    # A route of stock's inner application sends it twice.
    if found.get("vary") == "Origin, Origin":
        found["vary"] = "Origin"
    # Without an Origin that inner application names one of the listed origins, its outer layer and
    # its native routes none: no browser asks, so headrace follows the outer layer everywhere.
    if "origin" not in headers:
        found.pop("access-control-allow-origin", None)
        found.pop("access-control-allow-credentials", None)
    return answer.status, body, answer.getheader("content-type", ""), found


def check(
    pair: tuple[http.client.HTTPConnection, Security],
    method: str,
    path: str,
    headers: dict[str, str],
) -> None:
    connection, ours = pair
    status, body, kind, found = ask_stock(connection, method, path, headers)
    refused = ours.refuse(method, path, headers)
    if refused is not None:
        mine = dict(refused.headers)
        assert mine.pop("content-type") == kind
        assert (refused.status, refused.body, mine) == (status, body, found)
        return
    is_refusal = status in (403, 400) and body.startswith(REFUSALS)
    assert not is_refusal, (method, path, headers, body)
    assert dict(ours.response_headers(path, headers.get("origin"))) == found


Pair = tuple[http.client.HTTPConnection, Security]
# Stock compares text, so a name can match an address pattern, and `LOCALHOST` matches nothing.
NAMES_LIKE_ADDRESSES = ["10.evil.com", "192.168.evil.com:80", "172.16.evil.com", "fc00:1"]
OTHER_SPELLINGS = ["LOCALHOST", "localhost.", "[fd00::1]:5000", "[0:0:0:0:0:0:0:1]"]


@pytest.mark.parametrize("host", sorted({*HOSTS} - {*NAMES_LIKE_ADDRESSES, *OTHER_SPELLINGS}))
def test_a_host_is_allowed_exactly_where_stock_allows_it(pair: Pair, host: str) -> None:
    for path in PATHS:
        check(pair, "GET", path, {"host": host})
        check(pair, "GET", path, {"host": host})  # the second time it is cached


@pytest.mark.parametrize("host", NAMES_LIKE_ADDRESSES)
def test_a_name_that_begins_like_a_private_address_is_refused(host: str) -> None:
    refusal = Security().refuse("GET", "/", {"host": host})
    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize("host", OTHER_SPELLINGS)
def test_a_host_of_this_machine_is_allowed_however_it_is_spelled(host: str) -> None:
    assert Security().refuse("GET", "/", {"host": host}) is None


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_may_do_exactly_what_stock_lets_it_do(pair: Pair, origin: str) -> None:
    host = {"host": "tracking.example.com" if pair[1].refuse("GET", "/", {"host": "a"}) else "a"}
    host = {"host": "localhost"} if pair[1].refuse("GET", "/", host) else host
    for path, method in product(PATHS[::2], ["GET", "POST", "PATCH", "DELETE", "OPTIONS"]):
        check(pair, method, path, {**host, "origin": origin, "content-length": "0"})


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("wanted", ["GET", "PATCH", "TRACE", "HEAD", ""])
def test_a_preflight_is_answered_as_stock_answers_it(pair: Pair, origin: str, wanted: str) -> None:
    asks = {"host": "localhost", "origin": origin, "access-control-request-method": wanted}
    more = {"access-control-request-headers": "content-type, x-mlflow-workspace"}
    for host, path in product(["tracking.example.com", "evil.com", "localhost"], PATHS[:2]):
        check(pair, "OPTIONS", path, {**asks, "host": host})
        check(pair, "OPTIONS", path, {**asks, **more, "host": host})
        private = {"access-control-request-private-network": "true"}
        check(pair, "OPTIONS", path, {**asks, **private, "host": host})


def test_the_notebook_renderer_may_be_framed(pair: Pair) -> None:
    for host in ("localhost", "tracking.example.com"):
        check(pair, "GET", RENDERER, {"host": host})


def test_a_page_whose_name_begins_like_an_allowed_address_changes_nothing() -> None:
    ours = Security(cors_allowed_origins="http://10.*")

    def refused(origin: str) -> bool:
        headers = {"host": "localhost", "origin": origin}
        return ours.refuse("POST", "/api/2.0/mlflow/runs/create", headers) is not None

    assert not refused("http://10.0.0.7:3000")
    assert refused("http://10.evil.com")
    assert refused("https://10.0.0.7")


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://behind.example.com"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"origin": "http://evil.com"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://tracking.example.com"}, False),
        ({"origin": "http://localhost:3000", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "https://page.example.com", "sec-fetch-site": "cross-site"}, False),
    ],
)
def test_a_request_that_a_page_of_another_origin_makes_is_recognised(
    headers: dict[str, str], foreign: bool
) -> None:
    ours = Security(cors_allowed_origins="https://page.example.com")
    assert ours.is_foreign({"host": "tracking.example.com", **headers}) is foreign


def test_an_empty_origin_is_no_origin() -> None:
    headers = {"host": "localhost", "origin": ""}
    assert Security().refuse("POST", "/api/2.0/mlflow/runs/create", headers) is None


def test_the_cache_of_allowed_hosts_is_bounded() -> None:
    ours = Security()
    for number in range(3 * MAX_KNOWN_HOSTS):
        assert ours.refuse("GET", "/", {"host": f"localhost:{number}"}) is None
    assert len(ours._known_hosts) <= MAX_KNOWN_HOSTS
    assert ours.refuse("GET", "/", {"host": "evil.com"}) is not None


def test_a_server_obeys_its_settings(tmp_path: Path) -> None:
    options = ["--allowed-hosts", "tracking.example.com,*.team.example.org"]
    options += ["--cors-allowed-origins", "https://page.example.com"]
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with headrace(uri, tmp_path, *options) as server, Wire(server.url) as wire:
        path = "/api/2.0/mlflow/experiments/search?max_results=1"

        def status(method: str = "GET", body: bytes | None = None, **headers: str) -> int:
            return wire.ask(method, path, body, headers).status

        assert status(Host="tracking.example.com") == 200
        assert status(Host="a.team.example.org") == 200
        assert status(Host="localhost") == 403
        assert status(Host="evil.com") == 403
        known = {"Host": "tracking.example.com", "Content-Type": "application/json"}
        assert status("POST", b"{}", Origin="https://evil.com", **known) == 403
        allowed = wire.ask("GET", path, headers={"Origin": "https://page.example.com", **known})
        assert allowed.headers["access-control-allow-origin"] == "https://page.example.com"
