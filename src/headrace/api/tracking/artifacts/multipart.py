"""Large files that bypass this server: multipart uploads and presigned URLs of the store."""

from __future__ import annotations

import ntpath
import posixpath
from typing import Final
from urllib.parse import urlsplit

from headrace.api.context import Context
from headrace.api.tracking.artifacts import roots
from headrace.api.tracking.artifacts.rules import check_mutable, check_one_owner
from headrace.api.tracking.artifacts.types import (
    AbortUpload,
    CompleteUpload,
    CreateUpload,
    ObjectPath,
    PresignDownload,
    PresignedObject,
    PresignedUrl,
    PresignUpload,
    Upload,
    UploadCredential,
)
from headrace.contract.errors import invalid
from headrace.contract.scalars import Empty
from headrace.storage import paths
from headrace.storage.base import Part, Presigned, Store, unsupported
from headrace.storage.locations import PROXIED, ArtifactPath

EMPTY = Empty()
MAX_PARTS: Final = 10_000  # per upload: S3's limit
UPLOAD_TTL_S: Final = 900  # of an upload URL, unless the request specifies another
MAX_TTL_S: Final = 604_800  # seven days, the maximum of all cloud stores


def target(directory: str, file: str) -> str:
    """Return the path that a multipart upload creates in a safe directory.

    The client sends the path of its local file; the URL contains the directory.
    """
    joined = posixpath.join(directory, file_name(file))
    return paths.upload_target(paths.safe(joined))


def file_name(path: str) -> str:
    """The last part of a client's local path, also one of Windows, as in MLflow 3.18.

    Raises INVALID_PARAMETER_VALUE if that is no name, also after its percent-encoding is removed.
    """
    name = ntpath.basename(path)
    if name:
        name = ntpath.basename(paths.safe(name))
    if name in ("", ".", ".."):
        raise paths.refused()
    return name


def destination(req: CreateUpload | CompleteUpload | AbortUpload) -> tuple[str]:
    """Return the path that decides who may upload: `target` before its directory is decoded.

    Raises INVALID_PARAMETER_VALUE for a path without a name.
    """
    return (posixpath.join(req.artifact_path or "", file_name(req.path)),)


def _target(req: CreateUpload | CompleteUpload | AbortUpload, ctx: Context) -> str:
    directory = paths.safe(req.artifact_path or "")
    check_mutable(directory, ctx)
    path = target(ctx.artifacts.scoped(directory), req.path)
    check_mutable(path, ctx)
    return path


def with_parts(store: Store) -> Store:
    """Return the store if it supports multipart uploads.

    Otherwise raises NOT_IMPLEMENTED, and clients upload the file in one request.
    """
    if not store.uploads_parts:
        raise unsupported("Multipart upload")
    return store


async def create(req: CreateUpload, ctx: Context) -> Upload:
    """POST /2.0/mlflow-artifacts/mpu/create/{artifact_path}

    We differ: more than 10,000 parts are rejected by this server, not by the store.
    """
    path = _target(req, ctx)
    store = with_parts(ctx.artifacts.destination)
    parts = req.num_parts or 0
    if parts > MAX_PARTS:
        raise invalid(f"num_parts must be at most {MAX_PARTS} (got {parts}).")
    upload_id, urls = await store.create_upload(path, parts)
    credentials = [UploadCredential(url=url, part_number=n) for n, url in enumerate(urls, 1)]
    return Upload(upload_id=upload_id, credentials=credentials)


async def complete(req: CompleteUpload, ctx: Context) -> Empty:
    """POST /2.0/mlflow-artifacts/mpu/complete/{artifact_path}: makes the uploaded file visible."""
    path = _target(req, ctx)
    store = with_parts(ctx.artifacts.destination)
    parts = [Part(part.part_number, part.etag or "", part.url or "") for part in req.parts]
    await store.complete_upload(path, req.upload_id or "", parts)
    return EMPTY


async def abort(req: AbortUpload, ctx: Context) -> Empty:
    """POST /2.0/mlflow-artifacts/mpu/abort/{artifact_path}: discards the uploaded parts."""
    path = _target(req, ctx)
    store = with_parts(ctx.artifacts.destination)
    await store.abort_upload(path, req.upload_id or "")
    return EMPTY


async def presigned(req: ObjectPath, ctx: Context) -> PresignedObject:
    """GET /2.0/mlflow-artifacts/presigned/{artifact_path}: a URL for a download from the store."""
    path = ctx.artifacts.scoped(paths.safe(req.artifact_path))
    found = await ctx.artifacts.destination.presign_download(
        path, ctx.settings.presigned_download_url_ttl_s
    )
    return _object(found)


async def signed(location: ArtifactPath, expires_s: int) -> PresignedObject:
    """A URL for the download of a file. Raises NOT_IMPLEMENTED if the store has no such URLs."""
    return _object(await _presigned(location, expires_s))


async def presign_upload(req: PresignUpload, ctx: Context) -> PresignedUrl:
    """POST /2.0/mlflow/artifacts/presigned-upload-url: for a run or logged model in a cloud store.

    Errors: INVALID_PARAMETER_VALUE (this server proxies the artifacts), NOT_IMPLEMENTED (the store
    has no presigned URLs).
    """
    check_one_owner(req)
    path = paths.safe(req.path)
    if req.run_id:
        root = await roots.of_run(req.run_id, ctx)
    else:
        root = await roots.of_model(req.model_id or "", ctx)
    scheme = urlsplit(root).scheme
    if scheme in PROXIED:
        raise invalid(
            "Presigned upload is not supported for proxied artifact storage "
            f"(artifact URI scheme: {scheme}). "
            "This endpoint requires a direct cloud storage artifact URI."
        )
    expires_s = UPLOAD_TTL_S if req.expiration is None else req.expiration
    location = ctx.artifacts.resolve(root, path)
    return _url(await location.store.presign_upload(location.path, expires_s))


async def presign_download(req: PresignDownload, ctx: Context) -> PresignedUrl:
    """POST /2.0/mlflow/artifacts/presigned-download-url: for a run in a cloud store.

    Errors: INVALID_PARAMETER_VALUE (this server proxies the artifacts), NOT_IMPLEMENTED (the store
    has no presigned URLs).
    """
    path = paths.safe(req.path)
    usual_s = ctx.settings.presigned_download_url_ttl_s
    expires_s = usual_s if req.expiration is None else req.expiration
    if not 1 <= expires_s <= MAX_TTL_S:
        raise invalid(f"expiration must be between 1 and {MAX_TTL_S} seconds (got {expires_s}).")
    root = await roots.of_run(req.run_id, ctx)
    scheme = urlsplit(root).scheme
    if scheme in PROXIED:
        raise invalid(
            "Presigned download is not supported for runs with proxied artifact storage "
            f"(artifact URI scheme: {scheme}). "
            "This endpoint requires a run with a direct cloud storage artifact URI."
        )
    return _url(await _presigned(ctx.artifacts.resolve(root, path), expires_s))


async def _presigned(location: ArtifactPath, expires_s: int) -> Presigned:
    if not location.store.downloads_parts:
        raise unsupported("Presigned download")
    return await location.store.presign_download(location.path, expires_s)


def _object(found: Presigned) -> PresignedObject:
    return PresignedObject(url=found.url, headers=found.headers, file_size=found.size)


def _url(found: Presigned) -> PresignedUrl:
    return PresignedUrl(presigned_url=found.url, headers=found.headers, file_size=found.size)
