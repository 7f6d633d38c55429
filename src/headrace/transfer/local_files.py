"""Artifacts in a directory of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from headrace.contract.file_names import from_native, native
from headrace.transfer.records import File, Outside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


class Roots:
    """The directories below which a source's artifacts may be read: its own and those that the user names."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self._real = [os.path.realpath(one) for one in directories]

    def contain(self, place: Path) -> bool:
        """Whether a path, with symbolic links followed, lies in one of the directories."""
        real = os.path.realpath(place)
        return any(os.path.commonpath((real, root)) == root for root in self._real)

    def below(self, root: Path) -> Iterator[LocalFile | Outside]:
        """Yield the files below a directory, none if it does not exist.

        Symbolic links to directories are not followed, and those that lead outside are named instead.
        """
        if not self.contain(root):
            yield self._outside(root)
            return
        for parent, directories, names in os.walk(root):
            directories.sort()
            for name in sorted([*names, *(n for n in directories if Path(parent, n).is_symlink())]):
                file = Path(parent) / name
                if not self.contain(file):
                    yield self._outside(file)
                elif file.is_file():
                    yield LocalFile(root, file)

    def _outside(self, place: Path) -> Outside:
        real = os.path.realpath(place)
        to = f" (a link to {real})" if place.is_symlink() else ""
        return Outside(
            f"{place}{to}, outside of {self._real[0]}; "
            "--artifact-root allows it (with --again if the run is there already)"
        )


def path_of(uri: str) -> Path | None:
    """Return the path that an artifact URI names on this machine, or None for another kind of URI."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # such as `http://[`
        return None
    if parts.scheme == "file":
        return Path(native(unquote(parts.path)))
    return Path(native(uri)) if uri and not parts.scheme else None
