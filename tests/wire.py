"""A minimal HTTP/1.1 client for tests: it sends any bytes, returns the answer's bytes, and repairs nothing."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 60


@dataclass(frozen=True)
class Answer:
    """An answer. `headers` has lower-case names; a repeated header keeps its last value.

    `lines` has every header line.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    lines: tuple[tuple[str, str], ...] = ()

    @property
    def is_json(self) -> bool:
        """Whether the content type is JSON."""
        return self.headers.get("content-type", "").split(";")[0].strip() == "application/json"

    def json(self) -> Any:
        """The decoded body (bare NaN and Infinity allowed, as MLflow sends them in one place)."""
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {self.body[:2000].decode(errors='replace')}"


class Wire:
    """One keep-alive connection to one server. Not safe to share between threads."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname and parts.port, f"need a host and a port: {url}"
        self.url = url
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request exactly as given (plus Host and Content-Length) and read the answer."""
        sent = dict(headers or {})
        if body is None and method in ("POST", "PUT", "PATCH"):
            body = b""
        try:
            return self._exchange(method, target, body, sent)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            # The server closed an idle keep-alive connection, or refused the rest of a large body.
            self._connection.close()
            return self._exchange(method, target, body, sent)

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        has_host = any(name.lower() == "host" for name in headers)
        self._connection.putrequest(method, target, skip_host=has_host, skip_accept_encoding=True)
        for name, value in headers.items():
            self._connection.putheader(name, value)
        if body is not None:
            self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
            tuple((name.lower(), value) for name, value in response.getheaders()),
        )

    def close(self) -> None:
        """Drop the connection."""
        self._connection.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
