"""Handlers of the run endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from headrace import search
from headrace.api.context import Context
from headrace.api.nouns import KeyValue, ViewType
from headrace.api.pieces import PageJson, first_rows, long_page, rest_of_page
from headrace.api.results import Chunks, Encoded, TooLong, encode
from headrace.api.tracking.runs import (
    assessments_sql,
    batch,
    packed,
    packed_sql,
    pieces,
    sql,
    transactions,
    view,
)
from headrace.api.tracking.runs import create as creation
from headrace.api.tracking.runs import update as updating
from headrace.api.tracking.runs.types import (
    CreateRun,
    DeleteTag,
    GetRun,
    LogBatch,
    LogMetric,
    LogParam,
    MetricIn,
    ParamIn,
    Run,
    RunAnswer,
    RunData,
    RunId,
    RunInfoAnswer,
    RunInputs,
    SearchRuns,
    SetTag,
    TagIn,
    UpdateRun,
)
from headrace.auth.access import Access
from headrace.auth.redactions import Hidden, hidden
from headrace.contract import errors
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, invalid
from headrace.contract.experiment_ids import parse_ids
from headrace.contract.limits import SEARCH_MAX_RESULTS_DEFAULT
from headrace.contract.scalars import Empty
from headrace.db.base import Row

EMPTY = Empty()


async def create(req: CreateRun, ctx: Context) -> RunAnswer:
    """POST /2.0/mlflow/runs/create

    Errors: RESOURCE_DOES_NOT_EXIST (no such experiment), INVALID_PARAMETER_VALUE (the experiment is
    deleted; run_name and the tag mlflow.runName differ).
    """
    new = creation.NewRun(req)
    await ctx.writer.submit(creation.KIND, new, new.cost_bytes())
    row = (
        new.run_id, new.experiment_id, new.name, new.user_id, "RUNNING", new.start_time, None,
        new.artifact_uri, "active",
    )  # fmt: skip
    data = RunData(tags=[KeyValue(key, value) for key, value in new.tags])
    return RunAnswer(Run(view.info(row), data, RunInputs()))


async def get(req: GetRun, ctx: Context) -> RunAnswer | Chunks:
    """GET /2.0/mlflow/runs/get

    Deleted runs are returned too. A run with a very large number of metrics, params or tags is read
    in pieces. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    found: tuple[Row, sql.Logged | None] | None = await ctx.runs.get(req.run_id)
    if found is None or found[0][8] is None:  # a row without a stage belongs to `headrace gc`
        raise errors.run_not_found(req.run_id)
    row, logged = found
    if logged is None:
        return Chunks(pieces.answer(ctx.db, req.run_id, hidden(ctx.access)))
    return RunAnswer(view.runs([row], logged, hidden(ctx.access))[0])


async def update(req: UpdateRun, ctx: Context) -> RunInfoAnswer:
    """POST /2.0/mlflow/runs/update

    A new name also sets the tag mlflow.runName. Errors: RESOURCE_DOES_NOT_EXIST (no such run),
    INVALID_PARAMETER_VALUE (the run is deleted).
    """
    change = updating.Change(req.run_id, req.status, req.end_time, req.run_name)
    row: Row = await ctx.writer.submit(updating.KIND, change)
    return RunInfoAnswer(view.info(row))


async def delete(req: RunId, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/delete

    Also deletes the assessments that the run created. Deleting a deleted run is not an error.
    Errors: RESOURCE_DOES_NOT_EXIST.
    """
    source = assessments_sql.source_run(req.run_id)
    made = await ctx.db.read(assessments_sql.find, assessments_sql.OF_RUN, source)
    await ctx.db.write(transactions.delete, req.run_id, now_ms(), made)
    return EMPTY


async def restore(req: RunId, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/restore

    Restoring an active run is not an error. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    await ctx.db.write(transactions.restore, req.run_id)
    return EMPTY


async def log_batch(req: LogBatch, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/log-batch

    Writes the whole batch or nothing. Errors: RESOURCE_DOES_NOT_EXIST (no such run),
    INVALID_PARAMETER_VALUE (the run is deleted; a param already has another value; a limit is
    exceeded), BAD_REQUEST (no such logged model). We differ: stock commits params, metrics and tags
    separately. Cost: one statement for a group of metrics, four more with params and tags.
    """
    new = batch.from_request(req)
    if new.points or new.params or new.tags:
        await ctx.writer.submit(batch.KIND, new, new.cost_bytes())
    else:
        await _check_active(ctx, new.run_id)
    return EMPTY


async def log_metric(req: LogMetric, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/log-metric

    Equivalent to a log-batch of one metric, with the same errors.
    """
    new = batch.Batch(req.run_id)
    metric = MetricIn(
        key=req.key,
        value=req.value,
        timestamp=req.timestamp,
        step=req.step,
        dataset_name=req.dataset_name,
        dataset_digest=req.dataset_digest,
        model_id=req.model_id,
    )
    new.add_points([metric], "")
    await ctx.writer.submit(batch.KIND, new, new.cost_bytes())
    return EMPTY


async def log_param(req: LogParam, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/log-parameter

    Equivalent to a log-batch of one param, with the same errors. Logging the same value again is
    not an error.
    """
    new = batch.Batch(req.run_id)
    new.single_param = True
    new.add_params([ParamIn(key=req.key, value=req.value)], "")
    await ctx.writer.submit(batch.KIND, new, new.cost_bytes())
    return EMPTY


async def set_tag(req: SetTag, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/set-tag

    Equivalent to a log-batch of one tag. Overwrites an existing value. The key mlflow.runName
    renames the run.
    """
    new = batch.Batch(req.run_id)
    new.add_tags([TagIn(key=req.key, value=req.value)], "")
    await ctx.writer.submit(batch.KIND, new, new.cost_bytes())
    return EMPTY


async def delete_tag(req: DeleteTag, ctx: Context) -> Empty:
    """POST /2.0/mlflow/runs/delete-tag

    Errors: RESOURCE_DOES_NOT_EXIST (no such run or tag), INVALID_PARAMETER_VALUE (the run is
    deleted).
    """
    await ctx.db.write(transactions.delete_tag, req.run_id, req.key)
    return EMPTY


async def _check_active(ctx: Context, run_id: str) -> None:
    await ctx.db.read_point(transactions.check_active, run_id)


async def search_runs(req: SearchRuns, ctx: Context) -> Encoded | Chunks:
    """POST /2.0/mlflow/runs/search

    Cost: one statement for the page and one for the data logged to each 100 runs (SQLite: five);
    identical searches that run at the same time (every open page polls) share them. A page larger
    than 2 MB is read in pieces.
    """
    limit = _page_size(req)
    ids, wrong_id = [], None
    try:
        ids = _readable(parse_ids(req.experiment_ids), ctx.access)
    except ApiError as error:  # raised only if the rest of the request is valid
        wrong_id = error
    page_of = partial(
        search.runs_page,
        experiment_ids=ids,
        filter=req.filter,
        order_by=req.order_by,
        stages=(req.run_view_type or ViewType.ACTIVE_ONLY).stages,
        max_results=limit,
        page_token=req.page_token,
        dialect=ctx.db.dialect,
    )
    page = page_of(columns=sql.COLUMNS)
    if wrong_id:
        raise wrong_id
    if not ids:
        return Encoded(b"{}")
    withheld = hidden(ctx.access)
    key = ("runs/search", encode(req), tuple(ids), withheld)
    try:
        return await ctx.shared.get(key, partial(_small_page, ctx, page, withheld))
    except TooLong as long:
        if (begun := long.beginning) is not None:
            return rest_of_page(ctx.db, pieces.listing(withheld), begun)
        return await long_page(ctx.db, pieces.listing(withheld), page_of(columns=("run_uuid",)))


def _page_size(req: SearchRuns) -> int:
    limit = SEARCH_MAX_RESULTS_DEFAULT if req.max_results is None else req.max_results
    if limit < 1:
        raise invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. "
            "It must be a positive integer"
        )
    return limit


def _readable(ids: list[int], access: Access) -> list[int]:
    """Return the experiments of a search in which the caller may read the runs."""
    if access.hides("run"):
        return []
    scope = access.scope("experiment")
    return ids if scope is None else [number for number in ids if scope.admits(str(number))]


async def _small_page(ctx: Context, page: search.Page, withheld: Hidden) -> Encoded:
    rows, token = await ctx.db.read(first_rows, page)
    found = {row[0]: row for row in rows}
    answer = PageJson(pieces.listing(withheld), list(found), token)
    while run_ids := answer.remaining():
        some = [found[run_id] for run_id in run_ids]
        try:
            shown = await _shown(ctx, some, withheld)
        except TooLong:
            break
        answer.add(shown)
    else:
        return answer.answer()
    # Outside the block: otherwise this error would refer to the caught one and keep its rows in
    # memory.
    raise TooLong(answer.beginning())


async def _shown(ctx: Context, rows: Sequence[Row], withheld: Hidden) -> Sequence[Struct]:
    """Return runs for an answer, with the data logged to them. Raises `TooLong`."""
    run_ids = [row[0] for row in rows]
    found = await ctx.db.read_by_keys(packed_sql.read, run_ids)
    if isinstance(found, packed_sql.Packed):
        try:
            return packed.runs(rows, found, withheld)
        except packed.Ambiguous:
            found = await ctx.db.read_by_keys(packed_sql.read_rows, run_ids)
    return view.runs(rows, found, withheld)
