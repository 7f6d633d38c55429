"""Sends a file of the page: whole, compressed, a range of it, or 304 if it has not changed."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from functools import cache
from typing import TYPE_CHECKING

from headrace.http.conditions import Span, Unsatisfiable, byte_range, not_modified
from headrace.http.messages import Request, Response, StreamingResponse
from headrace.web.spool import CHUNK_BYTES, Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.web.bundle import File


@cache
def spool() -> Spool:
    """The compressed copies of this process."""
    return Spool()


async def send(request: Request, file: File, cache_control: str) -> Response:
    """The answer with the file as the request asks for it: whole, a range, compressed, or 304."""
    headers = request.headers
    common = [
        ("cache-control", cache_control),
        ("last-modified", formatdate(file.modified_s, usegmt=True)),
    ]
    if file.compressible:
        common.append(("vary", "Accept-Encoding"))
        if accepts_gzip(headers.get("accept-encoding", "")) and "range" not in headers:
            answer = _compressed(request, file, common)
            if answer is not None:
                return answer
    if not_modified(headers, file.etag, file.modified_s):
        return Response(status=304, content_type=None, headers=[*common, ("etag", file.etag)])
    common += [("etag", file.etag), ("accept-ranges", "bytes")]
    try:
        window = byte_range(headers, file.size, file.etag, file.modified_s)
    except Unsatisfiable:
        return Response(
            status=416, content_type=None, headers=[("content-range", f"bytes */{file.size}")]
        )
    start, stop = window or Span(0, file.size)
    if window is not None:
        common.append(("content-range", f"bytes {start}-{stop - 1}/{file.size}"))
    return StreamingResponse(
        _chunks(file, start, stop),
        status=200 if window is None else 206,
        content_type=file.content_type,
        length=stop - start,
        headers=common,
    )


def _compressed(request: Request, file: File, common: list[tuple[str, str]]) -> Response | None:
    etag = f'{file.etag[:-1]}-gzip"'
    headers = [*common, ("etag", etag)]
    if not_modified(request.headers, etag, file.modified_s):
        return Response(status=304, content_type=None, headers=headers)
    span = spool().compressed(str(file.path), file.path)
    if span is None:
        return None
    offset, length = span
    return StreamingResponse(
        _spooled(offset, length),
        content_type=file.content_type,
        length=length,
        headers=[*headers, ("content-encoding", "gzip")],
    )


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (`*` counts, `q=0` forbids)."""
    weights: dict[str, bool] = {}
    for offer in accept_encoding.lower().replace(" ", "").split(","):
        coding, _, weight = offer.partition(";q=")
        weights[coding] = not weight or weight.strip("0.") != ""
    return weights.get("gzip", weights.get("*", False))


async def _chunks(file: File, start: int, stop: int) -> AsyncIterator[bytes]:
    source = await asyncio.to_thread(file.path.open, "rb")
    try:
        await asyncio.to_thread(source.seek, start)
        while start < stop:
            chunk = await asyncio.to_thread(source.read, min(CHUNK_BYTES, stop - start))
            if not chunk:
                raise OSError(f"{file.path} is shorter than when the server started")
            start += len(chunk)
            yield chunk
    finally:
        source.close()


async def _spooled(offset: int, length: int) -> AsyncIterator[bytes]:
    end = offset + length
    while offset < end:
        chunk = await spool().read(offset, min(CHUNK_BYTES, end - offset))
        offset += len(chunk)
        yield chunk
