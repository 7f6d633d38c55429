"""One request and its answer on a connection of urllib3's that is warm already, with one send and one look.

For the plainest of answers; any other is read by http.client, from the same bytes. What fails counts as one try of
the caller's `Retry`, which then goes on in urllib3: the same tries, pauses and errors as if it had begun there.
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

log = logging.getLogger("urllib3.connectionpool")  # which tells of retries by that name
RECEIVE_BYTES: Final = 65536
PLAIN: Final = b"HTTP/1.1 200 "
# With one of these in its head an answer is not plain.
_TOLD: Final = tuple(
    b"\r\n" + name
    for name in (b"connection:", b"content-encoding:", b"set-cookie:", b"transfer-encoding:")
)
_LENGTH: Final = b"\r\ncontent-length:"


class Exchange:
    """A request to a pool. `head` ends before its framing (Content-Length and the empty line)."""

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

    def tried(self, retries: Retry) -> tuple[bytes | HTTPResponse | None, Retry]:
        """What was answered; None when urllib3 is to be asked, with the retries that are left.

        Of a plain answer (status 200) it is the body, of any other a response. Raises urllib3's errors.
        """
        connection = self._pool._get_conn()  # one that the server has closed is closed by now
        if connection.sock is None:
            self._pool._put_conn(connection)
            return None, retries
        kept = False
        try:
            start = self._sent(connection.sock)
            answer: bytes | HTTPResponse | None = _plain(start)
            kept = answer is not None
            if answer is None:
                raw = http.client.HTTPResponse(_Received(start, connection.sock), 0, self._method)  # type: ignore[arg-type]
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

    def _sent(self, sock: Any) -> bytes:
        """The beginning of the answer."""
        sock.settimeout(self._seconds)
        body = self._body
        # A server that refuses may answer and close before it has read everything.
        with suppress(BrokenPipeError, ConnectionResetError):
            if body is None:
                sock.sendall(self._head + b"\r\n")
            else:
                sock.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body))
        return bytes(sock.recv(RECEIVE_BYTES))

    def _read(self, raw: http.client.HTTPResponse) -> HTTPResponse:
        """A response with its body. What breaks here was answered already, and is not asked for again."""
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
        """The retries that are left, after the pause; urllib3 names the error so."""
        if isinstance(error, TimeoutError):
            told: Exception = errors.ReadTimeoutError(
                self._pool, self._path, f"Read timed out. (read timeout={self._seconds})"
            )
        elif isinstance(error, ssl.SSLError):
            told = errors.SSLError(error)
        else:
            told = errors.ProtocolError("Connection aborted.", error)
        trace = sys.exc_info()[2]
        left = retries.increment(
            self._method, self._path, error=told, _pool=self._pool, _stacktrace=trace
        )
        left.sleep()
        log.warning("Retrying (%r) after connection broken by '%r': %s", left, error, self._path)
        return left


def _plain(start: bytes) -> bytes | None:
    """The body of a plain answer that is there as a whole."""
    head, _, body = start.partition(b"\r\n\r\n")
    if not head.startswith(PLAIN):
        return None
    head = head.lower()
    _, _, length = head.partition(_LENGTH)
    if not length or any(name in head for name in _TOLD):
        return None
    length = length.partition(b"\r\n")[0].strip()
    if not length.isdigit() or int(length) != len(body):
        return None
    return body


class _Received(io.RawIOBase):
    """A socket as http.client reads it, with what was received already in front."""

    def __init__(self, start: bytes, sock: Any) -> None:
        self._start = memoryview(start)
        self._at_end = not start
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client asks a socket for."""
        return io.BufferedReader(self, RECEIVE_BYTES)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes read; 0 at the end."""
        if self._start:
            count = min(len(buffer), len(self._start))
            buffer[:count] = self._start[:count]
            self._start = self._start[count:]
            return count
        return 0 if self._at_end else int(self._sock.recv_into(buffer))
