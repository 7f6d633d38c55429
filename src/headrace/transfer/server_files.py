"""The artifacts of a run or model that a tracking server lists."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from headrace.transfer.records import File, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from headrace.transfer.server_api import Api
    from headrace.transfer.server_types import Page

DEPTH: Final = 100  # of directories of artifacts


class ServerFile(File):
    """An artifact that the server sends."""

    def __init__(
        self,
        path: str,
        size: int | None,
        download: Callable[[str, int | None], Iterator[bytes]],
    ) -> None:
        self.path = path
        self.size = size
        self._download = download

    def chunks(self) -> Iterator[bytes]:
        """See File."""
        return self._download(self.path, self.size)


def below(
    listing: Callable[[str, str], Page],
    api: Api,
    download: Callable[[str, int | None], Iterator[bytes]],
    directory: str = "",
) -> Iterator[File]:
    """Yield the files below a directory.

    `listing` returns the page of a directory for a token, `download` the contents of a file of a size.
    """
    if directory.count("/") >= DEPTH:
        raise unreadable(f"The directory {directory}", f"it is deeper than {DEPTH} directories")
    for page in api.pages(partial(listing, directory)):
        for one in page.files or ():
            # An entry outside of its directory would be listed again and again.
            if not one.path or (directory and not one.path.startswith(f"{directory}/")):
                raise unreadable(
                    f"The entry '{one.path}'", f"the listing of '{directory}' contains it"
                )
            if one.is_dir:
                yield from below(listing, api, download, one.path)
            else:
                yield ServerFile(one.path, one.file_size, download)
