"""Requests to a tracking server with MLflow's REST API: MLflow itself, headrace, FastTrackML, or another.

Needs no mlflow. The credentials are those of MLflow's clients.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

from headrace.client.credentials import authorization_of
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.transfer.records import CutOff, unreadable
from headrace.transfer.server_types import Page, converted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
API: Final = "/api/2.0/mlflow/"
ARTIFACTS: Final = "/get-artifact"
ARTIFACTS_OF_FASTTRACKML: Final = API + "artifacts/get"
TIMEOUT_S: Final = 120.0
FIRST_PAUSE_S: Final = 0.5  # before the second attempt; each further one is twice as long
ATTEMPTS: Final = 6
LONGEST_WAIT_S: Final = 30.0
RETRIED: Final = (429, 500, 502, 503, 504)
CHUNK_BYTES: Final = 1 << 20
MAX_ANSWER_BYTES: Final = 256 << 20  # of JSON, which is held in memory


class Api:
    """Requests over one connection. An overloaded or absent server is asked again."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host = (parts.hostname or "").encode("idna").decode()
            self._port = parts.port
        except ValueError as error:
            raise invalid(f"{url} is not the address of a server: {error}.") from error
        if not self._host:
            raise invalid(f"{url} is not the address of a server: it names no host.")
        self._path = parts.path.rstrip("/")
        self._secure = parts.scheme == "https"
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "headrace"}
        authorization = authorization_of(os.environ)
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self._artifacts = ARTIFACTS
        self._connection: http.client.HTTPConnection | None = None

    def _connect(self) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(
            cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
        )
        if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=TIMEOUT_S, context=context
        )

    def get(self, path: str, /, **fields: str | int) -> Page:
        """Return the JSON object of an answer. Raises `ApiError`.

        A path that begins with a slash is complete.
        """
        return self._page("GET", f"{_target(path)}?{urlencode(fields)}", None)

    def post(self, path: str, /, **fields: Any) -> Page:
        """As `get`, with the fields in the body."""
        return self._page("POST", _target(path), json.dumps(fields).encode())

    def body(self, target: str) -> bytes:
        """Return the bytes of an answer. Raises `ApiError`."""
        return self._retried(target, lambda: self._content(self._ask("GET", target, None), target))

    def pages(self, ask: Callable[[str], Page]) -> Iterator[Page]:
        """Yield the pages that `ask` returns for their tokens; the token of the first is ""."""
        token = ""
        while True:
            page = ask(token)
            yield page
            if not page.next_page_token:
                return
            if page.next_page_token == token:
                raise unreadable(self._host, "the server's next page is the same page again")
            token = page.next_page_token

    def _page(self, method: str, target: str, body: bytes | None) -> Page:
        return self._retried(target, lambda: self._decoded(method, target, body))

    def _decoded(self, method: str, target: str, body: bytes | None) -> Page:
        answer = self._ask(method, target, body)
        text = self._content(answer, target)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            if not _has_length(answer):  # its end is the end of the connection: it can be cut off
                raise http.client.IncompleteRead(text) from error
            raise unreadable(_shown(target), "the server's answer is not JSON") from error
        return converted(_shown(target), found, Page)

    def artifact(self, run_id: str, path: str, size: int | None) -> Iterator[bytes]:
        """Yield the contents of an artifact of a run. See `content`."""
        fields = urlencode({"path": path, "run_id": run_id, "run_uuid": run_id})
        try:
            answer = self._open(f"{self._artifacts}?{fields}")
        except ApiError as error:
            if error.code is not ErrorCode.ENDPOINT_NOT_FOUND or self._artifacts != ARTIFACTS:
                raise
            self._artifacts = ARTIFACTS_OF_FASTTRACKML
            answer = self._open(f"{self._artifacts}?{fields}")
        return self._chunks(answer, path, size)

    def content(self, target: str, path: str, size: int | None) -> Iterator[bytes]:
        """Yield the contents of an artifact. Raises `CutOff` if they are not complete.

        `size`: the bytes that the listing names, if it does.
        """
        return self._chunks(self._open(target), path, size)

    def _chunks(
        self, answer: http.client.HTTPResponse, path: str, size: int | None
    ) -> Iterator[bytes]:
        expected, received = answer.length if answer.length is not None else size, 0
        try:
            while chunk := answer.read(CHUNK_BYTES):
                received += len(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise CutOff(path, f"the answer broke off after {received:,} bytes: {error}") from error
        for bytes_ in (expected, size):
            if bytes_ is not None and received != bytes_:
                self.close()
                raise CutOff(path, f"the server sent {received:,} of {bytes_:,} bytes")

    def _open(self, target: str) -> http.client.HTTPResponse:
        return self._retried(target, lambda: self._ask("GET", target, None))

    def _retried(self, target: str, ask: Callable[[], T]) -> T:
        """Call `ask` until the server answers; at most `ATTEMPTS` times."""
        for attempt in range(1, ATTEMPTS + 1):
            wait_s = min(LONGEST_WAIT_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1))
            try:
                return ask()
            except _Overloaded as error:
                if attempt == ATTEMPTS:
                    raise error.refusal from None
                wait_s = _wait_s(error.retry_after, wait_s)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if attempt == ATTEMPTS:
                    port = self._port or (443 if self._secure else 80)
                    raise ApiError(
                        ErrorCode.TEMPORARILY_UNAVAILABLE,
                        f"The server {self._host}:{port} does not answer: {error}",
                    ) from error
            time.sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _ask(self, method: str, target: str, body: bytes | None) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        headers = self._headers if body is None else {**self._headers, **JSON}
        self._connection.request(method, self._path + target, body, headers)
        answer = self._connection.getresponse()
        if answer.status == 200:
            return answer
        refusal = _refusal(target, answer.status, self._content(answer, target))
        if answer.status in RETRIED:
            raise _Overloaded(refusal, answer.getheader("Retry-After"))
        raise refusal

    def _content(self, answer: http.client.HTTPResponse, target: str) -> bytes:
        """Read an answer. Raises `IncompleteRead` if it is cut off, ApiError if it is too large."""
        found = bytearray()
        while piece := answer.read(CHUNK_BYTES):
            found += piece
            if len(found) > MAX_ANSWER_BYTES:
                self.close()  # with the rest of the answer
                reason = f"the server's answer has more than {MAX_ANSWER_BYTES:,} bytes"
                raise unreadable(_shown(target), reason)
        if answer.length:
            raise http.client.IncompleteRead(bytes(found), answer.length)
        return bytes(found)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


JSON: Final = {"Content-Type": "application/json"}


class _Overloaded(Exception):
    """An answer with a status in `RETRIED`."""

    def __init__(self, refusal: ApiError, retry_after: str | None) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.retry_after = retry_after


def _wait_s(retry_after: str | None, otherwise: float) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3): a number or a date."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return min(LONGEST_WAIT_S, float(text))
    try:
        left_s = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):  # no date either: the header says nothing
        return otherwise
    return min(LONGEST_WAIT_S, max(0.0, left_s))


def _has_length(answer: http.client.HTTPResponse) -> bool:
    return answer.chunked or answer.getheader("Content-Length") is not None


def _target(path: str) -> str:
    return path if path.startswith("/") else API + path


def _shown(target: str) -> str:
    return target.partition("?")[0]


def _refusal(target: str, status: int, text: bytes) -> ApiError:
    try:
        found = json.loads(text)
        code, message = ErrorCode(found["error_code"]), str(found["message"])
    except (ValueError, KeyError, TypeError):
        code = ErrorCode.ENDPOINT_NOT_FOUND if status == 404 else ErrorCode.BAD_REQUEST
        message = f"the answer has the status {status}"
    return ApiError(code, f"{_shown(target)}: {message}")
