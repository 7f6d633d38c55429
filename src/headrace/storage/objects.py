"""Artifacts in a bucket of S3, Google Cloud or Azure, streamed through obstore without temporary files.

A key is the prefix and the path, as in MLflow's own repositories, so each can read the other's
artifacts.
"""

from __future__ import annotations

import logging
import mimetypes
import posixpath
from contextlib import asynccontextmanager
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore import exceptions

from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found, unavailable
from headrace.settings.masking import masked
from headrace.storage import paths
from headrace.storage.base import (
    READ_BYTES,
    Entry,
    IsDirectory,
    Part,
    Presigned,
    Store,
    StoredFile,
    no_artifact,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    from headrace.storage.signing import Signer

    Bucket = S3Store | GCSStore | AzureStore

log = logging.getLogger(__name__)
PART_BYTES: Final = 5 << 20  # of a multipart upload: the minimum of S3
MAX_PARTS: Final = 9_000  # S3 allows 10,000; longer files get longer parts
PARTS_AT_ONCE: Final = 1  # per upload that are being sent, beside the one that is gathered
# The most memory of one download, measured: the HTTP client's own buffer, and a chunk that it made.
DOWNLOAD_BYTES: Final = 1 << 20
CLIENT: Final[ClientConfig] = {
    "connect_timeout": "10s",
    "read_timeout": "60s",  # between two reads; the whole transfer has no practical limit
    "timeout": "30days",
}
RETRY: Final[RetryConfig] = {"max_retries": 3}
NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "specified bucket does not exist")
DELETE_BATCH: Final = 1_000  # keys per delete request: S3's limit


def first_line(error: Exception) -> str:
    """The message of an error, without obstore's rendering of its causes."""
    return str(error).split("\n", 1)[0]


def _log_failure(error: Exception) -> None:
    # Only for the operator: the text names hosts and accounts, and may contain a signed URL.
    log.error("the artifact store failed: %s", masked(first_line(error)))


def lacks_bucket(error: Exception) -> bool:
    """Whether the bucket is missing: S3, Azure and Google report that in the body of the answer."""
    text = str(error)
    return any(sign in text for sign in NO_BUCKET)


def no_bucket() -> ApiError:
    """The answer for a missing bucket."""
    return not_found("The bucket of this artifact location does not exist.")


@asynccontextmanager
async def translated(path: str) -> AsyncIterator[None]:
    """Turn errors of the store into answers for clients."""
    try:
        yield
    except FileNotFoundError as error:
        raise no_bucket() if lacks_bucket(error) else no_artifact(path) from error
    except exceptions.PermissionDeniedError as error:
        _log_failure(error)
        raise ApiError(
            ErrorCode.PERMISSION_DENIED, "The artifact store denied the server access."
        ) from error
    except exceptions.UnauthenticatedError as error:
        _log_failure(error)
        raise ApiError(
            ErrorCode.UNAUTHENTICATED, "The artifact store rejected the server's credentials."
        ) from error
    except (ValueError, exceptions.InvalidPathError) as error:
        raise invalid(f"The artifact store cannot hold this path: {first_line(error)}") from error
    except exceptions.BaseError as error:
        if lacks_bucket(error):
            raise no_bucket() from error
        _log_failure(error)
        raise unavailable(f"The artifact store failed ({type(error).__name__}).") from error


class ObjectFile(StoredFile):
    """An object whose download has begun. A range needs a second request."""

    def __init__(self, bucket: Bucket, key: str, result: obstore.GetResult) -> None:
        meta = result.meta
        self.size = meta["size"]
        self.modified = meta["last_modified"].timestamp()
        self.identity = meta["e_tag"]
        self.full_name = key
        self.held_bytes = DOWNLOAD_BYTES
        self._bucket = bucket
        self._result: obstore.GetResult | None = result

    async def chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """See StoredFile."""
        result, self._result = self._result, None
        if start >= end:
            return
        if result is None or (start, end) != (0, self.size):
            result = await obstore.get_async(
                self._bucket, self.full_name, options={"range": (start, end)}
            )
        async for chunk in result.stream(min_chunk_size=READ_BYTES):
            data = bytes(chunk)
            del chunk  # or both would be held while the client takes it
            yield data

    async def close(self) -> None:
        """See StoredFile."""
        self._result = None


class ObjectStore(Store):
    """A prefix of a bucket. Every written object gets the `attributes` and `tags`."""

    def __init__(
        self,
        bucket: Bucket,
        prefix: str,
        *,
        signer: Signer | None = None,
        attributes: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix.strip("/")
        self._signer = signer
        self._attributes = attributes or {}
        self._tags = tags

    def below(self, prefix: str) -> ObjectStore:
        """A longer prefix of the same bucket, with the same connections."""
        return ObjectStore(
            self._bucket,
            posixpath.join(self._prefix, prefix.strip("/")),
            signer=self._signer,
            attributes=self._attributes,
            tags=self._tags,
        )

    def _key(self, path: str) -> str:
        return posixpath.join(self._prefix, paths.normal(path)).rstrip("/")

    def held_bytes(self, length: int | None) -> int:
        """See Store."""
        if length is not None and length <= PART_BYTES:
            return length + length // 4  # what is gathered grows in steps
        return (1 + PARTS_AT_ONCE) * _part_bytes(length) + READ_BYTES

    async def put(self, path: str, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """See Store. A file that fits into one part is one request; longer files are streamed."""
        path = paths.upload_target(path)
        key = self._key(path)
        attributes = media_attributes(path) | self._attributes
        source = Source(chunks)
        body: Any = await source.take(PART_BYTES)
        if not source.ended:
            body = source.rest(body)
        try:
            async with translated(path):
                await obstore.put_async(
                    self._bucket,
                    key,
                    body,
                    attributes=attributes,
                    tags=self._tags,
                    use_multipart=not source.ended,
                    chunk_size=_part_bytes(length),
                    max_concurrency=PARTS_AT_ONCE,
                )
        except BaseException as error:
            if source.failure is not None:  # the client left; the store did not fail
                raise source.failure from error
            raise

    async def open(self, path: str) -> StoredFile:
        """See Store."""
        key = self._key(path)
        if not paths.normal(path):
            raise IsDirectory(path)
        try:
            async with translated(path):
                return ObjectFile(self._bucket, key, await obstore.get_async(self._bucket, key))
        except ApiError as error:
            if error.code is ErrorCode.RESOURCE_DOES_NOT_EXIST and await self._has_below(key, path):
                raise IsDirectory(path) from error
            raise

    async def _has_below(self, key: str, path: str) -> bool:
        async with translated(path):
            async for batch in obstore.list(self._bucket, prefix=key, chunk_size=1):
                if batch:
                    return True
        return False

    async def listing(self, path: str) -> AsyncIterator[list[Entry]]:
        """See Store. Yields one batch: obstore collects all pages of a delimited listing."""
        key = self._key(path)
        async with translated(path):
            found = await obstore.list_with_delimiter_async(self._bucket, prefix=key or None)
        entries = [
            Entry(posixpath.basename(prefix.rstrip("/")), True, None)
            for prefix in found["common_prefixes"]
        ]
        entries += [
            Entry(posixpath.basename(item["path"]), False, item["size"])
            for item in found["objects"]
            if item["path"].rstrip("/") != key  # the marker object of the directory itself
        ]
        entries.sort()
        yield entries

    async def delete(self, path: str) -> None:
        """See Store."""
        if not paths.normal(path):
            raise paths.refused()
        key = self._key(path)
        async with translated(path):
            await self._remove([key])
            async for batch in obstore.list(self._bucket, prefix=key, chunk_size=DELETE_BATCH):
                await self._remove([item["path"] for item in batch])

    async def _remove(self, keys: list[str]) -> None:
        try:
            await obstore.delete_async(self._bucket, keys)
        except FileNotFoundError as error:
            # Some stores report a missing key, which is not an error here.
            if lacks_bucket(error):
                raise

    @property
    def uploads_parts(self) -> bool:
        """See Store."""
        return self._signer is not None and self._signer.uploads_parts

    @property
    def downloads_parts(self) -> bool:
        """See Store."""
        return True

    async def create_upload(self, path: str, parts: int) -> tuple[str | None, list[str]]:
        """See Store."""
        if self._signer is None:
            return await super().create_upload(path, parts)
        return await self._signer.create_upload(self._key(path), parts)

    async def complete_upload(self, path: str, upload_id: str, parts: list[Part]) -> None:
        """See Store."""
        if self._signer is None:
            return await super().complete_upload(path, upload_id, parts)
        return await self._signer.complete_upload(self._key(path), upload_id, parts)

    async def abort_upload(self, path: str, upload_id: str) -> None:
        """See Store."""
        if self._signer is None:
            return await super().abort_upload(path, upload_id)
        return await self._signer.abort_upload(self._key(path), upload_id)

    async def presign_download(self, path: str, expires_s: int) -> Presigned:
        """See Store."""
        key = self._key(path)
        async with translated(path):
            meta = await obstore.head_async(self._bucket, key)
            url = await self._sign("GET", key, expires_s)
        return Presigned(url, {}, meta["size"])

    async def presign_upload(self, path: str, expires_s: int) -> Presigned:
        """See Store."""
        path = paths.upload_target(path)
        async with translated(path):
            if self._signer is not None:
                return await self._signer.presign_upload(
                    self._key(path), media_attributes(path), expires_s
                )
            return Presigned(await self._sign("PUT", self._key(path), expires_s), {})

    async def _sign(self, method: str, key: str, expires_s: int) -> str:
        if self._signer is not None:
            return await self._signer.sign(method, key, expires_s)
        return await sign(self._bucket, method, key, expires_s)


async def sign(bucket: Bucket, method: Any, key: str, expires_s: int) -> str:
    """A URL for one request, signed with the credentials of obstore."""
    return await obstore.sign_async(bucket, method, key, timedelta(seconds=expires_s))


def _part_bytes(length: int | None) -> int:
    return max(PART_BYTES, (length or 0) // MAX_PARTS + 1)


def media_attributes(path: str) -> dict[str, str]:
    """The content type and encoding that MLflow's repositories store with a file of this name."""
    kind, encoding = mimetypes.guess_type(posixpath.basename(path))
    attributes = {}
    if kind is not None:
        attributes["Content-Type"] = kind
    if encoding is not None:
        attributes["Content-Encoding"] = encoding
    return attributes


class Source:
    """The body of a request, read in pieces. `failure` is the error that ended it early."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = aiter(chunks)
        self.ended = False
        self.failure: BaseException | None = None

    async def take(self, size: int) -> bytes:
        """At least `size` bytes, or all remaining ones."""
        first = await anext(self._chunks, None)
        if first is not None and len(first) >= size:  # it need not be copied
            return first
        taken = BytesIO()  # however short the pieces are, no more than their bytes is held
        chunk = first
        while chunk is not None:
            taken.write(chunk)
            if taken.tell() >= size:
                return taken.getvalue()
            chunk = await anext(self._chunks, None)
        self.ended = True
        return taken.getvalue()

    async def rest(self, head: bytes) -> AsyncIterator[bytes]:
        """`head` and the remaining body, in pieces large enough for efficient calls of obstore."""
        yield head
        del head  # it is held by obstore now, until it is sent
        try:
            while not self.ended:
                piece = await self.take(READ_BYTES)
                if piece:
                    yield piece
        except BaseException as error:
            self.failure = error
            raise
