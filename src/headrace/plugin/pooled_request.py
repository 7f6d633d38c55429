"""One request on an open connection of urllib3's pool, with one call of send and usually one of recv.

Plain answers are parsed here; http.client parses any other from the same bytes. A failure counts as one
attempt of the caller's `Retry`, and urllib3 makes the further ones, with its own delays and errors.
"""

from __future__ import annotations

import http.client
import io
import logging
import ssl
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from urllib3 import HTTPResponse
from urllib3 import exceptions as errors
from urllib3._collections import HTTPHeaderDict

if TYPE_CHECKING:
    from urllib3 import Retry

log = logging.getLogger("urllib3.connectionpool")  # urllib3 logs retries there
RECEIVE_BYTES: Final = 65536
PLAIN: Final = b"HTTP/1.1 200 "
# An answer with one of these headers is not plain.
_NOT_PLAIN: Final = tuple(
    b"\r\n" + name
    for name in (b"connection:", b"content-encoding:", b"set-cookie:", b"transfer-encoding:")
)
_LENGTH: Final = b"\r\ncontent-length:"


class PooledRequest:
    """A request on a connection of `pool`. `head` lacks Content-Length and the empty line."""

    __slots__ = ("_body", "_head", "_method", "_path", "_pool", "_seconds")

    def __init__(
        self, pool: Any, method: str, path: str, head: bytes, body: bytes | None, seconds: float
    ) -> None:
        self._pool = pool
        self._method = method
        self._path = path
        self._head = head
        self._body = body
        self._seconds = seconds

    def send(self, retries: Retry) -> tuple[bytes | HTTPResponse | None, Retry]:
        """Send the request; return the answer and the remaining retries.

        The answer is the body of a plain one (status 200), the response of any other, or None if urllib3
        must send the request. Raises urllib3's errors.
        """
        connection = self._pool._get_conn()  # closes a connection that the server has closed
        if connection.sock is None:
            self._pool._put_conn(connection)
            return None, retries
        kept = False
        try:
            start = self._exchange(connection.sock)
            answer: bytes | HTTPResponse | None = _plain(start)
            kept = answer is not None
            if answer is None:
                received: Any = _SocketReader(start, connection.sock)
                raw = http.client.HTTPResponse(received, 0, self._method)
                raw.begin()
                answer = self._read(raw)
                kept = not raw.will_close
        except (OSError, http.client.HTTPException) as error:
            return None, self._failed(retries, error)
        finally:
            if not kept:
                connection.close()
            self._pool._put_conn(connection)
        if isinstance(answer, bytes):
            return answer, retries
        again = bool(answer.headers.get("Retry-After"))
        if retries.is_retry(self._method, answer.status, again):
            retries = retries.increment(self._method, self._path, answer, _pool=self._pool)
            retries.sleep(answer)
            return None, retries
        return answer, retries

    def _exchange(self, sock: Any) -> bytes:
        """Send the request; return the beginning of the answer."""
        sock.settimeout(self._seconds)
        body = self._body
        # A server that rejects a request may answer and close before it has read all of it.
        with suppress(BrokenPipeError, ConnectionResetError):
            if body is None:
                sock.sendall(self._head + b"\r\n")
            else:
                sock.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body))
        return bytes(sock.recv(RECEIVE_BYTES))

    def _read(self, raw: http.client.HTTPResponse) -> HTTPResponse:
        """Read the body of a response. A request whose answer has begun is not repeated."""
        try:
            content = raw.read()
        except TimeoutError as error:
            raise errors.ReadTimeoutError(self._pool, "", "Read timed out.") from error
        except (OSError, http.client.HTTPException) as error:
            raise errors.ProtocolError(f"Connection broken: {error!r}", error) from error
        return HTTPResponse(
            body=io.BytesIO(content),
            headers=HTTPHeaderDict(raw.headers.items()),
            status=raw.status,
            reason=raw.reason,
        )

    def _failed(self, retries: Retry, error: Exception) -> Retry:
        """Wait before the next attempt and return the remaining retries. Errors are named as in urllib3."""
        if isinstance(error, TimeoutError):
            reported: Exception = errors.ReadTimeoutError(
                self._pool, self._path, f"Read timed out. (read timeout={self._seconds})"
            )
        elif isinstance(error, ssl.SSLError):
            reported = errors.SSLError(error)
        else:
            reported = errors.ProtocolError("Connection aborted.", error)
        trace = sys.exc_info()[2]
        left = retries.increment(
            self._method, self._path, error=reported, _pool=self._pool, _stacktrace=trace
        )
        left.sleep()
        log.warning("Retrying (%r) after connection broken by '%r': %s", left, error, self._path)
        return left


def _plain(start: bytes) -> bytes | None:
    """Return the body if the bytes are a complete plain answer."""
    head, _, body = start.partition(b"\r\n\r\n")
    if not head.startswith(PLAIN):
        return None
    head = head.lower()
    _, _, length = head.partition(_LENGTH)
    if not length or any(name in head for name in _NOT_PLAIN):
        return None
    length = length.partition(b"\r\n")[0].strip()
    if not length.isdigit() or int(length) != len(body):
        return None
    return body


class _SocketReader(io.RawIOBase):
    """A socket for http.client, which first returns the bytes that were already received."""

    def __init__(self, start: bytes, sock: Any) -> None:
        self._start = memoryview(start)
        self._at_end = not start
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the buffered reader that http.client asks a socket for."""
        return io.BufferedReader(self, RECEIVE_BYTES)

    def readable(self) -> bool:
        """Always True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into the buffer; return the number of bytes, 0 at the end."""
        if self._start:
            count = min(len(buffer), len(self._start))
            buffer[:count] = self._start[:count]
            self._start = self._start[count:]
            return count
        return 0 if self._at_end else int(self._sock.recv_into(buffer))
