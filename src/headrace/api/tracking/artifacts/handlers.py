"""What the artifact endpoints do. Paths of clients pass `paths.safe` before anything looks at them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from headrace.api.context import Context
from headrace.api.modes import mounted
from headrace.api.tracking.artifacts import roots
from headrace.api.tracking.artifacts.types import (
    Artifacts,
    FileInfo,
    Files,
    ListArtifacts,
    ListFiles,
    ListModelArtifacts,
)
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.scalars import Empty
from headrace.http import codec, downloads
from headrace.http.messages import Request, Response, StreamingResponse, TooLong, html
from headrace.storage import paths
from headrace.storage.base import Entry, IsDirectory, StoredFile
from headrace.storage.locations import Place

MAX_PAGE_UPLOAD_BYTES = 10 << 20  # of upload-artifact; artifact objects have no limit
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
EMPTY = Empty()


def detail(status: int, text: str) -> Response:
    """The error body of stock's native routes."""
    return Response(codec.encode({"detail": text}), status=status)


# artifact objects


def object_path(request: Request) -> str:
    """The path of an artifact object, as the client wrote it. Raises INVALID_PARAMETER_VALUE."""
    path = request.path_args.get("artifact_path", "")
    if "\n" in path:  # stock's router knows no such path, and `paths.safe` would drop the line end
        raise paths.refused()
    return paths.safe(path)


async def upload(request: Request, ctx: Context) -> Response:
    """PUT /2.0/mlflow-artifacts/artifacts/{artifact_path}: the body, whatever its length.

    Visible when it is whole. Errors: INVALID_PARAMETER_VALUE (path), 507 (no room).
    """
    try:
        path = object_path(request)
        if not path or path.endswith("/"):
            await discard(request)
            return detail(400, "Artifact path must include a filename (cannot end with '/').")
        await ctx.artifacts.destination.put(path, request.stream(), content_length(request))
    except ApiError:
        await discard(request)
        raise
    if mounted(request, ctx.settings):
        return Response(codec.encode(EMPTY))
    return Response(content_type=None)


def content_length(request: Request) -> int | None:
    """The announced length of the body in bytes, None for a chunked one."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else None


async def discard(request: Request) -> None:
    """Take the rest of a body that is of no use.

    A client that is still sending when the connection closes never reads why. One that asked first
    (Expect: 100-continue) has not begun.
    """
    if "expect" not in request.headers:
        async for _ in request.stream():
            pass


async def download(request: Request, ctx: Context) -> Response:
    """GET /2.0/mlflow-artifacts/artifacts/{artifact_path}

    Ranges are honoured. Errors: RESOURCE_DOES_NOT_EXIST, 400 for a directory.
    """
    path = object_path(request)
    if mounted(request, ctx.settings):
        return await send(request, Place(ctx.artifacts.destination, path, path, proxied=True))
    try:
        file = await ctx.artifacts.destination.open(path)
    except IsDirectory:
        return detail(400, f"Artifact path refers to a directory, not a file: '{path}'")
    return await downloads.native(request, file, path)


async def head(request: Request, ctx: Context) -> Response:
    """HEAD /2.0/mlflow-artifacts/artifacts/{artifact_path}: as the page's downloads, without a body."""
    path = object_path(request)
    return await send(request, Place(ctx.artifacts.destination, path, path, proxied=True))


async def delete(request: Request, ctx: Context) -> Response:
    """DELETE /2.0/mlflow-artifacts/artifacts/{artifact_path}: a file, or a directory with all in it.

    A path that is not there is no error. We differ: the root itself, and what a link leads to
    outside of it, are refused.
    """
    path = object_path(request)
    await ctx.artifacts.destination.delete(path)
    return Response(codec.encode(EMPTY))


async def list_files(req: ListFiles, ctx: Context) -> Files | Response:
    """GET /2.0/mlflow-artifacts/artifacts: the names in a directory, sorted."""
    path = paths.safe(req.path) if req.path is not None else ""
    place = Place(ctx.artifacts.destination, path, "", proxied=True)
    files, rest = await listing(place)
    return streamed({}, files, rest) if rest else Files(files=files)


# artifacts of runs and logged models


async def list_artifacts(req: ListArtifacts, ctx: Context) -> Artifacts | Response:
    """GET /2.0/mlflow/artifacts/list. Errors: RESOURCE_DOES_NOT_EXIST (no such run)."""
    path = paths.safe(req.path) if req.path is not None else None
    root = await roots.of_run(req.run_id, ctx)
    return await list_below(root, path, ctx)


async def list_model_artifacts(req: ListModelArtifacts, ctx: Context) -> Artifacts | Response:
    """GET /2.0/mlflow/logged-models/{model_id}/artifacts/directories

    Errors: RESOURCE_DOES_NOT_EXIST (no such model).
    """
    given = req.artifact_directory_path
    path = paths.safe(given) if given is not None else None
    root = await roots.of_model(req.model_id or "", ctx)
    return await list_below(root, path, ctx)


async def list_below(root: str, path: str | None, ctx: Context) -> Artifacts | Response:
    """The names below an artifact root, each with the path that a client asks for it by."""
    files, rest = await listing(ctx.artifacts.place(root, path))
    if rest is None:
        return Artifacts(root_uri=root, files=files)
    return streamed({"root_uri": root}, files, rest)


async def listing(place: Place) -> tuple[list[FileInfo], AsyncIterator[list[FileInfo]] | None]:
    """The first names of a directory, and the further batches if there are any."""
    batches = _shown(place, place.store.listing(place.path))
    files: list[FileInfo] = await anext(batches, [])
    following = await anext(batches, None)
    if following is None:
        return files, None
    return files + following, batches


async def _shown(
    place: Place, batches: AsyncIterator[list[Entry]]
) -> AsyncIterator[list[FileInfo]]:
    async for batch in batches:
        yield [
            FileInfo(
                path=place.relative(entry.name), is_dir=entry.is_dir, file_size=entry.size or None
            )
            for entry in batch
        ]


def streamed(
    head: dict[str, str], files: list[FileInfo], rest: AsyncIterator[list[FileInfo]]
) -> Response:
    """A long listing, sent while it is read: the server never holds more than a batch of it."""

    async def chunks() -> AsyncIterator[bytes]:
        start = json.dumps(head)[:-1] + (", " if head else "") + '"files": '
        yield start.encode() + codec.encode(files)[:-1]
        async for batch in rest:
            if batch:
                yield b"," + codec.encode(batch)[1:-1]
        yield b"]}"

    return StreamingResponse(chunks())


async def get_artifact(request: Request, ctx: Context) -> Response:
    """GET /get-artifact?run_id=…&path=…: a run's artifact as a download.

    Errors: RESOURCE_DOES_NOT_EXIST (no such run, no such file).
    """
    query = first_values(request)
    if "path" not in query:
        return no_path()
    path = paths.safe(query["path"])
    root = await roots.of_run(query.get("run_id") or query.get("run_uuid") or "None", ctx)
    return await send(request, ctx.artifacts.place(root, path))


async def get_model_version_artifact(request: Request, ctx: Context) -> Response:
    """GET /model-versions/get-artifact?name=…&version=…&path=…

    Errors: RESOURCE_DOES_NOT_EXIST (no such version, no such file).
    """
    query = first_values(request)
    if "path" not in query:
        return no_path()
    path = paths.safe(query["path"])
    root = await roots.of_version(query.get("name"), query.get("version"), ctx)
    return await send(request, ctx.artifacts.place(root, path))


async def get_model_artifact(request: Request, ctx: Context) -> Response:
    """GET /ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files?artifact_file_path=…

    Errors: RESOURCE_DOES_NOT_EXIST (no such model, no such file).
    """
    path = first_values(request).get("artifact_file_path")
    if not path:
        raise ApiError(
            ErrorCode.BAD_REQUEST,
            'Request must include the "artifact_file_path" query parameter.',
        )
    path = paths.safe(path)
    root = await roots.of_model(request.path_args["model_id"], ctx)
    return await send(request, ctx.artifacts.place(root, path))


def first_values(request: Request) -> dict[str, str]:
    """The query parameters; of a repeated one the first value."""
    return {name: values[0] for name, values in request.query().items()}


def no_path() -> Response:
    """The answer to a download without `path`: a page, as people follow these links."""
    text = "The browser (or proxy) sent a request that this server could not understand."
    return html(400, "Bad Request", text)


async def send(request: Request, place: Place) -> Response:
    """A file as a download of the web page."""
    try:
        file: StoredFile = await place.store.open(place.path)
    except IsDirectory:
        raise invalid(f"Artifact path refers to a directory, not a file: '{place.shown}'") from None
    return await downloads.page(request, file, place.path)


async def upload_artifact(request: Request, ctx: Context) -> Response:
    """POST /ajax-api/2.0/mlflow/upload-artifact?run_uuid=…&path=…: a small file from the page.

    We differ: the file goes where the run keeps its artifacts, also where its experiment has a
    location of its own. Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (no such run).
    """
    query = first_values(request)
    for name in ("run_uuid", "path"):
        if not query.get(name):
            raise invalid(f"Request must specify {name}.")
    path = paths.safe(query["path"])
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
    place = ctx.artifacts.place(await roots.of_run(query["run_uuid"], ctx), path)
    await place.store.put(place.path, _once(data), len(data))
    return Response()


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
