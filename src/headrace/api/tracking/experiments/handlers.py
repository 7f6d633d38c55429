"""Handlers of the experiment endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

from functools import partial

from headrace import search
from headrace.api.context import Context
from headrace.api.nouns import ViewType
from headrace.api.pieces import MOST_OF_ONE, answer_in_pieces, long_page
from headrace.api.results import Chunks, Encoded, TooLong, encode
from headrace.api.tracking.experiments import location, pieces, sql, tag_rules, transactions
from headrace.api.tracking.experiments.types import (
    CreatedExperiment,
    CreateExperiment,
    DeleteExperimentTag,
    ExperimentAnswer,
    ExperimentId,
    ExperimentName,
    ExperimentPage,
    SearchExperiments,
    SetExperimentTag,
    UpdateExperiment,
)
from headrace.api.tracking.experiments.view import experiment, experiments
from headrace.api.tracking.runs import assessments_sql
from headrace.auth.locations import check_location
from headrace.contract import errors
from headrace.contract.clock import now_ms
from headrace.contract.errors import invalid
from headrace.contract.experiment_ids import parse_id
from headrace.contract.names import check_experiment_name
from headrace.contract.scalars import Empty
from headrace.db.errors import UniqueViolation
from headrace.db.sql import Sql


async def create(req: CreateExperiment, ctx: Context) -> CreatedExperiment:
    """POST /2.0/mlflow/experiments/create

    Errors: RESOURCE_ALREADY_EXISTS (an experiment, active or deleted, has the name), BAD_REQUEST (a
    duplicate tag; stock reports that the name is taken), INVALID_PARAMETER_VALUE (a location, on a
    server with workspaces, which chooses it).
    """
    tags = [(tag.key or "", tag.value or "") for tag in req.tags]
    tag_rules.check_views(key for key, _ in tags)
    roots = (ctx.settings.default_artifact_root, ctx.settings.artifacts_destination)
    if req.artifact_location and ctx.settings.enable_workspaces:
        raise invalid("artifact_location cannot be specified when workspaces are enabled")
    where = location.check(req.artifact_location, *roots) if req.artifact_location else None
    if where is not None:
        await check_location(ctx.access, where, "update", ctx.settings)
    check_experiment_name(req.name)
    for key, value in tags:
        tag_rules.check_tag(key, value)
    try:
        number = await ctx.db.write(
            transactions.create,
            ctx.access,
            req.name,
            where,
            ctx.new_experiments,
            now_ms(),
            tags,
        )
    except UniqueViolation as error:
        raise transactions.not_created(req.name, error) from error
    await ctx.finish(transactions.undo_create, number)
    return CreatedExperiment(experiment_id=str(number))


async def get(req: ExperimentId, ctx: Context) -> ExperimentAnswer | Chunks:
    """GET /2.0/mlflow/experiments/get

    Deleted experiments are returned too. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    number = parse_id(req.experiment_id)
    found = await _find(ctx, sql.BY_ID, number)
    if found is None:
        raise errors.experiment_not_found(number)
    return found


async def get_by_name(req: ExperimentName, ctx: Context) -> ExperimentAnswer | Chunks:
    """GET /2.0/mlflow/experiments/get-by-name

    Deleted experiments are returned too. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    found = await _find(ctx, sql.BY_NAME, req.experiment_name)
    if found is None:
        raise errors.not_found(f"Could not find experiment with name '{req.experiment_name}'")
    return found


async def _find(ctx: Context, statement: Sql, key: object) -> ExperimentAnswer | Chunks | None:
    try:
        found = await ctx.db.read_point(sql.find, statement, key, MOST_OF_ONE)
    except TooLong:
        parts = pieces.parts_by(ctx.db, statement, key, ctx.workspace)
        return Chunks(answer_in_pieces(b"experiment", parts))
    return ExperimentAnswer(experiment=experiment(*found, ctx.workspace)) if found else None


async def search_experiments(req: SearchExperiments, ctx: Context) -> Encoded | Chunks:
    """GET and POST /2.0/mlflow/experiments/search

    `max_results` is required in practice and must be 1 to 50,000. Cost: two statements for a page
    of any size that is read at once; identical searches that arrive at the same time share them.
    """
    page_of = partial(
        search.experiments_page,
        filter=req.filter,
        order_by=req.order_by,
        stages=(req.view_type or ViewType.ACTIVE_ONLY).stages,
        max_results=search.check_max_results(req.max_results or 0),
        page_token=req.page_token,
        dialect=ctx.db.dialect,
        readable=ctx.access.scope("experiment"),
    )
    key = ("experiments/search", encode(req), page_of.keywords["readable"])
    try:
        return await ctx.shared.get(key, partial(_small_page, ctx, page_of()))
    except TooLong:
        listing = pieces.listing(ctx.workspace)
        return await long_page(ctx.db, listing, page_of(columns=("experiment_id",)))


async def _small_page(ctx: Context, page: search.Page) -> Encoded:
    rows, tags, token = await ctx.db.read(sql.small_page, page)
    shown = ExperimentPage(
        experiments=experiments(rows, tags, ctx.workspace), next_page_token=token
    )
    return Encoded(encode(shown))


async def update(req: UpdateExperiment, ctx: Context) -> Empty:
    """POST /2.0/mlflow/experiments/update

    Errors: BAD_REQUEST (another experiment has the name), INVALID_STATE (the experiment is
    deleted).
    """
    check_experiment_name(req.new_name)
    await ctx.db.write(transactions.rename, parse_id(req.experiment_id), req.new_name)
    return Empty()


async def delete(req: ExperimentId, ctx: Context) -> Empty:
    """POST /2.0/mlflow/experiments/delete

    Marks the experiment and its active runs deleted, and deletes the assessments that its runs
    created. Errors: RESOURCE_DOES_NOT_EXIST (no such experiment, or already deleted).
    """
    number = parse_id(req.experiment_id)
    made = await ctx.db.read(assessments_sql.find, assessments_sql.OF_EXPERIMENT, number)
    await ctx.db.write(transactions.delete, number, made)
    return Empty()


async def restore(req: ExperimentId, ctx: Context) -> Empty:
    """POST /2.0/mlflow/experiments/restore

    Restores all runs of the experiment, including those that were deleted individually.
    Errors: RESOURCE_DOES_NOT_EXIST (no such experiment, or active).
    """
    await ctx.db.write(transactions.restore, parse_id(req.experiment_id))
    return Empty()


async def set_tag(req: SetExperimentTag, ctx: Context) -> Empty:
    """POST /2.0/mlflow/experiments/set-experiment-tag

    Errors: INVALID_PARAMETER_VALUE (the key or value is too long; the experiment is deleted; too
    many custom views).
    """
    value = req.value or ""
    if tag_rules.is_view(req.key):
        await ctx.db.write(transactions.set_view, parse_id(req.experiment_id), req.key, value)
    else:
        tag_rules.check_tag(req.key, value)
        await ctx.db.write(transactions.set_tag, parse_id(req.experiment_id), req.key, value)
    return Empty()


async def delete_tag(req: DeleteExperimentTag, ctx: Context) -> Empty:
    """POST /2.0/mlflow/experiments/delete-experiment-tag

    Errors: RESOURCE_DOES_NOT_EXIST (no such tag).
    """
    await ctx.db.write(transactions.delete_tag, parse_id(req.experiment_id), req.key)
    return Empty()
