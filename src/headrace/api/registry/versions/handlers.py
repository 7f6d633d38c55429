"""Handlers of the model version endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

import asyncio
from functools import partial

from headrace import search
from headrace.api.context import Context
from headrace.api.pieces import MOST_OF_ONE, answer_in_pieces, long_page
from headrace.api.registry.models import sql as models_sql
from headrace.api.registry.versions import create as creation
from headrace.api.registry.versions import pieces, sql
from headrace.api.registry.versions import source as sources
from headrace.api.registry.versions.lookup import (
    ACTIVE_STAGES,
    existing_version,
    parse_version,
    stage_of,
    whole_version,
)
from headrace.api.registry.versions.sql import Whole
from headrace.api.registry.versions.types import (
    CreateModelVersion,
    DeleteModelVersionTag,
    DownloadUri,
    DownloadUriKey,
    ModelVersionAnswer,
    ModelVersionKey,
    ModelVersions,
    SearchModelVersions,
    SetModelVersionTag,
    TransitionStage,
    UpdateModelVersion,
)
from headrace.api.registry.versions.view import model_version
from headrace.api.registry.webhooks import events
from headrace.api.results import Chunks, TooLong
from headrace.auth.access import NOTHING, Access
from headrace.auth.locations import check_apart, check_location
from headrace.auth.redactions import hidden
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode, invalid
from headrace.contract.limits import SEARCH_MAX_MODEL_VERSIONS
from headrace.contract.names import check_model_name, check_name
from headrace.contract.scalars import Empty
from headrace.db import workspaces_sql
from headrace.db.base import Tx
from headrace.db.errors import UniqueViolation

EMPTY = Empty()
CREATE_ATTEMPTS = 5  # a stock server on the same database may take the number first


def key_of(name: str, version: str) -> tuple[str, int]:
    """The name and version number of a request. Raises INVALID_PARAMETER_VALUE."""
    check_model_name(name)
    return name, parse_version(version)


async def create(req: CreateModelVersion, ctx: Context) -> ModelVersionAnswer:
    """POST /2.0/mlflow/model-versions/create

    Errors: INVALID_PARAMETER_VALUE (source), RESOURCE_DOES_NOT_EXIST (model, version, logged
    model).
    """
    sources.check_pattern(req.source)
    new = creation.NewVersion(req)
    if new.is_prompt:
        sources.check_prompt(req.source)
    roots = (ctx.settings.default_artifact_root, ctx.settings.artifacts_destination)
    sources.check_scheme(req.source, *roots)
    if not new.is_prompt:
        await ctx.db.read(creation.resolve, new, req)
        # In a thread, because local paths are resolved on disk, which may be slow.
        await asyncio.to_thread(
            sources.check_contained, new.source, new.run_id or "", new.model_id, new.root
        )
        await check_location(ctx.access, new.source, "read", ctx.settings)
        if ctx.settings.enable_workspaces and not sources.needs_root(new.source):
            roots_of_workspaces = await ctx.db.read(workspaces_sql.roots)
            check_apart(new.source, ctx.workspace, ctx.settings, roots_of_workspaces)
    # The run id for webhooks, saved before `insert` fills in the run of a logged model.
    run_id = new.run_id or ""
    made = await insert(new, ctx)
    events.version_created(
        ctx, new.name, str(made.row.version), new.source, run_id, new.tags, new.description or ""
    )
    return ModelVersionAnswer(model_version=model_version(made, hidden(ctx.access)))


async def insert(new: creation.NewVersion, ctx: Context) -> Whole:
    """Create a version under the next number. Errors: as for `create`."""
    new.check()
    for attempt in range(CREATE_ATTEMPTS):
        try:
            return await ctx.db.write(creation.insert, new, now_ms())
        except UniqueViolation as error:
            if attempt == CREATE_ATTEMPTS - 1 or error.table != "model_versions":
                raise
    raise AssertionError("unreachable")


async def get(req: ModelVersionKey, ctx: Context) -> ModelVersionAnswer | Chunks:
    """GET /2.0/mlflow/model-versions/get

    Errors: RESOURCE_DOES_NOT_EXIST (missing or deleted). Cost: three statements.
    """
    key = key_of(req.name, req.version)
    try:
        found = await ctx.db.read_point(whole_version, *key, MOST_OF_ONE)
    except TooLong:
        parts = pieces.parts(hidden(ctx.access), ctx.db, key)
        return Chunks(answer_in_pieces(b"model_version", parts))
    return ModelVersionAnswer(model_version=model_version(found, hidden(ctx.access)))


async def get_download_uri(req: DownloadUriKey, ctx: Context) -> DownloadUri:
    """GET /2.0/mlflow/model-versions/get-download-uri

    Errors: RESOURCE_DOES_NOT_EXIST.
    """
    row = await ctx.db.read_point(existing_version, *key_of(req.name or "", req.version or ""))
    return DownloadUri(artifact_uri=row.files or "")


async def search_versions(req: SearchModelVersions, ctx: Context) -> ModelVersions | Chunks:
    """GET /2.0/mlflow/model-versions/search

    Prompts are omitted unless the filter asks for them. Cost: two statements for a page of any
    size.
    """
    limit = SEARCH_MAX_MODEL_VERSIONS if req.max_results is None else req.max_results
    if limit < 1:
        raise invalid(
            f"Invalid value for max_results. It must be a positive integer, but got {limit}"
        )
    page_of = partial(
        search.model_versions_page,
        filter=req.filter,
        order_by=req.order_by,
        max_results=limit,
        page_token=req.page_token,
        dialect=ctx.db.dialect,
        has_workspaces=models_sql.has_workspaces(ctx.db.schema),
        readable=_readable(ctx.access),
    )
    listing = pieces.listing(hidden(ctx.access))
    try:
        found, token = await ctx.db.read(sql.small_page, page_of(columns=sql.COLUMNS))
    except TooLong:
        return await long_page(ctx.db, listing, page_of(columns=("name", "version")))
    return ModelVersions(model_versions=listing.show(found), next_page_token=token)


def _readable(access: Access) -> search.Scopes:
    """The models and the prompts whose versions the caller may list."""
    return (
        NOTHING if access.hides("registered_model_version") else access.scope("registered_model"),
        NOTHING if access.hides("prompt_version") else access.scope("prompt"),
    )


async def describe(tx: Tx, name: str, number: int, description: str | None) -> Whole:
    """Set a version's description and return the version. Raises RESOURCE_DOES_NOT_EXIST."""
    await existing_version(tx, name, number)
    await tx.execute(sql.DESCRIBE.of(tx), name, number, description, now_ms())
    return await whole_version(tx, name, number)


async def update(req: UpdateModelVersion, ctx: Context) -> ModelVersionAnswer:
    """PATCH /2.0/mlflow/model-versions/update

    A request without a description removes the old one. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    found = await ctx.db.write(describe, *key_of(req.name, req.version), req.description)
    return ModelVersionAnswer(model_version=model_version(found, hidden(ctx.access)))


async def _transition(tx: Tx, name: str, number: int, stage: str, archive: bool) -> Whole:
    now = now_ms()
    # The model's row first, as in `create`: transactions that lock both rows use the same order.
    await tx.execute(models_sql.TOUCH.of(tx), name, now)
    await existing_version(tx, name, number)
    if archive:
        await tx.execute(sql.ARCHIVE_OTHERS.of(tx), name, number, stage, now)
    await tx.execute(sql.SET_STAGE.of(tx), name, number, stage, now)
    return await whole_version(tx, name, number)


async def transition_stage(req: TransitionStage, ctx: Context) -> ModelVersionAnswer:
    """POST /2.0/mlflow/model-versions/transition-stage

    Errors: INVALID_PARAMETER_VALUE (stage), RESOURCE_DOES_NOT_EXIST.
    """
    found = await transitioned(req, ctx)
    return ModelVersionAnswer(model_version=model_version(found, hidden(ctx.access)))


async def transitioned(req: TransitionStage, ctx: Context) -> Whole:
    """Move a version to a stage and return it. Errors: as for `transition_stage`."""
    stage = stage_of(req.stage)
    archive = bool(req.archive_existing_versions)
    if archive and stage not in ACTIVE_STAGES:
        raise ApiError(
            ErrorCode.INTERNAL_ERROR,
            "Model version transition cannot archive existing model versions because "
            f"'{req.stage}' is not an Active stage. Valid stages are {list(ACTIVE_STAGES)}",
        )
    return await ctx.db.write(_transition, *key_of(req.name, req.version), stage, archive)


async def _delete(tx: Tx, name: str, number: int) -> None:
    now = now_ms()
    await tx.execute(models_sql.TOUCH.of(tx), name, now)
    await existing_version(tx, name, number)
    await tx.execute(models_sql.DELETE_ALIASES_OF_VERSION.of(tx), name, number)
    await tx.execute(sql.DELETE.of(tx), name, number, now)


async def delete(req: ModelVersionKey, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/model-versions/delete

    The row is kept, without its source, so that the number is never reused. Errors:
    RESOURCE_DOES_NOT_EXIST.
    """
    await ctx.db.write(_delete, *key_of(req.name, req.version))
    return EMPTY


async def _set_tag(tx: Tx, name: str, number: int, key: str, value: str) -> None:
    await existing_version(tx, name, number)
    await tx.execute(sql.UPSERT_TAG.of(tx), name, number, key, value)


async def set_tag(req: SetModelVersionTag, ctx: Context) -> Empty:
    """POST /2.0/mlflow/model-versions/set-tag

    Errors: INVALID_PARAMETER_VALUE (key, value), RESOURCE_DOES_NOT_EXIST.
    """
    key = key_of(req.name, req.version)
    creation.check_version_tag(req.key, req.value or "")
    await ctx.db.write(_set_tag, *key, req.key, req.value or "")
    events.version_tag_set(ctx, req.name, req.version, req.key, req.value or "")
    return EMPTY


async def _delete_tag(tx: Tx, name: str, number: int, key: str) -> None:
    await existing_version(tx, name, number)
    await tx.execute(sql.DELETE_TAG.of(tx), name, number, key)


async def delete_tag(req: DeleteModelVersionTag, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/model-versions/delete-tag

    A tag that does not exist is not an error. Errors: RESOURCE_DOES_NOT_EXIST (version).
    """
    key = key_of(req.name, req.version)
    check_name(req.key, "key")
    await ctx.db.write(_delete_tag, *key, req.key)
    events.version_tag_deleted(ctx, req.name, req.version, req.key)
    return EMPTY
