"""Artifacts on a local disk, in MLflow's layout of directories and files.

Blocking calls run in worker threads, with as few calls per request as possible: one for a small
file.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import stat
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.file_names import from_native, native
from headrace.storage import mounts, paths
from headrace.storage.base import (
    LIST_BATCH,
    READ_BYTES,
    WRITE_BYTES,
    Entry,
    IsDirectory,
    StorageFull,
    Store,
    StoredFile,
    no_artifact,
)
from headrace.storage.staging import Upload, fd_path, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Executor

log = logging.getLogger(__name__)
T = TypeVar("T")
SMALL_BYTES: Final = 64 << 10  # files up to this size are read in the call that opens them
MAX_CHUNKS: Final = 512  # per write: a client may send single bytes
NOTHING_THERE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_SUCH_PLACE: Final = {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST}
CACHED_ONLY: Final[int] = getattr(os, "RWF_NOWAIT", 0)  # read from the page cache only
DELETE_TRIES: Final = 3  # an upload may add a file to a directory during its removal


def refusal(error: OSError, path: str) -> ApiError:
    """The answer for an error of the file system."""
    if error.errno in FULL:
        return StorageFull()
    if error.errno == errno.ENAMETOOLONG:
        return invalid(f"Artifact path is too long for the file system: '{path}'")
    if error.errno in NO_SUCH_PLACE:
        return invalid(f"Artifact path runs through a file, or is a directory: '{path}'")
    log.error("the artifact store refused '%s': %s", path, error)
    return ApiError(
        ErrorCode.INTERNAL_ERROR,
        f"The server's artifact store refused '{path}': {os.strerror(error.errno or errno.EIO)}",
    )


def read_cached(descriptor: int, start: int, size: int) -> bytes | None:
    """Bytes of a file from the page cache, maybe fewer than `size`; None when they are not cached."""
    buffer = bytearray(size)
    try:
        count = os.preadv(descriptor, [buffer], start, CACHED_ONLY)
    except OSError:  # not cached, or not supported by this file system
        return None
    return bytes(memoryview(buffer)[:count])


def read_all(descriptor: int, size: int, flags: int) -> bytes:
    """A small file. Raises BlockingIOError when `flags` demand cached bytes and some are not cached."""
    if not flags:
        return os.pread(descriptor, size, 0)
    data = read_cached(descriptor, 0, size) if size else b""
    if data is None or len(data) < size:
        raise BlockingIOError
    return data


class LocalFile(StoredFile):
    """A file on disk; `data` is its contents when it is small."""

    def __init__(
        self,
        descriptor: int,
        status: os.stat_result,
        full_name: str,
        data: bytes | None,
        threads: Executor,
        *,
        near: bool,
    ) -> None:
        self.size = status.st_size
        self.modified = status.st_mtime
        self.full_name = full_name
        self._data = data
        self._descriptor = descriptor
        self._threads = threads
        self._near = near
        # The descriptor must not be closed while a thread reads from it.
        self._lock = threading.Lock()

    async def chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """See StoredFile."""
        while start < end:
            chunk = await self._fetch(start, min(READ_BYTES, end - start))
            if not chunk:
                raise OSError(f"'{self.full_name}' became shorter while it was being sent")
            start += len(chunk)
            yield chunk

    async def whole(self) -> bytes | None:
        """See StoredFile."""
        return self._data

    async def _fetch(self, start: int, size: int) -> bytes:
        if self._data is not None:
            return self._data[start : start + size]
        if self._near:
            cached = read_cached(self._descriptor, start, size)
            if cached:
                return cached
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._read, start, size)

    def _read(self, start: int, size: int) -> bytes:
        with self._lock:
            return os.pread(self._descriptor, size, start) if self._descriptor >= 0 else b""

    async def close(self) -> None:
        """See StoredFile."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class LocalStore(Store):
    """A directory, created when the first file is written to it.

    `sync`: an acknowledged file survives a power failure; otherwise it may be lost, but is never
    incomplete. `bounds` is a directory that contains the root, by default the root itself: nothing
    outside of it is read or written, even if the root is behind a symbolic link.
    """

    def __init__(
        self, root: str, threads: Executor, *, sync: bool, bounds: str | None = None
    ) -> None:
        self.root = os.path.abspath(root)
        self._bounds = bounds or self.root
        self._threads = threads
        self._sync = sync

    async def _run(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    def _has(self, real: str) -> bool:
        return within(self.root, self._bounds, real)

    async def put(self, path: str, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """See Store. A body that fits into one write needs one call in a thread."""
        path = paths.upload_target(path)
        upload = Upload(self.root, native(path), self._bounds, sync=self._sync, length=length)
        gathered: list[bytes] = []
        size = 0
        try:
            async for chunk in chunks:
                gathered.append(chunk)
                size += len(chunk)
                if size >= WRITE_BYTES or len(gathered) >= MAX_CHUNKS:
                    await self._run(upload.write, gathered)
                    gathered, size = [], 0
            await self._run(upload.finish, gathered)
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            raise refusal(error, path) from error
        finally:
            if upload.unfinished:
                self._threads.submit(upload.discard)

    @cached_property
    def _near(self) -> bool:
        return CACHED_ONLY != 0 and mounts.is_local(self.root)

    async def open(self, path: str) -> StoredFile:
        """See Store. A small file is read here, without a thread if it is cached."""
        # A call in a thread costs 100 to 180 µs of CPU; reading a small cached file without one 15
        # µs.
        if self._near:
            try:
                return self._open(path, CACHED_ONLY)
            except BlockingIOError:
                pass
        return await self._run(self._open, path)

    def _open(self, path: str, flags: int = 0) -> StoredFile:
        plain = paths.normal(path)
        full = os.path.join(self.root, native(plain))
        if os.path.basename(plain).startswith(paths.STAGING_PREFIX):
            raise no_artifact(path)
        try:
            # O_NONBLOCK: opening a named pipe must not wait for its writer.
            descriptor = os.open(full, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in NOTHING_THERE:
                raise refusal(error, path) from error
            if not self._has(os.path.realpath(full)):
                raise paths.outside() from error
            raise no_artifact(path) from error
        try:
            status = os.fstat(descriptor)
            if not self._has(fd_path(descriptor, full)):
                raise paths.outside()
            if stat.S_ISDIR(status.st_mode):
                raise IsDirectory(path)
            if not stat.S_ISREG(status.st_mode):
                raise invalid(f"Artifact path is not a regular file: '{path}'")
            data = None
            if status.st_size <= SMALL_BYTES:
                data = read_all(descriptor, status.st_size, flags)
        except BaseException:
            os.close(descriptor)
            raise
        if data is not None:
            os.close(descriptor)
            descriptor = -1
        full_name = from_native(full)
        return LocalFile(descriptor, status, full_name, data, self._threads, near=self._near)

    async def listing(self, path: str) -> AsyncIterator[list[Entry]]:
        """See Store. Holds all names at once, but reads the sizes batch by batch."""
        names, batch = await self._run(self._first, path)
        yield batch
        for start in range(LIST_BATCH, len(names), LIST_BATCH):
            yield await self._run(self._entries, path, names[start : start + LIST_BATCH])

    def _directory(self, path: str) -> int | None:
        """A descriptor of the directory; None when it does not exist."""
        full = os.path.join(self.root, native(paths.normal(path)))
        try:
            descriptor = os.open(full, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if not self._has(os.path.realpath(full)):
                raise paths.outside() from error
            if error.errno in NOTHING_THERE:
                return None
            raise refusal(error, path) from error
        if not self._has(fd_path(descriptor, full)):
            os.close(descriptor)
            raise paths.outside()
        return descriptor

    def _first(self, path: str) -> tuple[list[str], list[Entry]]:
        descriptor = self._directory(path)
        if descriptor is None:
            return [], []
        try:
            names = [n for n in os.listdir(descriptor) if not n.startswith(paths.STAGING_PREFIX)]
            names.sort()
            return names, _stat_all(descriptor, names[:LIST_BATCH])
        finally:
            os.close(descriptor)

    def _entries(self, path: str, names: list[str]) -> list[Entry]:
        descriptor = self._directory(path)
        if descriptor is None:  # removed since the first batch
            return []
        try:
            return _stat_all(descriptor, names)
        finally:
            os.close(descriptor)

    async def delete(self, path: str) -> None:
        """See Store. Never removes the root itself or anything behind a symbolic link."""
        plain = paths.normal(path)
        if not plain:
            raise paths.refused()
        try:
            await self._run(self._delete, plain)
        except OSError as error:
            raise refusal(error, path) from error

    def _delete(self, path: str) -> None:
        full = os.path.join(self.root, native(path))
        if not self._has(os.path.realpath(os.path.dirname(full))):
            raise paths.outside()
        try:
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                self._delete_link(full)
            elif stat.S_ISDIR(mode):
                _remove_tree(full)
            else:
                os.unlink(full)
        except OSError as error:
            if error.errno not in NOTHING_THERE:
                raise

    def _delete_link(self, full: str) -> None:
        if os.path.isdir(full) and not self._has(os.path.realpath(full)):
            raise paths.outside()
        if os.path.exists(full):
            os.unlink(full)


def _stat_all(directory: int, names: list[str]) -> list[Entry]:
    entries = []
    for name in names:
        try:
            status = os.stat(name, dir_fd=directory)
        except OSError:  # removed meanwhile, or a dangling link
            continue
        is_dir = stat.S_ISDIR(status.st_mode)
        # A name that is not UTF-8 must not make the listing fail.
        shown = os.fsencode(name).decode("utf-8", "replace")
        entries.append(Entry(shown, is_dir, None if is_dir else status.st_size))
    return entries


def _remove_tree(full: str) -> None:
    for attempt in range(DELETE_TRIES):
        try:
            shutil.rmtree(full)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or attempt == DELETE_TRIES - 1:
                raise
        else:
            return
