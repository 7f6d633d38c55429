"""Artifacts in a directory of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from headrace.contract.file_names import from_native, native
from headrace.transfer.records import File

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES: Final = 1 << 20


class LocalFile(File):
    """A file on disk."""

    def __init__(self, root: Path, file: Path) -> None:
        self.path = from_native(file.relative_to(root).as_posix())
        self.size = file.stat().st_size
        self._file = file

    def chunks(self) -> Iterator[bytes]:
        """See File."""
        with self._file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield chunk


def below(root: Path) -> Iterator[LocalFile]:
    """Yield the files below a directory, none if it does not exist. Symbolic links to directories are not followed."""
    for parent, directories, names in os.walk(root):
        directories.sort()
        for name in sorted(names):
            file = Path(parent) / name
            if file.is_file():
                yield LocalFile(root, file)


def path_of(uri: str) -> Path | None:
    """Return the path that an artifact URI names on this machine, or None for another kind of URI."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(native(unquote(parts.path)))
    return Path(native(uri)) if uri and not parts.scheme else None
