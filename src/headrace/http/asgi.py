"""Runs the application under any ASGI server: turns a scope into a Request, and a Response into messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from headrace.contract.errors import ApiError, ErrorCode
from headrace.http import head as heads
from headrace.http.app import error_response
from headrace.http.limits import Account
from headrace.http.messages import Request, Response, StreamingResponse
from headrace.http.parse import RejectedRequest, add_header, check_host

if TYPE_CHECKING:
    from headrace.http.app import App

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """An `App` as an ASGI 3 application."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one scope (http or lifespan)."""
        app = self._app
        if scope["type"] == "lifespan":
            await _lifespan(app, receive, send)
        elif scope["type"] == "http":
            account = Account(app.budget)
            try:
                await _send(await _dispatch(app, scope, receive, account), scope["method"], send)
            except ConnectionResetError:
                return  # the client closed the connection while it sent the body
            finally:
                account.close()


async def _dispatch(
    app: App, scope: dict[str, Any], receive: Receive, account: Account
) -> Response:
    try:
        request = _request(scope, receive, account)
    except RejectedRequest as refused:
        response = error_response(ApiError(ErrorCode.BAD_REQUEST, refused.sentence))
        response.status = refused.status
        return response
    app.route(request)
    return await app.dispatch(request)


async def _send(response: Response, method: str, send: Send) -> None:
    for name, value in response.headers:
        heads.check(name, value)
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in response.headers]
    streaming = isinstance(response, StreamingResponse)
    length = response.length if isinstance(response, StreamingResponse) else len(response.body)
    if length is not None and response.status not in heads.WITHOUT_LENGTH:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if isinstance(response, StreamingResponse):
        await _stream(response, method, send)
    body = b"" if streaming or method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})


async def _stream(response: StreamingResponse, method: str, send: Send) -> None:
    try:
        if method != "HEAD":
            async for chunk in response.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        close = getattr(response.chunks, "aclose", None)
        if close is not None:
            await close()


def _request(scope: dict[str, Any], receive: Receive, account: Account) -> Request:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        add_header(headers, name.decode("latin-1").lower(), value.decode("latin-1"))
    if scope.get("http_version") == "1.1" or "host" in headers:
        check_host(headers.get("host"))

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client went away")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    query = scope["query_string"].decode("latin-1")
    raw = scope.get("raw_path") or scope["path"].encode()
    target = raw.decode("latin-1") + ("?" + query if query else "")
    client = scope.get("client")
    return Request(
        scope["method"],
        unquote(raw.decode("latin-1")),
        query,
        headers,
        receive=chunks,
        target=target,
        scheme=scope.get("scheme", "http"),
        client=client[0] if client else "",
        account=account,
    )


async def _lifespan(app: App, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await app.start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await app.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
