"""The interface of a store for artifacts.

Paths are relative to its root and have passed `paths.safe`; "" is the root. Every method raises
`ApiError`. After an error no incomplete file is visible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.contract.errors import ApiError, ErrorCode, not_found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIST_BATCH: Final = 1000  # entries of a directory per batch
READ_BYTES: Final = 256 << 10  # buffer per client for sending a file
WRITE_BYTES: Final = 1 << 20  # buffer per client for receiving a file


class Entry(NamedTuple):
    """One name in a directory. `size` in bytes, None for a directory."""

    name: str
    is_dir: bool
    size: int | None


class Presigned(NamedTuple):
    """A URL in the store itself, valid for a limited time; requests to it must have these `headers`."""

    url: str
    headers: dict[str, str]
    size: int | None = None


class Part(NamedTuple):
    """One part of a multipart upload, as the client reports it at the end."""

    number: int
    etag: str
    url: str


class IsDirectory(Exception):
    """The path is a directory, but a file was requested."""


class StorageFull(ApiError):
    """The store has no room for the file, of which nothing is kept. Status 507."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.RESOURCE_EXHAUSTED,
            "There is no space left for this artifact in the server's artifact store.",
        )

    @property
    def status(self) -> int:
        """507 Insufficient Storage: unlike after 429 and 503, clients do not retry."""
        return 507


class StoredFile(ABC):
    """An open file. Times in seconds since the epoch, sizes in bytes. Close it after use.

    `identity` is the store's entity tag; `full_name` the absolute path or the key, if there is one. `held_bytes` is
    the most of it that is in memory while it is sent.
    """

    size: int
    modified: float
    identity: str | None = None
    full_name: str = ""
    held_bytes: int = READ_BYTES

    @abstractmethod
    def chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to `end` (exclusive). The file stays open."""

    async def whole(self) -> bytes | None:
        """All bytes, if the file is small and has been read already; else None."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Release the file."""


class Store(ABC):
    """A store for artifacts."""

    @abstractmethod
    async def put(self, path: str, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """Write a file, replacing an existing one. It becomes visible when it is complete.

        `length` is the announced number of bytes, None when it is unknown.
        """

    def held_bytes(self, length: int | None) -> int:
        """The most memory that `put` takes for a file of this length, beside the pieces it has not asked for."""
        most = WRITE_BYTES + READ_BYTES  # the piece that exceeds the first is written with it
        return most if length is None else min(length, most)

    @abstractmethod
    async def open(self, path: str) -> StoredFile:
        """Open a file for reading. Raises RESOURCE_DOES_NOT_EXIST, IsDirectory."""

    @abstractmethod
    def listing(self, path: str) -> AsyncIterator[list[Entry]]:
        """A directory's entries, sorted by name, in batches; none for a file or a missing path."""

    @abstractmethod
    async def delete(self, path: str) -> None:
        """Remove a file, or a directory with its contents. A missing path is not an error."""

    @property
    def uploads_parts(self) -> bool:
        """Whether clients can upload a file in parts, directly to the store."""
        return False

    @property
    def downloads_parts(self) -> bool:
        """Whether clients can download directly from the store."""
        return False

    async def create_upload(self, path: str, parts: int) -> tuple[str | None, list[str]]:
        """Begin a multipart upload; returns its id and the URL for each part."""
        raise unsupported("Multipart upload")

    async def complete_upload(self, path: str, upload_id: str, parts: list[Part]) -> None:
        """Join the uploaded parts into one file."""
        raise unsupported("Multipart upload")

    async def abort_upload(self, path: str, upload_id: str) -> None:
        """Cancel an upload and delete its parts."""
        raise unsupported("Multipart upload")

    async def presign_download(self, path: str, expires_s: int) -> Presigned:
        """A URL for downloading. Raises RESOURCE_DOES_NOT_EXIST."""
        raise unsupported("Multipart download")

    async def presign_upload(self, path: str, expires_s: int) -> Presigned:
        """A URL for uploading."""
        raise unsupported("Presigned upload")


def unsupported(what: str) -> ApiError:
    """The error that makes clients fall back to a plain upload or download: they match its text."""
    return ApiError(
        ErrorCode.NOT_IMPLEMENTED, f"{what} is not supported for the current artifact repository"
    )


def no_artifact(path: str) -> ApiError:
    """The error for a missing artifact."""
    return not_found(f"No such artifact: '{path}'")
