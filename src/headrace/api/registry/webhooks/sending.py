"""Sends one POST to a webhook. The calls block, so they run in worker threads."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urljoin

from headrace.api.registry.webhooks.address import PORTS, Rules, Target, target
from headrace.version import __version__

MAX_ANSWER_BYTES: Final = 64 << 10  # of an answer's body; the rest is not read
MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({307, 308})  # those that keep the method and the body
_SAFE: Final = "/%:=&?~#+!$,;'@()*[]"  # characters of a URL that stay as they are


class Answer(NamedTuple):
    """The receiver's answer; `body` is the beginning of its body."""

    status: int
    body: str
    retry_after_s: float | None


class Connection(HTTPConnection):
    """A connection that uses only the checked addresses of a `Target`."""

    def __init__(self, there: Target, timeout_s: float) -> None:
        super().__init__(_ascii(there.host), there.port, timeout=timeout_s)
        self._addresses = there.addresses
        self._tls = there.parts.scheme == "https"
        self._timeout_s = timeout_s
        self.default_port = PORTS.get(there.parts.scheme, 443)  # which the Host header omits

    def connect(self) -> None:
        """Open the socket."""
        sock = _open(self._addresses or [self.host], self.port, self._timeout_s)
        self.sock = _tls().wrap_socket(sock, server_hostname=self.host) if self._tls else sock


def post(
    url: str, body: bytes, headers: Mapping[str, str], rules: Rules, timeout_s: float
) -> Answer:
    """Send a body, and follow redirects that keep it.

    Raises ApiError (an address that is not allowed) and OSError (no answer).
    """
    for _ in range(MAX_REDIRECTS):
        there = target(url, rules)
        try:
            answer, onwards = _post_once(there, body, headers, timeout_s)
        except HTTPException as error:
            raise OSError(f"no HTTP: {error!r}") from error
        if onwards is None:
            return answer
        url = urljoin(url, onwards)
    return answer


def _post_once(
    there: Target, body: bytes, headers: Mapping[str, str], timeout_s: float
) -> tuple[Answer, str | None]:
    connection = Connection(there, timeout_s)
    try:
        path = quote(there.parts.path or "/", safe=_SAFE)
        query = quote(there.parts.query, safe=_SAFE)
        own = {"User-Agent": f"headrace/{__version__}", "Accept": "*/*", **_credentials(there)}
        connection.request("POST", path + (f"?{query}" if query else ""), body, {**own, **headers})
        response = connection.getresponse()
        retry_after_s = _seconds(response.getheader("Retry-After"))
        text = _beginning(response, timeout_s)
        answer = Answer(response.status, text.decode(errors="replace"), retry_after_s)
        onwards = response.getheader("Location") if response.status in REDIRECTS else None
        return answer, onwards
    finally:
        connection.close()


def _beginning(response: HTTPResponse, timeout_s: float) -> bytes:
    """The first `MAX_ANSWER_BYTES` of a body, or fewer if the time is up before."""
    until = time.monotonic() + timeout_s
    found = b""
    while len(found) < MAX_ANSWER_BYTES and time.monotonic() < until:
        more = response.read1(MAX_ANSWER_BYTES - len(found))
        if not more:
            break
        found += more
    return found


def _open(addresses: Sequence[str], port: int, timeout_s: float) -> socket.socket:
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout_s)
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _ascii(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode()


def _credentials(there: Target) -> dict[str, str]:
    user, password = there.parts.username, there.parts.password
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header (a number or a date) as seconds from now."""
    if not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
