"""Artifacts at URIs that only MLflow's own repositories support (hdfs, sftp, dbfs, plugins …).

The repositories work on files, so bodies go through a temporary file, and all calls run in worker
threads. mlflow is optional and takes seconds to import, so it is imported inside functions.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from headrace.contract.errors import HTTP_STATUS, ApiError, ErrorCode, invalid, unavailable
from headrace.contract.file_names import from_native, native
from headrace.extras import install_command
from headrace.storage import paths
from headrace.storage.base import (
    WRITE_BYTES,
    Entry,
    IsDirectory,
    Part,
    Presigned,
    Store,
    StoredFile,
    no_artifact,
    unsupported,
)
from headrace.storage.local import LocalStore, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Executor

T = TypeVar("T")
# Those of MLflow's own repositories that headrace has no store for.
SCHEMES: Final = ("b2", "dbfs", "ftp", "hdfs", "http", "https", "r2", "sftp", "viewfs")
PLUGINS: Final = "mlflow.artifact_repository"  # a group of entry points, named by scheme


def load(uri: str) -> Any:
    """MLflow's repository for a URI. Raises NOT_IMPLEMENTED when mlflow is not installed.

    Untyped: its classes have no annotations that mypy could read.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    except ImportError as error:
        scheme = urlsplit(uri).scheme
        raise ApiError(
            ErrorCode.NOT_IMPLEMENTED,
            f"Artifact locations of the scheme '{scheme}' need MLflow's own repositories on the "
            f"server. Install them with: {install_command('mlflow')}",
        ) from error
    try:
        return get_artifact_repository(uri)
    except MlflowException as error:
        # Stock answers 500 to an unusable location, and clients retry that for minutes.
        raise invalid(str(error.message)) from error
    except ImportError as error:
        raise ApiError(ErrorCode.NOT_IMPLEMENTED, f"'{uri}' cannot be opened: {error}") from error


def api_error(error: Any) -> ApiError:
    """The ApiError for an MlflowException."""
    known = ErrorCode.__members__.get(error.error_code, ErrorCode.INTERNAL_ERROR)
    code = known if known in HTTP_STATUS else ErrorCode.INTERNAL_ERROR
    return ApiError(code, str(error.message))


class RepositoryStore(Store):
    """A URI that MLflow's own repository serves."""

    def __init__(self, uri: str, threads: Executor) -> None:
        self._uri = uri
        self._threads = threads
        self._repository: Any = None

    async def _run(self, call: Callable[..., T], *args: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._translated, call, *args)

    def _translated(self, call: Callable[..., T], *args: object) -> T:
        if self._repository is None:
            self._repository = load(self._uri)
        from mlflow.exceptions import MlflowException

        try:
            return call(*args)
        except MlflowException as error:
            raise api_error(error) from error
        except FileNotFoundError as error:
            raise no_artifact(str(args[0])) from error
        except OSError as error:
            if error.errno is None:  # raised by a library, not by the system
                raise unavailable(f"The artifact store failed ({type(error).__name__}).") from error
            raise refusal(error, str(args[0])) from error

    async def put(self, path: str, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """See Store."""
        path = paths.upload_target(path)
        directory = await self._run(tempfile.mkdtemp, "", "headrace-")
        try:
            name = os.fspath(Path(directory) / native(posixpath.basename(path)))
            await self._spool(name, chunks)
            await self._run(self._log, path, name)
        finally:
            self._threads.submit(shutil.rmtree, directory, True)

    async def _spool(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        with Path(name).open("wb") as file:
            gathered: list[bytes] = []
            size = 0
            async for chunk in chunks:
                gathered.append(chunk)
                size += len(chunk)
                if size >= WRITE_BYTES:
                    await self._run(file.writelines, gathered)
                    gathered, size = [], 0
            await self._run(file.writelines, gathered)

    def _log(self, path: str, name: str) -> None:
        self._repository.log_artifact(name, posixpath.dirname(path) or None)

    async def open(self, path: str) -> StoredFile:
        """See Store. The whole file is downloaded before its first byte is sent."""
        plain = paths.normal(path)
        if not plain or await self._run(self._is_directory, plain):
            raise IsDirectory(path)
        directory = await self._run(tempfile.mkdtemp, "", "headrace-")
        try:
            name = await self._run(self._fetch, plain, directory)
            place = from_native(os.path.relpath(name, directory))
            return await LocalStore(directory, self._threads, sync=False).open(place)
        finally:
            # The file is open, so its name is no longer needed.
            self._threads.submit(shutil.rmtree, directory, True)

    def _is_directory(self, path: str) -> bool:
        return bool(self._repository.list_artifacts(path))

    def _fetch(self, path: str, directory: str) -> str:
        return str(self._repository.download_artifacts(path, directory))

    async def listing(self, path: str) -> AsyncIterator[list[Entry]]:
        """See Store."""
        yield await self._run(self._entries, paths.normal(path))

    def _entries(self, path: str) -> list[Entry]:
        found = self._repository.list_artifacts(path or None)
        return sorted(Entry(posixpath.basename(f.path), f.is_dir, f.file_size) for f in found)

    async def delete(self, path: str) -> None:
        """See Store."""
        plain = paths.normal(path)
        if not plain:
            raise paths.refused()
        try:
            await self._run(self._delete, plain)
        except ApiError as error:
            if error.code is not ErrorCode.RESOURCE_DOES_NOT_EXIST:
                raise

    def _delete(self, path: str) -> None:
        self._repository.delete_artifacts(path)

    @property
    def uploads_parts(self) -> bool:
        """See Store. True until the repository is loaded, which decides."""
        return self._repository is None or hasattr(self._repository, "create_multipart_upload")

    @property
    def downloads_parts(self) -> bool:
        """See Store. As `uploads_parts`."""
        return self._repository is None or hasattr(self._repository, "get_download_presigned_url")

    def _able(self, name: str, what: str) -> Any:
        method = getattr(self._repository, name, None)
        if method is None:
            raise unsupported(what)
        return method

    async def create_upload(self, path: str, parts: int) -> tuple[str | None, list[str]]:
        """See Store."""
        return await self._run(self._create_upload, path, parts)

    def _create_upload(self, path: str, parts: int) -> tuple[str | None, list[str]]:
        create = self._able("create_multipart_upload", "Multipart upload")
        made = create(posixpath.basename(path), parts, posixpath.dirname(path) or None)
        return made.upload_id, [credential.url for credential in made.credentials]

    async def complete_upload(self, path: str, upload_id: str, parts: list[Part]) -> None:
        """See Store."""
        await self._run(self._complete_upload, path, upload_id, parts)

    def _complete_upload(self, path: str, upload_id: str, parts: list[Part]) -> None:
        from mlflow.entities.multipart_upload import MultipartUploadPart

        complete = self._able("complete_multipart_upload", "Multipart upload")
        theirs = [MultipartUploadPart(p.number, p.etag or None, p.url or None) for p in parts]
        complete(posixpath.basename(path), upload_id, theirs, posixpath.dirname(path) or None)

    async def abort_upload(self, path: str, upload_id: str) -> None:
        """See Store."""
        await self._run(self._abort_upload, path, upload_id)

    def _abort_upload(self, path: str, upload_id: str) -> None:
        abort = self._able("abort_multipart_upload", "Multipart upload")
        abort(posixpath.basename(path), upload_id, posixpath.dirname(path) or None)

    async def presign_download(self, path: str, expires_s: int) -> Presigned:
        """See Store."""
        return await self._run(self._presign_download, path, expires_s)

    def _presign_download(self, path: str, expires_s: int) -> Presigned:
        presign = self._able("get_download_presigned_url", "Multipart download")
        made = presign(path, expiration=expires_s)
        return Presigned(made.url, made.headers, made.file_size)

    async def presign_upload(self, path: str, expires_s: int) -> Presigned:
        """See Store."""
        return await self._run(self._presign_upload, path, expires_s)

    def _presign_upload(self, path: str, expires_s: int) -> Presigned:
        made = self._able("create_presigned_upload_url", "Presigned upload")(
            path, expiration=expires_s
        )
        return Presigned(made.presigned_url, made.headers)
