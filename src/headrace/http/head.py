"""The bytes of an answer's head. A header that could split the answer is rejected before anything is written."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from headrace.http.messages import Response

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
WITHOUT_LENGTH: Final = (204, 304)
LONGEST_KEPT: Final = 200  # characters of a value whose line is cached
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class InvalidHeader(ValueError):
    """A header of an answer that HTTP does not allow."""


def check(name: str, value: str) -> None:
    """Raise InvalidHeader for a name or value that would not arrive as one header."""
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise InvalidHeader(f"header {name!r} of an answer is not valid")


def _line(name: str, value: str) -> bytes:
    check(name, value)
    return f"{name}: {value}\r\n".encode("latin-1")


# Most headers are the same in every answer: the look-up costs a fifth of building the line.
_kept_line: Final = lru_cache(maxsize=1024)(_line)


def head(
    response: Response, length: int | None, date_line: bytes, *, keep_alive: bool, chunked: bool
) -> bytes:
    """Status line and headers. Without a `length` the body is `chunked`, or ends with the connection.

    Raises InvalidHeader.
    """
    status = response.status
    lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status]
    for name, value in response.headers:
        lines.append(_kept_line(name, value) if len(value) <= LONGEST_KEPT else _line(name, value))
    lines.append(date_line)
    if length is not None:
        if status not in WITHOUT_LENGTH:
            lines.append(b"content-length: %d\r\n" % length)
    elif chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"".join(lines)
