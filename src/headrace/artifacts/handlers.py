"""Uploads and downloads of artifacts. Clients' paths are checked by `storage.paths` first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.api.tracking.artifacts import multipart, roots
from headrace.api.tracking.artifacts.rules import IMMUTABLE, check_mutable, is_immutable
from headrace.contract.errors import ApiError, DirectTransferOnly, ErrorCode, invalid
from headrace.contract.scalars import Empty
from headrace.http import codec, downloads
from headrace.http.messages import Request, Response, TooLong, html
from headrace.storage import paths
from headrace.storage.base import IsDirectory, StoredFile
from headrace.storage.locations import ArtifactPath

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headrace.api.context import Context
    from headrace.settings.table import Settings

MAX_PAGE_UPLOAD_BYTES = 10 << 20  # of upload-artifact; artifact objects have no limit
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
EMPTY = Empty()


def mounted(request: Request, settings: Settings) -> bool:
    """Whether the path has the static prefix. Stock answers those with its other framework."""
    prefix = settings.static_prefix
    return prefix is not None and request.target.startswith(prefix + "/")


def detail(status: int, text: str) -> Response:
    """The error body of stock's native routes."""
    return Response(codec.encode({"detail": text}), status=status)


# artifact objects


def object_path(request: Request, ctx: Context) -> str:
    """The path of an artifact object in the store. Raises INVALID_PARAMETER_VALUE."""
    return ctx.artifacts.scoped(_named(request))


def _named(request: Request) -> str:
    return paths.of_object(request.path_args.get("artifact_path", ""))


async def upload(request: Request, ctx: Context) -> Response:
    """PUT /2.0/mlflow-artifacts/artifacts/{artifact_path}: store a body of any length.

    The file is visible once it is complete. Errors: INVALID_PARAMETER_VALUE (path), 507 (no space).
    """
    try:
        refuse_bytes(ctx, "uploaded directly to", "upload")
        path = _named(request)
        if mounted(request, ctx.settings):
            check_mutable(path, ctx)
        elif is_immutable(path, ctx):
            await discard(request)
            return detail(403, IMMUTABLE)
        if not path or path.endswith("/"):
            await discard(request)
            return detail(400, "Artifact path must include a filename (cannot end with '/').")
        path = ctx.artifacts.scoped(path)
        await ctx.artifacts.destination.put(path, request.stream(), content_length(request))
    except ApiError:
        await discard(request)
        raise
    if mounted(request, ctx.settings):
        return Response(codec.encode(EMPTY))
    return Response(content_type=None)


def held_bytes(ctx: Context, length: int | None) -> int:
    """The maximum bytes of an uploaded file of this length that are in memory at a time."""
    return ctx.artifacts.destination.held_bytes(length)


def content_length(request: Request) -> int | None:
    """The announced length of the body in bytes, None for a chunked one."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else None


async def discard(request: Request) -> None:
    """Read and drop the rest of a body.

    A client that is still sending when the connection closes never reads the answer. A client that
    sent Expect: 100-continue has not begun to send the body.
    """
    if "expect" not in request.headers:
        async for _ in request.stream():
            pass


async def download(request: Request, ctx: Context) -> Response:
    """GET /2.0/mlflow-artifacts/artifacts/{artifact_path}

    Supports ranges. Errors: RESOURCE_DOES_NOT_EXIST, 400 for a directory.
    """
    refuse_bytes(ctx)
    path = object_path(request, ctx)
    if mounted(request, ctx.settings):
        return await send(
            request, ArtifactPath(ctx.artifacts.destination, path, path, proxied=True)
        )
    try:
        file = await ctx.artifacts.destination.open(path)
    except IsDirectory:
        return detail(400, f"Artifact path refers to a directory, not a file: '{path}'")
    return await downloads.native(request, file, path)


async def head(request: Request, ctx: Context) -> Response:
    """HEAD /2.0/mlflow-artifacts/artifacts/{artifact_path}: as the page's downloads.

    The answer has no body.
    """
    refuse_bytes(ctx)
    path = object_path(request, ctx)
    return await send(request, ArtifactPath(ctx.artifacts.destination, path, path, proxied=True))


async def get_artifact(request: Request, ctx: Context) -> Response:
    """GET /get-artifact?run_id=…&path=…: a run's artifact as a download.

    Errors: RESOURCE_DOES_NOT_EXIST (no such run, no such file).
    """
    refuse_bytes(ctx)
    fields = request.fields()
    if "path" not in fields:
        return no_path()
    path = paths.safe(fields["path"])
    root = await roots.of_run(fields.get("run_id") or fields.get("run_uuid") or "None", ctx)
    return await send(request, ctx.artifacts.resolve(root, path))


async def get_model_version_artifact(request: Request, ctx: Context) -> Response:
    """GET /model-versions/get-artifact?name=…&version=…&path=…

    As in MLflow 3.18, `presigned=true` asks for a URL of the store instead of the bytes. Errors:
    RESOURCE_DOES_NOT_EXIST (no such version, no such file), NOT_IMPLEMENTED (the store has no URLs).
    """
    if not signs(request):
        refuse_bytes(ctx)
    fields = request.fields()
    if "path" not in fields:
        return no_path()
    path = paths.safe(fields["path"])
    root = await roots.of_version(fields.get("name"), fields.get("version"), ctx)
    return await send_or_sign(request, ctx, ctx.artifacts.resolve(root, path))


async def get_model_artifact(request: Request, ctx: Context) -> Response:
    """GET /ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files?artifact_file_path=…

    With `presigned=true` as for versions. Errors: RESOURCE_DOES_NOT_EXIST (no such model, no such file).
    """
    if not signs(request):
        refuse_bytes(ctx)
    fields = request.fields()
    path = fields.get("artifact_file_path")
    if not path:
        raise ApiError(
            ErrorCode.BAD_REQUEST,
            'Request must include the "artifact_file_path" query parameter.',
        )
    path = paths.safe(path)
    root = await roots.of_model(fields["model_id"], ctx)
    return await send_or_sign(request, ctx, ctx.artifacts.resolve(root, path))


def refuse_bytes(
    ctx: Context, done: str = "downloaded directly from", again: str = "download"
) -> None:
    """Raise PERMISSION_DENIED if clients must exchange the bytes of artifacts with the store."""
    if ctx.settings.artifacts_presigned_only:
        raise DirectTransferOnly(done, again)


def signs(request: Request) -> bool:
    """Whether the client asks for a URL of the store."""
    return request.fields().get("presigned") == "true"


async def send_or_sign(request: Request, ctx: Context, location: ArtifactPath) -> Response:
    """The file, or the URL of the store from which the client may download it."""
    if not signs(request):
        return await send(request, location)
    found = await multipart.signed(location, ctx.settings.presigned_download_url_ttl_s)
    return Response(codec.encode(found))


def no_path() -> Response:
    """The answer to a download without `path`: an HTML page, because users follow these links."""
    text = "The browser (or proxy) sent a request that this server could not understand."
    return html(400, "Bad Request", text)


async def send(request: Request, location: ArtifactPath) -> Response:
    """A file as a download of the web page."""
    try:
        file: StoredFile = await location.store.open(location.path)
    except IsDirectory:
        raise invalid(
            f"Artifact path refers to a directory, not a file: '{location.shown}'"
        ) from None
    return await downloads.page(request, file, location.path)


async def upload_artifact(request: Request, ctx: Context) -> Response:
    """POST /ajax-api/2.0/mlflow/upload-artifact?run_uuid=…&path=…: store a small file of the page.

    As in MLflow 3.18, `run_id` names the run too, and first.

    We differ: the file is stored with the run's other artifacts, also if the experiment has its own
    artifact location. Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (no such run).
    """
    refuse_bytes(ctx, "uploaded directly to", "upload")
    fields = request.fields()
    run_id = fields.get("run_id") or fields.get("run_uuid")
    for name, value in (("run_id or run_uuid", run_id), ("path", fields.get("path"))):
        if not value:
            raise invalid(f"Request must specify {name}.")
    path = paths.safe(fields["path"])
    too_large = invalid("Artifact size is too large. Max size is 10MB.")
    if (content_length(request) or 0) > MAX_PAGE_UPLOAD_BYTES:
        await discard(request)
        raise too_large
    form = request.headers.get("content-type", "").split(";")[0].strip().lower() in FORMS
    try:
        data = await request.body(MAX_PAGE_UPLOAD_BYTES)
    except TooLong:
        await discard(request)
        raise too_large from None
    if not data or form:
        raise invalid("Request must specify data.")
    location = ctx.artifacts.resolve(await roots.of_run(run_id or "", ctx), path)
    request.hold(location.store.held_bytes(len(data)))
    await location.store.put(location.path, _once(data), len(data))
    return Response()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
