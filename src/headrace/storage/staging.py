"""Receives a file: its bytes are invisible until it is complete and gets its name.

On Linux the file has no name while it is written (O_TMPFILE), so that a killed server or a power
failure leaves nothing behind. Elsewhere it has a temporary name, which stock MLflow hides.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from typing import Final
from uuid import uuid4

from headrace.contract.errors import invalid
from headrace.contract.file_names import from_native
from headrace.storage import paths
from headrace.storage.base import StorageFull

UNNAMED: Final[int] = getattr(os, "O_TMPFILE", 0)
# Errors of file systems without unnamed files (NFS, FUSE, older overlayfs), or without /proc.
NO_UNNAMED: Final = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
MAX_VECTOR: Final = 512  # buffers per writev call; the system's limit is 1024
PUBLISH_TRIES: Final = 3  # a delete may remove the directory before the file gets its name
# When the disk is full, longer files are rejected before they are received.
EARLY_CHECK_BYTES: Final = 1 << 20

_can_be_unnamed: dict[int, bool] = {}  # by device number


def fd_path(descriptor: int, otherwise: str) -> str:
    """The real path of an open file or directory, from the kernel, so that no link can change it."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # no /proc here
        return os.path.realpath(otherwise)


def inside(root: str, real: str) -> bool:
    """Whether a resolved path is the root or below it. The root may itself be a symbolic link."""
    return below(root, real) or below(os.path.realpath(root), real)


def within(root: str, bounds: str, real: str) -> bool:
    """Whether a resolved path is below `root`, and below `bounds` even where `root` is behind a link."""
    return inside(root, real) and (bounds == root or inside(bounds, real))


def below(root: str, path: str) -> bool:
    """Whether a path is the root or below it, by its text alone."""
    return path == root or path.startswith(root if root.endswith("/") else root + "/")


class Upload:
    """One file that is being received. Every method blocks and may be called from any thread."""

    def __init__(
        self, root: str, path: str, bounds: str, *, sync: bool, length: int | None
    ) -> None:
        self._root = root
        self._bounds = bounds
        self._target = os.path.join(root, path)
        self._shown = from_native(path)
        self._sync = sync
        self._length = length
        # `discard` must not close the descriptor during a write.
        self._lock = threading.Lock()
        self._descriptor = -1
        self._staged: str | None = None  # the hidden name, for a file that needs one
        self.unfinished = True

    def write(self, chunks: list[bytes]) -> None:
        """Append bytes; the first call creates the file. Raises OSError, ApiError."""
        with self._lock:
            self._write(chunks)

    def finish(self, chunks: list[bytes]) -> None:
        """Append the last bytes and make the file visible. Raises OSError, ApiError."""
        with self._lock:
            self._write(chunks)
            if self._sync:
                os.fdatasync(self._descriptor)
            self._publish()
            self.unfinished = False
            self._close()

    def discard(self) -> None:
        """Delete the incomplete file. Does nothing after `finish`."""
        with self._lock:
            self._close()
            if self._staged is not None and self.unfinished:
                with contextlib.suppress(OSError):
                    os.unlink(self._staged)
            self.unfinished = False

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, chunks: list[bytes]) -> None:
        if not self.unfinished:  # the request was cancelled meanwhile
            raise ConnectionResetError("the upload was cancelled")
        if self._descriptor < 0:
            self._begin()
        for at in range(0, len(chunks), MAX_VECTOR):
            vector = chunks[at : at + MAX_VECTOR]
            written = os.writev(self._descriptor, vector)
            if written < sum(map(len, vector)):  # the disk is full, or a signal arrived
                _write_rest(self._descriptor, b"".join(vector)[written:])

    def _begin(self) -> None:
        self._check_target()
        # Missing directories are created when the file is complete, so a cancelled upload leaves
        # none.
        directory = _nearest(os.path.dirname(self._target), self._bounds)
        real = os.path.realpath(directory)
        has_root = below(self._root, directory)
        if not inside(self._bounds, real) or (has_root and not inside(self._root, real)):
            raise paths.outside()
        self._check_room(directory)
        if UNNAMED and _unnamed_works(directory):
            self._descriptor = os.open(directory, UNNAMED | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        else:
            # Deleting the directory meanwhile must not delete the upload.
            if has_root and os.stat(self._root).st_dev == os.stat(directory).st_dev:
                directory = self._root
            staged = os.path.join(directory, paths.STAGING_PREFIX + uuid4().hex)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            self._descriptor = os.open(staged, flags, 0o666)
            self._staged = staged

    def _check_target(self) -> None:
        try:
            mode = os.lstat(self._target).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            raise _is_directory(self._shown)
        if stat.S_ISLNK(mode) and not within(
            self._root, self._bounds, os.path.realpath(self._target)
        ):
            raise paths.outside()

    def _check_room(self, directory: str) -> None:
        if self._length is None or self._length < EARLY_CHECK_BYTES:
            return
        room = os.statvfs(directory)
        if room.f_blocks and room.f_bavail * room.f_frsize < self._length:
            raise StorageFull

    def _publish(self) -> None:
        directory = os.path.dirname(self._target)
        for attempt in range(PUBLISH_TRIES):
            made = _make_directories(directory)
            try:
                self._name()
            except FileNotFoundError:
                if attempt == PUBLISH_TRIES - 1:
                    raise
            except BaseException:
                for new in reversed(made):
                    with contextlib.suppress(OSError):
                        os.rmdir(new)
                raise
            else:
                break
        if self._sync:
            for changed in {directory, *map(os.path.dirname, made)}:
                _sync_directory(changed)

    def _name(self) -> None:
        if self._staged is None:
            try:
                _link(self._descriptor, self._target)
            except FileExistsError:
                staged = os.path.join(
                    os.path.dirname(self._target), paths.STAGING_PREFIX + uuid4().hex
                )
                _link(self._descriptor, staged)
                self._staged = staged
            else:
                return
        try:
            os.replace(self._staged, self._target)
        except IsADirectoryError:
            raise _is_directory(self._shown) from None


def _nearest(directory: str, root: str) -> str:
    """The directory, or its nearest existing ancestor; creates the root if it is missing."""
    while directory != root:
        try:
            if stat.S_ISDIR(os.stat(directory).st_mode):
                return directory
        except FileNotFoundError:
            if not os.path.islink(directory):
                directory = os.path.dirname(directory)
                continue
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
    os.makedirs(root, exist_ok=True)
    return root


def _is_directory(path: str) -> Exception:
    return invalid(f"Artifact path refers to a directory, not a file: '{path}'")


def _write_rest(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _link(descriptor: int, name: str) -> None:
    """Give an unnamed file a new name. Raises FileExistsError."""
    # Without src_dir_fd Python calls link(2), which would link the symbolic link in /proc itself.
    os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=descriptor, follow_symlinks=True)


def _unnamed_works(directory: str) -> bool:
    """Whether a directory supports unnamed files that get a name later; tested once per device."""
    device = os.stat(directory).st_dev
    works = _can_be_unnamed.get(device)
    if works is None:
        name = os.path.join(directory, paths.STAGING_PREFIX + uuid4().hex)
        try:
            descriptor = os.open(directory, UNNAMED | os.O_WRONLY | os.O_CLOEXEC, 0o666)
            try:
                _link(descriptor, name)
            finally:
                os.close(descriptor)
            os.unlink(name)
            works = True
        except OSError as error:
            if error.errno not in NO_UNNAMED:
                raise
            works = False
        _can_be_unnamed[device] = works
    return works


def _make_directories(directory: str) -> list[str]:
    """Create a directory and its parents; returns the new ones, the outermost first."""
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    made = []
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another upload was faster
            os.mkdir(new)
            made.append(new)
    return made


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
