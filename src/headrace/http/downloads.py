"""Turns a stored file into an answer: its name and type, and the bytes to send, if any.

Always an attachment and never sniffed, so that no artifact runs as a page of this server.
"""

from __future__ import annotations

import hashlib
import mimetypes
import unicodedata
from collections.abc import AsyncIterator, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from posixpath import basename, splitext
from secrets import token_hex
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from zlib import adler32

from headrace.http import conditions
from headrace.http.conditions import Span
from headrace.http.messages import Request, Response, StreamingResponse, html

if TYPE_CHECKING:
    from headrace.storage.base import StoredFile

# Shown as text whatever their registered type is: MLflow's list of extensions and two file names.
TEXT_ENDINGS: Final = frozenset(
    (
        *("txt", "log", "err", "md", "rst", "ipynb", "csv", "tsv", "py", "py3", "js"),
        *("cfg", "conf", "cnf", "cf", "ini", "properties", "prop", "hocon", "toml", "yaml", "yml"),
        *("xml", "json", "MLmodel", "mlproject"),
    )
)
TOKEN: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
TEXT: Final = "text/plain; charset=utf-8"
BINARY: Final = "application/octet-stream"
Headers = list[tuple[str, str]]
Piece = bytes | Span  # of a body: bytes, or a part of the file


@lru_cache(maxsize=1024)
def media_type(name: str) -> str:
    """The type of a file with that name: text/plain, without a charset, for readable texts."""
    ending = splitext(name)[1].replace(".", "") or name
    if ending in TEXT_ENDINGS:
        return "text/plain"
    return mimetypes.guess_type(name)[0] or BINARY


def attachment(name: str) -> str:
    """A content-disposition that saves the file under `name`, in ASCII (RFC 6266, RFC 8187)."""
    if name.isascii():
        return f"attachment; filename={_quoted(name)}"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or "download"
    encoded = quote(name, safe="!#$&+-.^_`|~")
    return f"attachment; filename={_quoted(plain)}; filename*=UTF-8''{encoded}"


def _quoted(value: str) -> str:
    if value and TOKEN.issuperset(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class FileBody(AsyncIterator[bytes]):
    """Parts of a file, and text around them. The file is closed at the end, or in `aclose`."""

    def __init__(self, file: StoredFile, pieces: Sequence[Piece]) -> None:
        self._file = file
        self._pieces = iter(pieces)
        self._part: AsyncIterator[bytes] | None = None

    async def __anext__(self) -> bytes:
        while True:
            if self._part is not None:
                try:
                    return await anext(self._part)
                except StopAsyncIteration:
                    self._part = None
            piece = next(self._pieces, None)
            if piece is None:
                await self._file.close()
                raise StopAsyncIteration
            if isinstance(piece, bytes):
                return piece
            self._part = self._file.chunks(*piece)

    async def aclose(self) -> None:
        """Release the file."""
        await self._file.close()


async def _part_response(file: StoredFile, span: Span, status: int, headers: Headers) -> Response:
    """A part of the file as an answer: whole if it is in memory, else streamed."""
    data = await file.whole()
    if data is not None:
        await file.close()
        body = data[span.start : span.end]
        return Response(body, status=status, content_type=None, headers=headers)
    return StreamingResponse(
        FileBody(file, [span]),
        status=status,
        content_type=None,
        length=span.end - span.start,
        headers=headers,
        held_bytes=min(file.held_bytes, span.end - span.start),
    )


async def native(request: Request, file: StoredFile, path: str) -> Response:
    """The answer to GET of an artifact object: several ranges, If-Range, and no other condition."""
    entity = file.identity or _digest(f"{file.modified}-{file.size}")
    modified = formatdate(file.modified, usegmt=True)
    kind = media_type(basename(path.rstrip("/")))
    headers = [
        ("content-disposition", attachment(basename(path))),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("last-modified", modified),
        ("etag", entity),
    ]
    wanted = request.headers.get("range")
    valid_for = request.headers.get("if-range")
    if wanted is None or (valid_for is not None and valid_for not in (modified, entity)):
        return await _part_response(
            file, Span(0, file.size), 200, [*headers, ("content-type", kind)]
        )
    try:
        spans = conditions.several(wanted, file.size)
    except conditions.Malformed as error:
        await file.close()
        return Response(str(error).encode(errors="replace"), status=400, content_type=TEXT)
    except conditions.Unsatisfiable:
        await file.close()
        return Response(
            status=416, content_type=TEXT, headers=[("content-range", f"bytes */{file.size}")]
        )
    if len(spans) > 1:
        return _several(file, spans, kind, headers)
    headers.append(("content-type", kind))
    if not spans:
        return await _part_response(file, Span(0, file.size), 200, headers)
    headers.append(("content-range", _content_range(spans[0], file.size)))
    return await _part_response(file, spans[0], 206, headers)


def _several(file: StoredFile, spans: list[Span], kind: str, headers: Headers) -> Response:
    boundary = token_hex(13)
    pieces: list[Piece] = []
    length = 0
    for span in spans:
        head = (
            f"--{boundary}\r\nContent-Type: {kind}\r\n"
            f"Content-Range: {_content_range(span, file.size)}\r\n\r\n"
        ).encode()
        pieces += [head, span, b"\r\n"]
        length += len(head) + span.end - span.start + 2
    tail = f"--{boundary}--".encode()
    return StreamingResponse(
        FileBody(file, [*pieces, tail]),
        status=206,
        content_type=f"multipart/byteranges; boundary={boundary}",
        length=length + len(tail),
        headers=headers,
        held_bytes=file.held_bytes,
    )


async def page(request: Request, file: StoredFile, path: str) -> Response:
    """The answer to a download link of the web page: one range, and every condition; never cached without a check."""
    name = basename(path.rstrip("/"))
    entity = (
        file.identity
        or f'"{file.modified}-{file.size}-{adler32(file.full_name.encode()) & 0xFFFFFFFF}"'
    )
    kept = [
        ("content-disposition", attachment(name)),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-cache"),
        ("accept-ranges", "bytes"),
        ("etag", entity),
    ]
    modified_s = int(file.modified)
    headers = [
        *kept,
        ("content-type", media_type(name)),
        ("last-modified", formatdate(file.modified, usegmt=True)),
    ]
    whole = Span(0, file.size)
    wanted = request.headers.get("range")
    if wanted is not None and file.size and _range_holds(request, entity, modified_s):
        try:
            span = conditions.single(wanted, file.size)
        except conditions.Unsatisfiable:
            await file.close()
            refusal = html(416, _phrase(416), "The server cannot provide the requested range.")
            refusal.headers.append(("content-range", f"bytes */{file.size}"))
            return refusal
        headers.append(("content-range", _content_range(span, file.size)))
        return await _part_response(file, span, 206, headers)
    if not _unmodified(request, entity, modified_s):
        return await _part_response(file, whole, 200, headers)
    if conditions.tags(request.headers.get("if-match")) or request.headers.get("if-match") == "*":
        return await _part_response(file, whole, 412, headers)
    await file.close()
    return Response(status=304, content_type=None, headers=kept)


def _range_holds(request: Request, entity: str, modified_s: int) -> bool:
    condition = request.headers.get("if-range")
    if condition is None:
        return True
    since = conditions.date(condition)
    if since is not None:
        return modified_s <= since
    return condition.removeprefix("W/").strip('"') == entity.removeprefix("W/").strip('"')


def _unmodified(request: Request, entity: str, modified_s: int) -> bool:
    since = conditions.date(request.headers.get("if-modified-since"))
    unmodified = since is not None and modified_s <= since
    own = entity.removeprefix("W/").strip('"')
    none_match = request.headers.get("if-none-match")
    if none_match == "*":
        unmodified = True
    elif none := conditions.tags(none_match):
        unmodified = own in [tag for _, tag in none]
    match = request.headers.get("if-match")
    if match == "*":
        unmodified = True  # stock rejects this one as well: 412
    elif known := conditions.tags(match):
        unmodified = (False, own) not in known
    return unmodified


def _content_range(span: Span, size: int) -> str:
    return f"bytes {span.start}-{span.end - 1}/{size}"


def _digest(text: str) -> str:
    return f'"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"'


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
