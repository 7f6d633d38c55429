"""What a place for artifact bytes can do.

Paths are relative to its root and have passed `paths.safe`; "" is the root.
Every method raises `ApiError`; whatever it raises, nothing half-written is visible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.contract.errors import ApiError, ErrorCode, not_found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIST_BATCH: Final = 1000  # entries of a directory that are held at a time
READ_BYTES: Final = 256 << 10  # of a file that is being sent, held per client
WRITE_BYTES: Final = 1 << 20  # of a file that is being received, gathered before they are written


class Entry(NamedTuple):
    """One name in a directory. `size` in bytes, None for a directory."""

    name: str
    is_dir: bool
    size: int | None


class Presigned(NamedTuple):
    """An address in the store itself, good for a while; `headers` must be sent with it."""

    url: str
    headers: dict[str, str]
    size: int | None = None


class Part(NamedTuple):
    """One part of a multipart upload, as the client names it when it is done."""

    number: int
    etag: str
    url: str


class IsDirectory(Exception):
    """The path is a directory where a file was asked for."""


class StorageFull(ApiError):
    """The store has no room for the file; nothing of it is kept. Status 507."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.RESOURCE_EXHAUSTED,
            "There is no space left for this artifact in the server's artifact store.",
        )

    @property
    def status(self) -> int:
        """507 Insufficient Storage: unlike 429 and 503, no client repeats it by itself."""
        return 507


class StoredFile(ABC):
    """One file, opened. Times in seconds since the epoch, sizes in bytes. Close it after use.

    `identity` is the store's own entity tag; `place` the absolute name, where there is one.
    """

    size: int
    modified: float
    identity: str | None = None
    place: str = ""

    @abstractmethod
    def chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`. The file stays open."""

    async def whole(self) -> bytes | None:
        """All bytes, if they are here already because the file is small."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Let go of it."""


class Store(ABC):
    """A place for artifact bytes."""

    @abstractmethod
    async def put(self, path: str, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """Write a file, replacing the one there; it is visible when it is whole and not before.

        `length` is the number of bytes announced, None when it is not known.
        """

    @abstractmethod
    async def open(self, path: str) -> StoredFile:
        """A file to read. Raises RESOURCE_DOES_NOT_EXIST, and IsDirectory."""

    @abstractmethod
    def listing(self, path: str) -> AsyncIterator[list[Entry]]:
        """A directory's entries, sorted by name, in batches; none for a file, or for nothing."""

    @abstractmethod
    async def delete(self, path: str) -> None:
        """Remove a file, or a directory with all in it. A path that is not there is no error."""

    @property
    def uploads_parts(self) -> bool:
        """Whether clients can upload a file in parts, straight into the store."""
        return False

    @property
    def downloads_parts(self) -> bool:
        """Whether clients can download from the store itself."""
        return False

    async def create_upload(self, path: str, parts: int) -> tuple[str | None, list[str]]:
        """Begin an upload in parts: its id, and the address for each part."""
        raise unsupported("Multipart upload")

    async def complete_upload(self, path: str, upload_id: str, parts: list[Part]) -> None:
        """Make one file of the parts that were uploaded."""
        raise unsupported("Multipart upload")

    async def abort_upload(self, path: str, upload_id: str) -> None:
        """Forget an upload and its parts."""
        raise unsupported("Multipart upload")

    async def presign_download(self, path: str, expires_s: int) -> Presigned:
        """An address to download from. Raises RESOURCE_DOES_NOT_EXIST."""
        raise unsupported("Multipart download")

    async def presign_upload(self, path: str, expires_s: int) -> Presigned:
        """An address to upload to."""
        raise unsupported("Presigned upload")


def unsupported(what: str) -> ApiError:
    """A client falls back to a plain upload or download when it reads this sentence."""
    return ApiError(
        ErrorCode.NOT_IMPLEMENTED, f"{what} is not supported for the current artifact repository"
    )


def no_artifact(path: str) -> ApiError:
    """Nothing of that name."""
    return not_found(f"No such artifact: '{path}'")
