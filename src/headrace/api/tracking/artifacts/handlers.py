"""Handlers of the artifact endpoints that answer with JSON. Client paths pass `paths.safe` first.

`headrace.artifacts` handles uploads and downloads of the files themselves.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator

from headrace.api.context import Context
from headrace.api.results import Chunks, encode
from headrace.api.tracking.artifacts import roots
from headrace.api.tracking.artifacts.rules import check_mutable
from headrace.api.tracking.artifacts.types import (
    Artifacts,
    FileInfo,
    Files,
    ListArtifacts,
    ListFiles,
    ListModelArtifacts,
    ObjectPath,
)
from headrace.contract.scalars import Empty
from headrace.storage import paths
from headrace.storage.base import Entry
from headrace.storage.locations import ArtifactPath

EMPTY = Empty()


async def delete(req: ObjectPath, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow-artifacts/artifacts/{artifact_path}: a file or a whole directory.

    A path that does not exist is not an error. We differ: the root itself, and the target of a link
    that leads outside the root, are rejected.
    """
    path = paths.of_object(req.artifact_path)
    check_mutable(path, ctx)
    path = ctx.artifacts.scoped(path)
    await ctx.artifacts.destination.delete(path)
    return EMPTY


async def list_files(req: ListFiles, ctx: Context) -> Files | Chunks:
    """GET /2.0/mlflow-artifacts/artifacts: the names in a directory, sorted."""
    path = ctx.artifacts.scoped(paths.safe(req.path) if req.path is not None else "")
    location = ArtifactPath(ctx.artifacts.destination, path, "", proxied=True)
    without_runs = ctx.access.hides("run") and roots.is_of_experiment(path)
    files, rest = await listing(location, without_runs=without_runs)
    return streamed({}, files, rest) if rest else Files(files=files)


# artifacts of runs and logged models


async def list_artifacts(req: ListArtifacts, ctx: Context) -> Artifacts | Chunks:
    """GET /2.0/mlflow/artifacts/list: one directory of a run's artifacts.

    Errors: RESOURCE_DOES_NOT_EXIST (no such run).
    """
    path = paths.safe(req.path) if req.path is not None else None
    root = await roots.of_run(req.run_id, ctx)
    return await list_below(root, path, ctx)


async def list_model_artifacts(req: ListModelArtifacts, ctx: Context) -> Artifacts | Chunks:
    """GET /2.0/mlflow/logged-models/{model_id}/artifacts/directories

    Errors: RESOURCE_DOES_NOT_EXIST (no such model).
    """
    given = req.artifact_directory_path
    path = paths.safe(given) if given is not None else None
    root = await roots.of_model(req.model_id or "", ctx)
    return await list_below(root, path, ctx)


async def list_below(root: str, path: str | None, ctx: Context) -> Artifacts | Chunks:
    """Return the entries below an artifact root, with the paths that clients request them by."""
    files, rest = await listing(ctx.artifacts.resolve(root, path))
    if rest is None:
        return Artifacts(root_uri=root, files=files)
    return streamed({"root_uri": root}, files, rest)


async def listing(
    location: ArtifactPath, *, without_runs: bool = False
) -> tuple[list[FileInfo], AsyncIterator[list[FileInfo]] | None]:
    """Return the first entries of a directory, and an iterator of the remaining batches or None.

    `without_runs` omits the directories that are named after runs.
    """
    batches = _shown(location, location.store.listing(location.path), without_runs)
    files: list[FileInfo] = await anext(batches, [])
    following = await anext(batches, None)
    if following is None:
        return files, None
    return files + following, batches


async def _shown(
    location: ArtifactPath, batches: AsyncIterator[list[Entry]], without_runs: bool
) -> AsyncIterator[list[FileInfo]]:
    async for batch in batches:
        yield [
            FileInfo(
                path=location.relative(entry.name),
                is_dir=entry.is_dir,
                file_size=entry.size or None,
            )
            for entry in batch
            if not (without_runs and roots.RUN_ID.fullmatch(entry.name))
        ]


def streamed(
    head: dict[str, str], files: list[FileInfo], rest: AsyncIterator[list[FileInfo]]
) -> Chunks:
    """Return a long listing that is sent while it is read; memory holds one batch at a time."""

    async def chunks() -> AsyncGenerator[bytes, None]:
        start = json.dumps(head)[:-1] + (", " if head else "") + '"files": '
        yield start.encode() + encode(files)[:-1]
        async for batch in rest:
            if batch:
                yield b"," + encode(batch)[1:-1]
        yield b"]}"

    return Chunks(chunks())
