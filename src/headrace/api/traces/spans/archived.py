"""The spans of archived traces: files that MLflow's archiver has written to an artifact store."""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import tempfile
from array import array
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from headrace.contract.errors import ApiError, ErrorCode
from headrace.otlp import archive
from headrace.storage.base import IsDirectory

if TYPE_CHECKING:
    from headrace.storage.base import StoredFile
    from headrace.storage.locations import ArtifactPath, Locations

log = logging.getLogger(__name__)
# A longer file is copied to a temporary one, since answers have its spans in another order.
MEMORY_BYTES: Final = 1 << 20


class Archive:
    """The spans of an archived trace. Close it after use.

    `size` is the number of bytes of the file, 0 for one that does not exist: the trace has no spans.
    """

    def __init__(self, trace_id: str) -> None:
        self._trace_id = trace_id
        self._data = b""
        self._file: IO[bytes] | None = None
        self._places: array[int] = array("Q")
        self.size = 0

    async def load(self, artifacts: Locations, uri: str | None) -> None:
        """Read the file, and find its spans.

        Errors: INVALID_STATE (the trace names no file, or it is not an archive),
        INVALID_PARAMETER_VALUE (a place that this server does not read), and those of the store.
        """
        if uri is None:
            raise corrupted(f"request_id={self._trace_id}")
        place = artifacts.resolve(uri, archive.FILE)
        stored = await _opened(place)
        if stored is None:
            log.warning("the archived spans of trace %s do not exist", self._trace_id)
            return
        try:
            await self._copy(stored)
        finally:
            await stored.close()
        try:
            self._places = await asyncio.to_thread(self._found)
        except archive.Corrupted as error:
            raise corrupted(f"path={archive.FILE}") from error

    async def _copy(self, stored: StoredFile) -> None:
        self.size = stored.size
        if stored.size > MEMORY_BYTES:
            self._file = tempfile.TemporaryFile(prefix="headrace-archive-")  # noqa: SIM115
        pieces: list[bytes] = []
        chunks = stored.chunks(0, stored.size)
        async for piece in chunks:
            if self._file is None:
                pieces.append(piece)
            else:
                await asyncio.to_thread(self._file.write, piece)
        self._data = b"".join(pieces)

    def _found(self) -> array[int]:
        if self._file is None:
            return archive.places(self._data)
        self._file.flush()
        # Closed before the answer begins, so that the pages of the file do not stay in memory.
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return archive.places(data, partial(data.madvise, mmap.MADV_DONTNEED))

    async def contents(self, piece_bytes: int) -> AsyncGenerator[Sequence[str], None]:
        """Yield the stored forms of the spans in order, in pieces of about so many bytes."""
        places, begin, size = self._places, 0, 0
        for at in range(0, len(places), 2):
            size += places[at + 1] - places[at]
            if size >= piece_bytes or at + 2 == len(places):
                yield await asyncio.to_thread(self._texts, places[begin : at + 2])
                begin, size = at + 2, 0

    def _texts(self, places: array[int]) -> list[str]:
        spans = zip(places[::2], places[1::2], strict=True)
        try:
            return [archive.text(self._bytes(start, end)) for start, end in spans]
        except archive.Corrupted as error:
            raise corrupted(f"path={archive.FILE}") from error

    def _bytes(self, start: int, end: int) -> bytes:
        if self._file is None:
            return self._data[start:end]
        return os.pread(self._file.fileno(), end - start, start)

    def close(self) -> None:
        """Delete the copy of the file."""
        if self._file is not None:
            self._file.close()


async def _opened(place: ArtifactPath) -> StoredFile | None:
    """The file; None if it does not exist."""
    try:
        return await place.store.open(place.path)
    except IsDirectory:
        return None
    except ApiError as error:
        if error.code is not ErrorCode.RESOURCE_DOES_NOT_EXIST:
            raise
        return None


def corrupted(what: str) -> ApiError:
    """The error for an archive that cannot be read."""
    return ApiError(ErrorCode.INVALID_STATE, f"Trace data is corrupted for {what}")


async def opened(artifacts: Locations, trace_id: str, uri: str | None) -> Archive:
    """The spans of a trace whose archive is below `uri`. Errors: see `Archive.load`."""
    found = Archive(trace_id)
    try:
        await found.load(artifacts, uri)
    except BaseException:
        found.close()
        raise
    return found


async def remove(artifacts: Locations, uri: str) -> None:
    """Delete the file of a trace's spans; one that does not exist is no error. Errors: the store's."""
    place = artifacts.resolve(uri, archive.FILE)
    await place.store.delete(place.path)


async def read_all(archived: Archive, piece_bytes: int) -> list[str]:
    """The stored forms of all spans of a short archive."""
    texts: list[str] = []
    async with aclosing(archived.contents(piece_bytes)) as pieces:
        async for some in pieces:
            texts += some
    return texts
