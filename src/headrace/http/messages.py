"""Requests and responses, for raw handlers and the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from headrace.contract.errors import ApiError, ErrorCode, overloaded
from headrace.http.body import gathered, whole
from headrace.http.limits import STREAM_BYTES, TOO_MANY_LONG
from headrace.monitor.layout import UNMATCHED_CELL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from io import BytesIO

    from headrace.auth.access import Access
    from headrace.auth.authority import Caller
    from headrace.auth.foreign import RequestIds
    from headrace.http.limits import Account
    from headrace.http.router import Endpoint

JSON: Final = "application/json"
# The limit of a body that is held in memory; the largest log-batch is far smaller.
MAX_BODY_BYTES: Final = 64 << 20


class TooLong(ApiError):
    """BAD_REQUEST: the body exceeds the limit of its route."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(ErrorCode.BAD_REQUEST, f"Request body exceeds {limit_bytes} bytes")


class Request:
    """One HTTP request. `headers` has lower-case names, and the first value of a repeated header
    (as `Repeated`).

    `path` is percent-decoded once and has no static prefix; `target` is the raw request target
    (path and query, still encoded, with the prefix). `App.route` sets `endpoint` and `path_args`,
    the `{name}` parts of its path; without a route `endpoint` is None. A body that is collected
    here is counted on `account`. A server with users sets `caller` and `access`, and a
    server with workspaces `workspace` and `ids`, before anything else is done.
    """

    __slots__ = (
        "_body",
        "access",
        "account",
        "caller",
        "cell",
        "client",
        "endpoint",
        "headers",
        "ids",
        "method",
        "path",
        "path_args",
        "query_string",
        "receive",
        "scheme",
        "target",
        "workspace",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query_string: str,
        headers: dict[str, str],
        *,
        receive: Callable[[], AsyncIterator[bytes]] | None = None,
        target: str = "",
        scheme: str = "http",
        client: str = "",
        account: Account | None = None,
    ) -> None:
        self.cell = UNMATCHED_CELL  # the counter of the route that answers
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.path_args: dict[str, str] = {}
        self.target = target or path
        self.scheme = scheme
        self.client = client
        self.endpoint: Endpoint | None = None
        self.receive = receive
        self.account = account
        self.caller: Caller | None = None
        self.access: Access | None = None
        self.workspace: str | None = None
        self.ids: RequestIds | None = None
        self._body: bytes | None = None

    def give_body(self, body: bytes) -> None:
        """Set the body, which has been received already."""
        self._body = body

    def hold(self, size: int) -> None:
        """Count bytes that are held until the request is answered.

        Raises `overloaded` if they exceed the budget.
        """
        if self.account is not None:
            if not self.account.admits(size, size):
                raise overloaded(TOO_MANY_LONG)
            self.account.take(size)

    def query(self) -> dict[str, list[str]]:
        """The query parameters in order of appearance, blank values kept."""
        return parse_qs(self.query_string, keep_blank_values=True)

    def fields(self, headers: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
        """The first value of each query parameter, overridden by the arguments of the path.

        `headers` has further fields: the names of their headers and their own.
        """
        found = {name: values[0] for name, values in self.query().items()} | self.path_args
        return found | {name: self.headers[one] for one, name in headers if one in self.headers}

    async def body(self, limit_bytes: int = MAX_BODY_BYTES) -> bytes:
        """The whole body.

        Raises TooLong beyond `limit_bytes`, and `overloaded` beyond the budget.
        """
        if self._body is None:
            so_far: bytes | BytesIO = b""
            size = 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > limit_bytes:
                    raise TooLong(limit_bytes)
                if self.account is not None:
                    self.account.take(len(chunk))
                    if not self.account.admits(size):
                        raise overloaded(TOO_MANY_LONG)
                so_far = gathered(so_far, chunk)
            self._body = whole(so_far)
        return self._body

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in chunks as they arrive. Raises ConnectionResetError when the client leaves."""
        if self._body is not None:
            if self._body:
                yield self._body
        elif self.receive is not None:
            async for chunk in self.receive():
                yield chunk
                del chunk  # otherwise it is held until the next one arrives


class Response:
    """An answer with its whole body.

    Header names are lower-case; content-length is added on sending.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: str | None = JSON,
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers or []
        if content_type is not None:
            self.headers.append(("content-type", content_type))


class StreamingResponse(Response):
    """An answer whose body comes in chunks. `length` is in bytes; if None, it is sent chunked.

    At most `held_bytes` of it are in memory at a time. The sender waits for the client before it
    reads the next chunk, and closes the iterator (`aclose`) when the client is gone.
    """

    __slots__ = ("chunks", "held_bytes", "length")

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        status: int = 200,
        content_type: str | None = JSON,
        length: int | None = None,
        headers: list[tuple[str, str]] | None = None,
        held_bytes: int = STREAM_BYTES,
    ) -> None:
        super().__init__(b"", status=status, content_type=content_type, headers=headers)
        self.chunks = chunks
        self.held_bytes = held_bytes
        self.length = length


def html(status: int, title: str, sentence: str) -> Response:
    """The short HTML page that stock MLflow's routing layer sends for 404, 405 and 500."""
    text = (
        f"<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n"
        f"<h1>{title}</h1>\n<p>{sentence}</p>\n"
    )
    return Response(
        text.encode(errors="replace"), status=status, content_type="text/html; charset=utf-8"
    )


def text(body: str, status: int = 200) -> Response:
    """A plain-text answer."""
    return Response(
        body.encode(errors="replace"), status=status, content_type="text/plain; charset=utf-8"
    )
