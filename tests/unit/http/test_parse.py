"""The request parser: which requests it refuses, and that it never reads beyond a request."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract.errors import ApiError
from headrace.http.parse import MAX_HEAD_BYTES, Parser, RejectedRequest

if TYPE_CHECKING:
    from headrace.http.messages import Request


class Seen:
    """Records the events of a parser."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.body = b""
        self.ended = 0

    def begin(self, request: Request) -> None:
        """See `Sink`."""
        self.requests.append(request)

    def take(self, chunk: bytes) -> None:
        """See `Sink`."""
        self.body += chunk

    def end(self) -> None:
        """See `Sink`."""
        self.ended += 1


FRAGMENTS = st.sampled_from(
    [
        *(b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"GET /\r\n"),
        *(b"CONNECT a:1 HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n", b"GET http://h/x HTTP/1.1\r\n"),
        *(b"Host: a\r\n", b"Host: a b\r\n", b"host:\r\n", b"Content-Length: 3\r\n"),
        *(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
        *(b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n"),
        *(b"X: y\r\n z\r\n", b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nHost: b\r\n\r\n"),
        *(b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\0", b"\xff", b" ", b":", b"zz\r\n"),
    ]
)


@given(st.lists(FRAGMENTS, max_size=25), st.lists(st.integers(0, 200), max_size=6))
def test_whatever_comes_at_most_one_request_is_read(parts: list[bytes], cuts: list[int]) -> None:
    """And a request that cannot be parsed is refused with a status."""
    data = b"".join(parts)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    seen = Seen()
    parser = Parser(seen)
    for start, end in itertools.pairwise(places):
        try:
            read = parser.feed(data[start:end])
        except RejectedRequest as refused:
            assert refused.status in (400, 505)
            return
        assert len(seen.requests) <= 1
        assert seen.ended == parser.complete
        if parser.complete:
            assert parser.feed(data, start + read) == start + read
            return
        assert read == end - start


def parsed(head: bytes) -> Request:
    """The request with that head, which has no body."""
    seen = Seen()
    Parser(seen).feed(head)
    assert seen.ended == 1
    return seen.requests[0]


@pytest.mark.parametrize(
    ("target", "host", "path", "sent_on"),
    [
        ("/a%20b?c=%20", "h", "/a b", "/a%20b?c=%20"),
        ("http://other:8080/a?b", "other:8080", "/a", "/a?b"),
        ("HTTPS://[::1]/a", "[::1]", "/a", "/a"),
        ("http://other", "other", "/", "/"),
        ("http://other?b", "other", "/", "/?b"),
        ("*", "h", "*", "*"),
    ],
)
def test_a_target_names_a_path_and_perhaps_a_host(
    target: str, host: str, path: str, sent_on: str
) -> None:
    request = parsed(f"OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert (request.headers["host"], request.path, request.target) == (host, path, sent_on)


@pytest.mark.parametrize(
    "host", ["a", "a.b:80", "my_service:5000", "127.0.0.1", "[::1]:80", "[fe80::1%25eth0]", ""]
)
def test_a_host_may_have_any_form_that_there_is(host: str) -> None:
    assert parsed(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).headers["host"] == host


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: " + b"a" * 1000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400),
        (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /" + b"a" * MAX_HEAD_BYTES, 414),
        (b"GET / HTTP/1.1\r\na: " + b"a" * MAX_HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * MAX_HEAD_BYTES, 431),
    ],
)
def test_a_wrong_head_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(RejectedRequest) as refused:
        Parser(Seen()).feed(head)
    assert refused.value.status == status


def test_trailers_are_not_headers() -> None:
    seen = Seen()
    sent = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    assert Parser(seen).feed(sent + b"Host: b\r\nContent-Type: x\r\n\r\n")
    assert seen.requests[0].headers == {"host": "a", "transfer-encoding": "chunked"}
    assert (seen.body, seen.ended) == (b"{}", 1)


def test_endless_trailers_are_refused() -> None:
    sent = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    with pytest.raises(RejectedRequest):
        Parser(Seen()).feed(sent + b"a: b\r\n" * MAX_HEAD_BYTES)


def test_an_error_of_the_sink_is_raised_by_the_parser() -> None:
    class Full(Seen):
        def begin(self, request: Request) -> None:
            raise error

    for error in (RejectedRequest(413, "too large"), ApiError.__new__(ApiError)):
        with pytest.raises(type(error)) as raised:
            Parser(Full()).feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raised.value is error
