"""One connection, event by event: the bytes written, their order, and the end of the connection."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.http.transport import (
    SEARCH,
    STREAM,
    WRITE,
    Client,
    ScriptedApp,
    bodies,
    chunked,
    get,
    post,
)

from headrace.http import output
from headrace.http.limits import STREAM_BYTES, Limits
from headrace.http.messages import Request, Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
# Requests and the bodies of their answers.
REQUESTS = (
    (get("/plain?a=b"), b"GET /plain?a=b "),
    (post(WRITE, b"{}"), b"POST /write {}"),
    (post(WRITE, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), b"POST /write \r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    (chunked(WRITE, b"one\r\n\r\n", b"0\r\n\r\n"), b"POST /write one\r\n\r\n0\r\n\r\n"),
    (chunked(STREAM, b"a", b"bc", trailers="Host: evil\r\nX: y\r\n"), b"POST /stream abc"),
    (post(STREAM, b"streamed"), b"POST /stream streamed"),
    (get("/h2c", *H2C), b"GET /h2c "),
    (post(WRITE, b"upgrade", *H2C), b"POST /write upgrade"),
    (
        chunked(WRITE, b"up").replace(b"Host", "\r\n".join([*H2C, "Host"]).encode(), 1),
        b"POST /write up",
    ),
    (b"GET http://other:80/absolute?x HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /absolute?x "),
    (b"\r\n" + get("/after-an-empty-line"), b"GET /after-an-empty-line "),
)
ALL = b"".join(sent for sent, _ in REQUESTS)
ANSWERS = [answer for _, answer in REQUESTS]


@pytest.fixture(autouse=True)
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scripted transport has no socket for the kernel's counters."""
    monkeypatch.setattr(output, "unacknowledged_bytes", lambda transport: 0)


@pytest.mark.parametrize(("sent", "answer"), REQUESTS, ids=range(len(REQUESTS)))
async def test_a_request_may_be_torn_anywhere(sent: bytes, answer: bytes) -> None:
    client = Client()
    for at in range(len(sent) + 1):
        client.connection.data_received(sent[:at]) if at else None
        written = await client.send(sent[at:]) if at < len(sent) else await client.settle()
        assert bodies(written) == [answer], at
    for byte in sent:
        client.connection.data_received(bytes([byte]))
    assert bodies(await client.settle()) == [answer]
    assert client.app.budget.held == 0


async def test_pipelined_requests_may_be_torn_anywhere() -> None:
    for at in range(len(ALL)):
        client = Client()
        written = await client.send(ALL[:at]) if at else b""
        written += await client.send(ALL[at:])
        while len(more := await client.settle()):
            written += more
        assert bodies(written) == ANSWERS, at
        assert client.app.budget.held == 0


def pieces(cuts: set[int]) -> Iterator[bytes]:
    """All the requests, cut at these places."""
    places = sorted({0, *cuts, len(ALL)})
    for start, end in pairwise(places):
        yield ALL[start:end]


@given(st.sets(st.integers(0, len(ALL)), max_size=40))
def test_pipelined_requests_may_come_in_any_pieces(cuts: set[int]) -> None:
    async def deliver() -> bytes:
        client = Client()
        written = b""
        for piece in pieces(cuts):
            written += await client.send(piece)
        while len(more := await client.settle()):
            written += more
        return written

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(output, "unacknowledged_bytes", lambda transport: 0)
        assert bodies(asyncio.run(deliver())) == ANSWERS


class Gate:
    """A handler that waits until the test opens it."""

    def __init__(self, response: Response | None = None) -> None:
        self.opened = asyncio.Event()
        self.cancelled = False
        self.response = response or Response(b"first")

    async def answer(self, request: Request) -> Response:
        """Wait for the test."""
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self.response


async def gated(path: str = WRITE) -> tuple[Client, Gate]:
    """A client whose first request, to that path, is being answered."""
    client, gate = Client(), Gate()
    client.app.answers[path] = gate.answer
    assert await client.send(post(path, b"{}")) == b""
    return client, gate


FOLLOWERS = {
    "garbage": b"\x00garbage\r\n\r\n",
    "too large": post("/search").replace(b"Length: 0", b"Length: 99999999999"),
    "asks for permission": post("/search", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 9"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "endless": b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("follower", FOLLOWERS.values(), ids=FOLLOWERS)
async def test_nothing_is_written_for_a_follower_before_the_answer(follower: bytes) -> None:
    client, gate = await gated()
    assert await client.send(follower) == b""
    assert not client.transport.reading
    assert client.app.seen == ["POST /write"]
    gate.opened.set()
    written = await client.settle()
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    first, _, behind = written.partition(b"\r\n\r\nfirst")
    assert b"content-length: 5" in first
    assert behind.startswith((b"HTTP/1.1 4", b"HTTP/1.1 100 Continue"))


async def test_a_follower_is_neither_parsed_nor_routed_before_its_turn() -> None:
    client, gate = await gated()
    await client.send(get("/a") + get("/b"))
    assert client.app.seen == ["POST /write"]
    assert client.app.budget.held > 0  # its bytes count towards the budget
    gate.opened.set()
    assert bodies(await client.settle()) == [b"first", b"GET /a ", b"GET /b "]
    assert client.transport.reading
    assert client.app.budget.held == 0


@pytest.mark.parametrize("follower", [b"", b"garbage", get("/lost"), b"x" * 100_000])
async def test_after_connection_close_what_follows_is_ignored(follower: bytes) -> None:
    client = Client()
    written = await client.send(get("/last", "Connection: close") + follower)
    assert bodies(written) == [b"GET /last "]
    assert b"connection: close" in written
    assert client.app.seen == ["GET /last"]
    assert client.transport.ended == ("eof" if follower else "closed")
    assert await client.send(get("/later")) == b""


async def test_permission_to_send_is_given_once_and_before_the_answer() -> None:
    client = Client()
    for path in (WRITE, STREAM):
        sent = post(path, b"body", "Expect: 100-continue")
        assert await client.send(sent[:-4]) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert bodies(await client.send(sent[-4:])) == [f"POST {path} body".encode()]


async def test_permission_is_never_given_inside_an_answer() -> None:
    """The answer begins before the body of its request is read."""

    async def echo(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"head,"
            async for chunk in request.stream():
                yield chunk

        return StreamingResponse(chunks(), length=9)

    client = Client()
    client.app.answers[STREAM] = echo
    sent = post(STREAM, b"body", "Expect: 100-continue")
    written = await client.send(sent[:-4])
    assert b"100 Continue" not in written
    assert b"connection: close" in written  # the body may never come
    assert written.endswith(b"\r\n\r\nhead,")


async def test_permission_is_not_asked_for_under_http_1_0() -> None:
    client = Client()
    sent = post(WRITE, b"{}", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert await client.send(sent[:-2]) == b""
    assert (await client.send(sent[-2:])).startswith(b"HTTP/1.1 200 OK")


BAD_HEADERS = [
    ("x-name", "\u20ac"),
    ("x-name", "a\r\nset-cookie: b"),
    ("x-name", "a\nb"),
    ("x-name", "a\rb"),
    ("x-name", "a\0b"),
    ("x name", "a"),
    ("x-name:", "a"),
    ("x-name\r\nx", "a"),
    ("", "a"),
]


@pytest.mark.parametrize("header", BAD_HEADERS)
async def test_a_header_that_would_split_an_answer_ends_the_connection(
    header: tuple[str, str],
) -> None:
    client = Client()

    async def bad(request: Request) -> Response:
        return Response(b"x", headers=[header])

    client.app.answers[WRITE] = bad
    assert await client.send(post(WRITE, b"{}")) == b""
    assert client.transport.ended == "aborted"
    assert client.server.in_flight == 0
    assert len(client.app.failures) == 1


async def test_an_answer_that_breaks_off_ends_the_connection() -> None:
    async def broken(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"one"
            raise ValueError("no more")

        return StreamingResponse(chunks())

    client = Client()
    client.app.answers[WRITE] = broken
    written = await client.send(post(WRITE, b"{}") + get("/next"))
    assert written.endswith(b"3\r\none\r\n")
    assert client.transport.ended == "aborted"
    assert client.app.seen == ["POST /write"]


async def test_http_1_0_gets_a_stream_until_the_end_of_the_connection() -> None:
    async def stream(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"one,"
            yield b"two"

        return StreamingResponse(chunks())

    client = Client()
    client.app.answers[WRITE] = stream
    asked = post(WRITE, b"{}", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    written = await client.send(asked)
    assert b"transfer-encoding" not in written
    assert b"content-length" not in written
    assert written.endswith(b"connection: close\r\n\r\none,two")
    assert client.transport.ended == "closed"


@pytest.mark.parametrize(("path", "cancelled"), [(SEARCH, True), (WRITE, False)])
async def test_a_read_is_cancelled_when_its_client_leaves_a_write_is_not(
    path: str, cancelled: bool
) -> None:
    client, gate = await gated(path)
    await client.leave()
    assert gate.cancelled is cancelled
    gate.opened.set()
    await client.settle()
    assert client.server.in_flight == client.server.gathered == 0
    assert client.app.budget.held == 0


@pytest.mark.parametrize("path", [WRITE, STREAM])
async def test_a_body_that_stops_being_http_is_answered_400(path: str) -> None:
    client = Client()
    written = await client.send(chunked(path, b"one")[:-5] + b"zz\r\n" + get("/behind"))
    assert written.startswith(b"HTTP/1.1 400 ")
    assert b"Malformed HTTP request" in written
    assert b"connection: close" in written
    assert client.transport.ended == "eof"  # it may still be sending
    assert await client.send(b"more") == b""


async def test_beyond_the_budget_long_bodies_are_refused_and_then_small_ones() -> None:
    app = ScriptedApp(800_000)
    first = Client(app)
    await first.send(post(WRITE, b"x" * 700_000)[:-1])
    for path in (WRITE, STREAM):
        refused = await Client(app).send(post(path, b"y" * 100_000))
        assert b"Too many long requests" in refused
        assert b"retry-after: " in refused
    small = Client(app)
    assert bodies(await small.send(post(WRITE, b"z"))) == [b"POST /write z"]
    app.budget.held += 800_000
    for sent in (post(WRITE, b"z"), post(STREAM, b"z"), b"GET / HTTP/1.1\r\nx-torn: "):
        assert b"Too many long requests" in await Client(app).send(sent)
    app.budget.held -= 800_000
    await first.leave()
    assert app.budget.held == 0


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_a_body_in_tiny_chunks_holds_no_more_than_its_bytes(size: int) -> None:
    client, gate = await gated(STREAM)
    gate.opened.set()
    await client.settle()
    total = 60_000
    sent = chunked(WRITE, *[b"x" * size] * (total // size))
    client.app.answers[WRITE] = Gate().answer
    await client.send(sent)
    assert client.app.budget.held == total // size * size


async def test_unsent_bytes_count_until_the_client_reads_them() -> None:
    client = Client()

    async def large(request: Request) -> Response:
        client.transport.unsent = 1 << 20
        client.connection.pause_writing()
        return Response(b"x")

    client.app.answers[SEARCH] = large
    await client.send(post(SEARCH, b"{}"))
    assert client.app.budget.held == (1 << 20) + len(b"{}")
    client.connection.resume_writing()
    await client.settle()
    assert client.app.budget.held == 0


@pytest.mark.parametrize(("path", "status"), [(SEARCH, b"429"), (WRITE, b"200")])
async def test_without_room_a_long_answer_becomes_a_refusal_unless_something_was_written(
    path: str, status: bytes
) -> None:
    client = Client(ScriptedApp(1 << 20))

    async def large(request: Request) -> Response:
        client.app.budget.held += 1 << 20
        return Response(b"x" * 100_000)

    client.app.answers[path] = large
    assert (await client.send(post(path, b"{}"))).startswith(b"HTTP/1.1 " + status)


async def test_the_requests_in_flight_are_bounded_and_streams_are_not_counted() -> None:
    app = ScriptedApp()
    gate = Gate()
    app.answers[WRITE] = gate.answer
    first = Client(app, Limits(in_flight=1))
    second = Client(app)
    second.connection.server = second.server = first.server
    await first.send(post(WRITE, b"{}"))
    assert bodies(await second.send(post(WRITE, b"{}"))) == [b"busy"]
    assert bodies(await second.send(post(STREAM, b"{}"))) == [b"POST /stream {}"]
    gate.opened.set()
    assert bodies(await first.settle()) == [b"first"]
    assert bodies(await second.send(post(WRITE, b"{}"))) == [b"first"]


async def test_streamed_answers_are_counted_before_they_have_anything_to_send() -> None:
    app = ScriptedApp(4 * STREAM_BYTES)
    begun: list[Request] = []

    async def stream(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            begun.append(request)
            await asyncio.Event().wait()
            yield b"never"

        return StreamingResponse(chunks())

    app.answers["/get"] = stream
    clients = [Client(app) for _ in range(5)]
    answers = [(await client.send(get("/get")))[9:12] for client in clients]
    assert answers == [b"200"] * 3 + [b"429"] * 2
    assert len(begun) == 3
    for client in clients:
        assert client.connection._task is None or client.connection._task.cancel()
        await client.leave()
    assert app.budget.held == 0
