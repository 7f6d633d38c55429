"""Artifacts in a bucket of S3, Google Cloud or Azure, through obstore: streams both ways, no temporary files.

A key is the path below the prefix, as MLflow's own repositories write it, so either can read the other's.
"""

from __future__ import annotations

import logging
import mimetypes
import posixpath
from contextlib import asynccontextmanager
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
    from concurrent.futures import Executor

    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    from headrace.settings.table import Settings
    from headrace.storage.repository import RepositoryStore
    from headrace.storage.signing import Signer

    Bucket = S3Store | GCSStore | AzureStore

log = logging.getLogger(__name__)
PART_BYTES: Final = 5 << 20  # of an upload in parts; S3 takes no smaller ones
MAX_PARTS: Final = 9_000  # S3 takes 10,000: an announced length decides how long the parts are
PARTS_AT_ONCE: Final = 2  # parts of one upload that are held in memory
CLIENT: Final[ClientConfig] = {
    "connect_timeout": "10s",
    "read_timeout": "60s",  # between two reads; the whole transfer may take as long as it takes
    "timeout": "30days",
}
RETRY: Final[RetryConfig] = {"max_retries": 3}
NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "specified bucket does not exist")
DELETE_BATCH: Final = 1_000  # keys of one request to delete: S3's limit


def open_store(uri: str, threads: Executor, settings: Settings) -> ObjectStore | RepositoryStore:
    """The store for a URI of s3, gs, wasbs or abfss. Raises INVALID_PARAMETER_VALUE for a malformed one."""
    from headrace.storage import azure, gcs, s3

    if uri.startswith("s3:"):
        return s3.open_store(uri, threads, settings)
    if uri.startswith("gs:"):
        return gcs.open_store(uri)
    return azure.open_store(uri, threads)


def first_line(error: Exception) -> str:
    """What went wrong, without obstore's rendering of the whole chain of causes."""
    return str(error).split("\n", 1)[0]


def _note(error: Exception) -> None:
    # Its text names hosts and accounts, and may hold a signed URL: it is for the operator.
    log.error("the artifact store failed: %s", masked(first_line(error)))


def lacks_bucket(error: Exception) -> bool:
    """Whether it is the bucket that is missing: S3, Azure and Google say so in the answer's body."""
    text = str(error)
    return any(sign in text for sign in NO_BUCKET)


def no_bucket() -> ApiError:
    """The answer where the bucket is missing."""
    return not_found("The bucket of this artifact location does not exist.")


@asynccontextmanager
async def translated(path: str) -> AsyncIterator[None]:
    """Errors of the store as answers; where the object is missing the caller knows better."""
    try:
        yield
    except FileNotFoundError as error:
        raise no_bucket() if lacks_bucket(error) else no_artifact(path) from error
    except exceptions.PermissionDeniedError as error:
        _note(error)
        raise ApiError(
            ErrorCode.PERMISSION_DENIED, "The artifact store denied the server access."
        ) from error
    except exceptions.UnauthenticatedError as error:
        _note(error)
        raise ApiError(
            ErrorCode.UNAUTHENTICATED, "The artifact store rejected the server's credentials."
        ) from error
    except (ValueError, exceptions.InvalidPathError) as error:
        raise invalid(f"The artifact store cannot hold this path: {first_line(error)}") from error
    except exceptions.BaseError as error:
        if lacks_bucket(error):
            raise no_bucket() from error
        _note(error)
        raise unavailable(f"The artifact store failed ({type(error).__name__}).") from error


class ObjectFile(StoredFile):
    """An object, its answer begun. The bytes come with it, or with a second request for a range."""

    def __init__(self, bucket: Bucket, key: str, result: obstore.GetResult) -> None:
        meta = result.meta
        self.size = meta["size"]
        self.modified = meta["last_modified"].timestamp()
        self.identity = meta["e_tag"]
        self.place = key
        self._bucket = bucket
        self._result: obstore.GetResult | None = result

    async def chunks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """See StoredFile."""
        result, self._result = self._result, None
        if start >= end:
            return
        if result is None or (start, end) != (0, self.size):
            result = await obstore.get_async(
                self._bucket, self.place, options={"range": (start, end)}
            )
        async for chunk in result.stream(min_chunk_size=READ_BYTES):
            yield bytes(chunk)

    async def close(self) -> None:
        """See StoredFile."""
        self._result = None


class ObjectStore(Store):
    """A prefix of a bucket. `attributes` and `tags` go with every object that is written."""

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
        """The same bucket, further down. Connections are shared."""
        return ObjectStore(
            self._bucket,
            posixpath.join(self._prefix, prefix.strip("/")),
            signer=self._signer,
            attributes=self._attributes,
            tags=self._tags,
        )

    def _key(self, path: str) -> str:
        return posixpath.join(self._prefix, paths.normal(path)).rstrip("/")

    async def put(self, path: str, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """See Store. What fits into one part is one request; longer files are sent while they come."""
        path = paths.upload_target(path)
        key = self._key(path)
        attributes = media_attributes(path) | self._attributes
        part_bytes = max(PART_BYTES, (length or 0) // MAX_PARTS + 1)
        source = Source(chunks)
        head = await source.take(PART_BYTES)
        body: Any = head if source.ended else source.rest(head)
        try:
            async with translated(path):
                await obstore.put_async(
                    self._bucket,
                    key,
                    body,
                    attributes=attributes,
                    tags=self._tags,
                    use_multipart=not source.ended,
                    chunk_size=part_bytes,
                    max_concurrency=PARTS_AT_ONCE,
                )
        except BaseException as error:
            if (
                source.failure is not None
            ):  # the client went away: that is the reason, not the store
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
        """See Store. One batch: obstore gathers the pages of a delimited listing."""
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
            if item["path"].rstrip("/") != key  # a marker that stands for the directory itself
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
            # Some stores say so, and deleting what is not there is no error.
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
    """An address for one request, signed with the store's own credentials."""
    from datetime import timedelta

    return await obstore.sign_async(bucket, method, key, timedelta(seconds=expires_s))


def media_attributes(path: str) -> dict[str, str]:
    """The type and encoding that MLflow's repositories store with a file of this name."""
    kind, encoding = mimetypes.guess_type(posixpath.basename(path))
    attributes = {}
    if kind is not None:
        attributes["Content-Type"] = kind
    if encoding is not None:
        attributes["Content-Encoding"] = encoding
    return attributes


class Source:
    """A request's body, its beginning taken apart. Keeps what broke it off."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = aiter(chunks)
        self.ended = False
        self.failure: BaseException | None = None

    async def take(self, size: int) -> bytes:
        """At least `size` bytes, or all there are."""
        taken: list[bytes] = []
        count = 0
        while count < size:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self.ended = True
                break
            taken.append(chunk)
            count += len(chunk)
        return b"".join(taken)

    async def rest(self, head: bytes) -> AsyncIterator[bytes]:
        """`head` and everything after it, in pieces large enough to be worth their way to obstore."""
        yield head
        try:
            while not self.ended:
                piece = await self.take(READ_BYTES)
                if piece:
                    yield piece
        except BaseException as error:
            self.failure = error
            raise
