"""The application under an ASGI server: the same checks, as far as ASGI allows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.http.transport import STREAM, ScriptedApp

from headrace.http.asgi import Application
from headrace.http.head import InvalidHeader
from headrace.http.messages import Request, Response

if TYPE_CHECKING:
    from headrace.http.app import App

HOST = (b"host", b"a")


async def ask(
    app: ScriptedApp, *headers: tuple[bytes, bytes], body: bytes = b"", version: str = "1.1"
) -> list[dict[str, Any]]:
    """The messages of the answer to a POST."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "http_version": version,
        "method": "POST",
        "path": STREAM,
        "query_string": b"",
        "headers": list(headers),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await Application(cast("App", app))(scope, receive, send)
    return sent


async def test_a_request_is_answered_and_its_body_given_back() -> None:
    app = ScriptedApp()
    start, end = await ask(app, HOST, body=b"body")
    assert (start["status"], end["body"]) == (200, b"POST /stream body")
    assert app.budget.held == 0


@pytest.mark.parametrize("headers", [(), (HOST, HOST), ((b"host", b"a b"),)])
async def test_exactly_one_well_formed_host_is_demanded(
    headers: tuple[tuple[bytes, bytes], ...],
) -> None:
    app = ScriptedApp()
    start, _ = await ask(app, *headers)
    assert start["status"] == 400
    assert not app.seen


async def test_http_1_0_needs_no_host() -> None:
    start, _ = await ask(ScriptedApp(), version="1.0")
    assert start["status"] == 200


async def test_bodies_count_towards_the_budget() -> None:
    app = ScriptedApp(100_000)
    _, end = await ask(app, HOST, body=b"x" * 200_000)
    assert b"Too many long requests" in end["body"]
    assert app.budget.held == 0


async def test_a_header_that_would_split_the_answer_is_not_sent() -> None:
    async def bad(request: Request) -> Response:
        return Response(b"x", headers=[("x-name", "a\r\nb: c")])

    app = ScriptedApp()
    app.answers[STREAM] = bad
    with pytest.raises(InvalidHeader):
        await ask(app, HOST)
