"""Handlers of the logged model endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final
from uuid import uuid4

from headrace import search
from headrace.api.context import Context
from headrace.api.nouns import Tag
from headrace.api.pieces import MOST_OF_ONE, answer_in_pieces, long_page
from headrace.api.results import Chunks, TooLong
from headrace.api.tracking.experiments import sql as experiments_sql
from headrace.api.tracking.logged_models import pieces, sql
from headrace.api.tracking.logged_models.sql import Logged, ModelRow
from headrace.api.tracking.logged_models.types import (
    STATUSES,
    CreateLoggedModel,
    DeleteLoggedModelTag,
    FinalizeLoggedModel,
    GetLoggedModel,
    LoggedModelAnswer,
    LoggedModelId,
    LoggedModelPage,
    LoggedModelStatus,
    LogParams,
    SearchLoggedModels,
    SetLoggedModelTags,
)
from headrace.api.tracking.logged_models.view import models
from headrace.api.tracking.runs.random_name import random_name
from headrace.auth.access import NOTHING
from headrace.auth.redactions import NOTHING_HIDDEN, hidden
from headrace.contract import errors
from headrace.contract.artifact_uri import append_path
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found
from headrace.contract.experiment_ids import not_active, parse_id
from headrace.contract.limits import SEARCH_LOGGED_MODELS_DEFAULT
from headrace.contract.scalars import Empty
from headrace.db.base import Schema, Tx

EMPTY = Empty()
BAD_CHARACTERS: Final = ("/", ":", ".", "%", '"', "'")
PENDING: Final = STATUSES.index(LoggedModelStatus.LOGGED_MODEL_PENDING)


def check_served(schema: Schema) -> None:
    """Raise NOT_IMPLEMENTED if the database's schema is older than logged models (MLflow 3.0)."""
    if not schema.has("logged_models"):
        raise ApiError(
            ErrorCode.NOT_IMPLEMENTED,
            f"This database has no logged models: its schema ({schema.head}) is older than "
            "MLflow 3.0. To add them, stop all servers and run: mlflow db upgrade <database URI>",
        )


def model_not_found(model_id: str) -> ApiError:
    """Return the error for a logged model that does not exist or is deleted."""
    return not_found(f"Logged model with ID '{model_id}' not found.")


def check_name(name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE unless a logged model may have this name."""
    if any(character in name for character in BAD_CHARACTERS):
        raise invalid(
            f"Invalid model name ({name!r}) provided. Model name must be a non-empty string and "
            f"cannot contain the following characters: {BAD_CHARACTERS}"
        )


async def _existing(tx: Tx, model_id: str) -> ModelRow:
    row = await sql.row_of(tx, model_id)
    if row is None:
        raise model_not_found(model_id)
    return row


def _pairs(tags: Sequence[Tag]) -> list[tuple[str, str]]:
    return [(tag.key or "", tag.value or "") for tag in tags]


async def _create(
    tx: Tx, experiment_id: int, req: CreateLoggedModel, name: str
) -> LoggedModelAnswer:
    experiment = await experiments_sql.row_of(tx, experiments_sql.BY_ID, experiment_id)
    if experiment is None:
        raise errors.experiment_not_found(experiment_id)
    if experiment.lifecycle_stage != "active":
        raise not_active(experiment_id, experiment.lifecycle_stage)
    model_id = f"m-{uuid4().hex}"
    location = append_path(experiment.artifact_location or "", "models", model_id, "artifacts")
    now, kind, run = now_ms(), req.model_type or "", req.source_run_id or ""
    await tx.execute(sql.INSERT, model_id, experiment_id, name, location, now, PENDING, kind, run)
    params, tags = _pairs(req.params), _pairs(req.tags)
    if params:
        await tx.executemany(sql.INSERT_PARAM, [(model_id, experiment_id, *one) for one in params])
    if tags:
        await tx.executemany(sql.INSERT_TAG, [(model_id, experiment_id, *one) for one in tags])
    row = ModelRow(
        model_id, experiment_id, name, location, now, now, PENDING, "active", kind, run, None
    )
    logged = Logged([(model_id, *one) for one in params], [(model_id, *one) for one in tags], [])
    # The caller may read the run that the request names.
    return LoggedModelAnswer(models([row], logged, NOTHING_HIDDEN)[0])


async def create(req: CreateLoggedModel, ctx: Context) -> LoggedModelAnswer:
    """POST /2.0/mlflow/logged-models

    Errors: INVALID_PARAMETER_VALUE (invalid name, deleted experiment), RESOURCE_DOES_NOT_EXIST (no
    such experiment), BAD_REQUEST (a duplicate param or tag).
    """
    check_served(ctx.db.schema)
    check_name(req.name or "")
    name = req.name or random_name()
    return await ctx.db.write(_create, parse_id(req.experiment_id), req, name)


async def get(req: GetLoggedModel, ctx: Context) -> LoggedModelAnswer | Chunks:
    """GET /2.0/mlflow/logged-models/{model_id}

    Errors: RESOURCE_DOES_NOT_EXIST (no such model, or deleted without `allow_deleted=true`).
    """
    check_served(ctx.db.schema)
    model_id = req.model_id or ""
    with_deleted = (req.allow_deleted or "").lower() == "true"
    try:
        found = await ctx.db.read_point(sql.find, model_id, MOST_OF_ONE)
    except TooLong:
        model = await ctx.db.read_point(sql.row_of, model_id)
        if model is None or (model.lifecycle_stage == "deleted" and not with_deleted):
            raise model_not_found(model_id) from None
        return Chunks(
            answer_in_pieces(b"model", pieces.parts(hidden(ctx.access), ctx.db, model_id))
        )
    if found is None or (found[0].lifecycle_stage == "deleted" and not with_deleted):
        raise model_not_found(model_id)
    row, logged = found
    return LoggedModelAnswer(models([row], logged, hidden(ctx.access))[0])


async def _finalize(tx: Tx, model_id: str, status: int) -> tuple[ModelRow, Logged]:
    if not await tx.execute(sql.SET_STATUS, model_id, status, now_ms()):
        raise model_not_found(model_id)
    return await _existing(tx, model_id), await sql.logged(tx, [model_id])


async def finalize(req: FinalizeLoggedModel, ctx: Context) -> LoggedModelAnswer:
    """PATCH /2.0/mlflow/logged-models/{model_id}

    As in MLflow 3.18, the path names the model. Deleted models are finalized too. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx.db.schema)
    row, logged = await ctx.db.write(_finalize, req.model_id, STATUSES.index(req.status))
    return LoggedModelAnswer(models([row], logged, hidden(ctx.access))[0])


async def _delete(tx: Tx, model_id: str) -> None:
    if not await tx.execute(sql.DELETE, model_id, now_ms()):
        raise model_not_found(model_id)


async def delete(req: LoggedModelId, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/logged-models/{model_id}

    Marks the model deleted. Deleting it again is not an error. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx.db.schema)
    await ctx.db.write(_delete, req.model_id or "")
    return EMPTY


async def _log_params(tx: Tx, model_id: str, params: Sequence[tuple[str, str]]) -> None:
    experiment_id = (await _existing(tx, model_id)).experiment_id
    if params:
        rows = [(model_id, experiment_id, key, value) for key, value in params]
        await tx.executemany(sql.INSERT_PARAM, rows)


async def log_params(req: LogParams, ctx: Context) -> Empty:
    """POST /2.0/mlflow/logged-models/{model_id}/params

    Errors: RESOURCE_DOES_NOT_EXIST (no such model), BAD_REQUEST (a param that exists already).
    """
    check_served(ctx.db.schema)
    await ctx.db.write(_log_params, req.model_id, _pairs(req.params))
    return EMPTY


async def _set_tags(tx: Tx, model_id: str, tags: dict[str, str]) -> None:
    experiment_id = (await _existing(tx, model_id)).experiment_id
    if tags:
        # Sorted, so that concurrent requests cannot deadlock.
        rows = [(model_id, experiment_id, key, value) for key, value in sorted(tags.items())]
        await tx.executemany(sql.UPSERT_TAG, rows)


async def set_tags(req: SetLoggedModelTags, ctx: Context) -> Empty:
    """PATCH /2.0/mlflow/logged-models/{model_id}/tags

    If a key is given more than once, the last value is stored. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    check_served(ctx.db.schema)
    await ctx.db.write(_set_tags, req.model_id or "", dict(_pairs(req.tags)))
    return EMPTY


async def _delete_tag(tx: Tx, model_id: str, key: str) -> None:
    await _existing(tx, model_id)
    if not await tx.execute(sql.DELETE_TAG, model_id, key):
        raise not_found(f"No tag with key {key!r} found for model with ID {model_id!r}.")


async def delete_tag(req: DeleteLoggedModelTag, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/logged-models/{model_id}/tags/{tag_key}

    Errors: RESOURCE_DOES_NOT_EXIST (no such model or tag).
    """
    check_served(ctx.db.schema)
    await ctx.db.write(_delete_tag, req.model_id or "", req.tag_key or "")
    return EMPTY


async def search_models(req: SearchLoggedModels, ctx: Context) -> LoggedModelPage | Chunks:
    """POST /2.0/mlflow/logged-models/search

    Cost: four statements for a page of any size that is read at once.
    """
    check_served(ctx.db.schema)
    access = ctx.access
    page_of = partial(
        search.logged_models_page,
        experiment_ids=req.experiment_ids,
        filter=req.filter,
        datasets=[
            search.ModelDataset(one.dataset_name or "", one.dataset_digest or None)
            for one in req.datasets
        ],
        order_by=[
            search.ModelSort(
                one.field_name or "",
                one.ascending,
                one.dataset_name or None,
                one.dataset_digest or None,
            )
            for one in req.order_by
        ],
        max_results=req.max_results or SEARCH_LOGGED_MODELS_DEFAULT,
        page_token=req.page_token,
        dialect=ctx.db.dialect,
        readable=NOTHING if access.hides("logged_model") else access.scope("experiment"),
    )
    try:
        rows, logged, token = await ctx.db.read(sql.small_page, page_of(columns=sql.COLUMNS))
    except TooLong:
        listing = pieces.listing(hidden(ctx.access))
        return await long_page(ctx.db, listing, page_of(columns=("model_id",)))
    shown = models(rows, logged, hidden(ctx.access))
    return LoggedModelPage(models=shown, next_page_token=token)
