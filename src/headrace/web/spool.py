"""Compressed copies of the page's files, each created once per process.

They are stored one after another in an unnamed temporary file. They take no memory, their total is
bounded by the size of the page, and the file disappears even if the process is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import zlib
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 256 << 10
# 6 compresses the page from 26.6 MB to 7.6 MB in 1.4 CPU-seconds; 9 saves another 1 % but takes
# twice the time.
LEVEL: Final = 6
GZIP_CONTAINER: Final = 16 + zlib.MAX_WBITS

Span = tuple[int, int]  # offset and length in bytes


class Spool:
    """Compressed copies by key, for use from one event loop."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._spans: dict[str, asyncio.Task[Span | None]] = {}
        self._lock = asyncio.Lock()
        self._end = 0

    def compressed(self, key: str, path: Path) -> Span | None:
        """The span of the file's gzip copy; None until it is complete, or if the disk is full.

        The first request gets the file uncompressed: the largest takes 0.3 s to compress.
        """
        if key not in self._spans:
            self._spans[key] = asyncio.create_task(self._compress(path))
        made = self._spans[key]
        return made.result() if made.done() else None

    async def read(self, offset: int, length: int) -> bytes:
        """Read bytes of the spool."""
        assert self._file is not None, "a span was handed out before anything was compressed"
        return await asyncio.to_thread(os.pread, self._file.fileno(), length, offset)

    async def _compress(self, path: Path) -> Span | None:
        async with self._lock:
            try:
                length = await asyncio.to_thread(self._append, path)
            except OSError as exc:
                log.warning("the page is sent uncompressed: %s", exc)
                return None
            span = (self._end, length)
            self._end += length
            return span

    def _append(self, path: Path) -> int:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="headrace-web-")  # noqa: SIM115
        squeeze = zlib.compressobj(LEVEL, wbits=GZIP_CONTAINER)
        written = 0
        with path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                written += self._put(squeeze.compress(chunk), written)
        return written + self._put(squeeze.flush(), written)

    def _put(self, data: bytes, written: int) -> int:
        assert self._file is not None
        view = memoryview(data)
        at = self._end + written
        while view:
            done = os.pwrite(self._file.fileno(), view, at)
            view, at = view[done:], at + done
        return len(data)
