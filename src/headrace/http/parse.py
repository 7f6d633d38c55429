"""Turns the bytes of a connection into requests: llhttp parses, this module decides how far it may read.

The parser never gets a byte after the request that it reads. In a head or a chunked body it gets
the bytes up to the next blank line, in a body of known length the remaining bytes. Only llhttp
decides where a message ends.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httptools

from headrace.auth.authority import Repeated
from headrace.contract.errors import ApiError
from headrace.http.messages import Request

MAX_HEAD_BYTES: Final = 64 << 10  # request line and headers together
BLANK_LINE: Final = b"\r\n\r\n"
MAX_HOST_LENGTH: Final = 300
MAX_KNOWN: Final = 1000  # cached names and hosts; clients choose them
LONGEST_KNOWN_NAME: Final = 50
_HOST: Final = re.compile(r"(?:[\w.~!$&'()*+,;=%-]*|\[[\w.:%-]+\])(?::\d*)?", re.ASCII)
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)
_names: dict[bytes, str] = {}  # header names as received, with their lower-case form
_hosts: set[str] = set()  # well-formed hosts


class RejectedRequest(Exception):
    """The request is rejected with this status, and its connection cannot be used any further."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Sink(Protocol):
    """Receives a request as it is parsed. `Parser.feed` passes on RejectedRequest and ApiError that it raises."""

    def begin(self, request: Request) -> None:
        """Receive the head."""

    def take(self, chunk: bytes) -> None:
        """Receive a piece of the body."""

    def end(self) -> None:
        """The request is complete."""


def check_host(value: str | None) -> None:
    """Raise RejectedRequest unless a Host header has the form that RFC 9112 §3.2 requires."""
    if value in _hosts:
        return
    if value is None:
        raise RejectedRequest(400, "The request has no Host header.")
    if len(value) > MAX_HOST_LENGTH or _HOST.fullmatch(value) is None:
        raise RejectedRequest(400, "The Host header is malformed.")
    if len(_hosts) < MAX_KNOWN:
        _hosts.add(value)


def lower(name: bytes) -> str:
    """A header's name in lower case. Names are cached, since clients send the same ones in every request."""
    known = _names.get(name)
    if known is None:
        known = name.decode("latin-1").lower()
        if len(_names) < MAX_KNOWN and len(name) <= LONGEST_KNOWN_NAME:
            _names[name] = known
    return known


def add_header(headers: dict[str, str], name: str, value: str) -> None:
    """Add a header with a lower-case name; of further values only their existence is kept.

    Raises RejectedRequest for a second Host.
    """
    if name not in headers:
        headers[name] = value
    elif name == "host":
        raise RejectedRequest(400, "The request has more than one Host header.")
    else:
        headers[name] = Repeated(headers[name])


class Parser:
    """Parses the requests of one connection, one at a time.

    The attributes describe the request that was read last, until `restart`.
    """

    __slots__ = (
        "_declines_upgrade",
        "_head_bytes",
        "_headers",
        "_in_head",
        "_left",
        "_llhttp",
        "_sink",
        "_tail",
        "_url",
        "client",
        "complete",
        "expects_continue",
        "is_http_1_0",
        "keep_alive",
        "length",
    )

    def __init__(self, sink: Sink, client: str = "") -> None:
        self.client = client
        self._sink: Any = sink
        self._llhttp: Any = httptools.HttpRequestParser(self)
        self._declines_upgrade = False
        self.restart()

    def restart(self) -> None:
        """Prepare for the next request."""
        if self._declines_upgrade:
            self._llhttp = httptools.HttpRequestParser(self)
            self._declines_upgrade = False
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._in_head = True
        self._tail = b""  # the last bytes read, while they may be the beginning of a blank line
        self._left = 0  # unread bytes of a body of known length
        self.complete = False
        self.keep_alive = True
        self.is_http_1_0 = False
        self.expects_continue = False
        self.length: int | None = 0  # of the body; None: chunked

    def close(self) -> None:
        """Break the reference cycles, so that memory is freed now and not at the next garbage collection."""
        self._llhttp = self._sink = None

    def feed(self, data: bytes, at: int = 0) -> int:
        """Read a request from `data[at:]`; returns where the rest begins. Raises RejectedRequest, ApiError."""
        size = len(data)
        while at < size and not self.complete:
            if self._in_head:
                end = self._behind_blank_line(data, at)
                self._head_bytes += end - at
                if self._head_bytes > MAX_HEAD_BYTES:
                    raise self._too_large(data[at:end])
            elif self.length is None:
                end = self._behind_blank_line(data, at)
            else:
                end = min(size, at + self._left)
                self._left -= end - at
            try:
                self._llhttp.feed_data(data if end - at == size else data[at:end])
            except httptools.HttpParserUpgrade:
                self._go_on_without_upgrade()
            except httptools.HttpParserError as error:
                if (reason := _reason(error)) is None:
                    raise
                raise reason from None
            at = end
        return at

    def _behind_blank_line(self, data: bytes, at: int) -> int:
        """The end of the first blank line, or of the data."""
        tail = self._tail
        if tail:
            found = (tail + data[at : at + 3]).find(BLANK_LINE)
            if found >= 0:
                self._tail = b""
                return at + found + len(BLANK_LINE) - len(tail)
        found = data.find(BLANK_LINE, at)
        if found >= 0:
            self._tail = b""
            return found + len(BLANK_LINE)
        self._tail = (tail + data[max(at, len(data) - 3) :])[-3:]
        return len(data)

    def _too_large(self, data: bytes) -> RejectedRequest:
        if not self._headers and b"\r\n" not in data:
            return RejectedRequest(414, "The request target is too long.")
        return RejectedRequest(431, "The request headers are too large.")

    def _go_on_without_upgrade(self) -> None:
        """Ignore the offer of another protocol in a request (RFC 9110 §7.8).

        llhttp treats the bytes after the head as the other protocol, so a new parser reads the
        body.
        """
        if self.length == 0:
            self.complete = True
            self._sink.end()
            return
        self._llhttp = httptools.HttpRequestParser(_BodyOnly(self))
        framing = (
            "transfer-encoding: chunked"
            if self.length is None
            else f"content-length: {self.length}"
        )
        self._llhttp.feed_data(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n".encode())

    # callbacks of httptools

    def on_message_begin(self) -> None:
        if self.complete:
            raise RejectedRequest(
                400, "Malformed HTTP request: the end of the request is ambiguous."
            )

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are not headers
            lowered = _names.get(name) or lower(name)
            if lowered in self._headers:
                add_header(self._headers, lowered, "")
            else:
                self._headers[lowered] = value.decode("latin-1")
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise RejectedRequest(431, "The trailers are too large.")

    def on_headers_complete(self) -> None:
        self._in_head = False
        llhttp, headers = self._llhttp, self._headers
        method = llhttp.get_method().decode("latin-1")
        version = llhttp.get_http_version()
        if version == "1.1":
            check_host(headers.get("host"))
        elif version == "1.0":
            self.is_http_1_0 = True
            check_host(headers.get("host", ""))
        else:
            raise RejectedRequest(505, "This server supports HTTP/1.1 only.")
        self.keep_alive = llhttp.should_keep_alive()
        if llhttp.should_upgrade():
            if method == "CONNECT":
                raise RejectedRequest(400, "This server is not a proxy.")
            self._declines_upgrade = True
        announced = headers.get("content-length")
        if announced is not None:
            self.length = self._left = int(announced)
        elif "transfer-encoding" in headers:
            self.length = None
        if self.length != 0:
            expected = headers.get("expect")
            if expected is not None and not self.is_http_1_0:
                self.expects_continue = expected.lower() == "100-continue"
        target = self._url.decode("latin-1")
        if target[0] != "/":
            target = self._origin_form(target)
        path, _, query = target.partition("?")
        if "%" in path:
            path = unquote(path)
        self._sink.begin(Request(method, path, query, headers, target=target, client=self.client))

    def _origin_form(self, target: str) -> str:
        """The path and query of an absolute target; its authority counts as Host (RFC 9112 §3.2.2)."""
        if target == "*":
            return target
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise RejectedRequest(400, "The request target is malformed.")
        host, rest = absolute.groups()
        check_host(host)
        self._headers["host"] = host
        return str(rest) if rest.startswith("/") else "/" + str(rest)

    def on_body(self, chunk: bytes) -> None:
        self._sink.take(chunk)

    def on_message_complete(self) -> None:
        if self._declines_upgrade:
            return  # llhttp did not read the body
        self.complete = True
        self._sink.end()

    def on_whole_body(self) -> None:
        """Handle the end of the body of a request that offered an upgrade."""
        self.complete = True
        self._sink.end()


def _reason(error: httptools.HttpParserError) -> RejectedRequest | ApiError | None:
    """The reason why httptools stopped: an exception of a callback, or malformed HTTP. None: a callback failed."""
    if isinstance(error, httptools.HttpParserCallbackError):
        raised = error.__context__
        return raised if isinstance(raised, (RejectedRequest, ApiError)) else None
    return RejectedRequest(400, f"Malformed HTTP request: {error}")


class _BodyOnly:
    """Passes on the body of a request whose head another parser has read."""

    def __init__(self, parser: Parser) -> None:
        self.on_body = parser.on_body
        self.on_message_complete = parser.on_whole_body
