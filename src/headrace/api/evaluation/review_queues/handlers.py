"""Handlers of review queues and their items. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from headrace import search
from headrace.api.context import Context
from headrace.api.evaluation.label_schemas.transactions import check_experiment
from headrace.api.evaluation.review_queues import rules, sql, transactions
from headrace.api.evaluation.review_queues.types import (
    AddItems,
    CreateReviewQueue,
    GetOrCreateUserQueue,
    ItemAnswer,
    ItemList,
    ItemPage,
    ListItems,
    ListReviewQueues,
    RemoveItems,
    ReviewItemType,
    ReviewQueue,
    ReviewQueueAnswer,
    ReviewQueueId,
    ReviewQueueItem,
    ReviewQueueName,
    ReviewQueuePage,
    ReviewQueueType,
    ReviewStatus,
    SetItemStatus,
    UpdateReviewQueue,
)
from headrace.api.pieces import FEW_ITEMS, Listing, keys_of, pieces
from headrace.api.results import Chunks
from headrace.auth import users
from headrace.auth.rules import every, needs
from headrace.contract.errors import invalid
from headrace.contract.experiment_ids import parse_id
from headrace.contract.limits import SEARCH_MAX_RESULTS_DEFAULT
from headrace.contract.scalars import Empty
from headrace.db.base import Tx
from headrace.db.errors import UniqueViolation
from headrace.search import Page

USERS_PER_READ: Final = 1000
NOBODY: Final = ""  # no queue is assigned to this user
# Who sees every queue of an experiment in lists, and who sees those of which they are members.
SEES_ALL: Final = needs(every("review_queue", "update", "experiment", "experiment_id"))
SEES_OWN: Final = needs(every("review_queue", "read", "experiment", "experiment_id"))


def _show(found: sql.Found) -> list[ReviewQueue]:
    members: dict[str, list[str]] = {}
    schema_ids: dict[str, list[str]] = {}
    for of_queue, rows in ((members, found.users), (schema_ids, found.schema_ids)):
        for queue_id, value in rows:
            of_queue.setdefault(queue_id, []).append(value)
    return [
        ReviewQueue(
            queue_id=row.queue_id,
            experiment_id=str(row.experiment_id),
            name=row.name,
            queue_type=ReviewQueueType(row.queue_type.upper()),
            created_by=row.created_by,
            creation_time_ms=row.creation_time_ms,
            last_update_time_ms=row.last_update_time_ms,
            users=members.get(row.queue_id, []),
            schema_ids=schema_ids.get(row.queue_id, []),
        )
        for row in found.rows
    ]


def _answer(found: sql.Found) -> ReviewQueueAnswer:
    return ReviewQueueAnswer(review_queue=_show(found)[0])


def _show_items(rows: Iterable[sql.ItemRow]) -> list[ReviewQueueItem]:
    return [
        ReviewQueueItem(
            queue_id=row.queue_id,
            item_type=ReviewItemType(row.item_type.upper()),
            item_id=row.item_id,
            status=ReviewStatus(row.status.upper()),
            completed_by=row.completed_by,
            completed_time_ms=row.completed_time_ms,
            creation_time_ms=row.creation_time_ms,
            last_update_time_ms=row.last_update_time_ms,
        )
        for row in rows
    ]


QUEUES: Final[Listing[str]] = Listing(
    b"review_queues", sql.weigh, sql.read, _show, always_token=True
)


async def create(req: CreateReviewQueue, ctx: Context) -> ReviewQueueAnswer:
    """POST /3.0/mlflow/review-queues/create

    Creates a queue. With users, the caller owns it. Errors: INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST (no active experiment), RESOURCE_ALREADY_EXISTS (the name).
    """
    sql.check_served(ctx.db.schema)
    if req.queue_type is ReviewQueueType.CUSTOM:
        await _check_no_user(req.name, ctx, "use a username as its name")
    new = rules.queue(req.queue_type, req.name, req.users, req.schema_ids)
    about = (parse_id(req.experiment_id), new, ctx.access.username)
    try:
        return _answer(await ctx.db.write(transactions.create, *about))
    except UniqueViolation as error:
        if error.table != "review_queues":
            raise
        raise rules.name_taken(new.name) from error


async def _check_no_user(name: str, ctx: Context, what: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for the name of a user, whose own queue has this name."""
    wanted, after = rules.user_of(name), 0
    if ctx.access.username is None or not wanted:
        return
    while found := await ctx.accounts.db.read(users.page, after, USERS_PER_READ):
        for user in found:
            if rules.user_of(user.username) == wanted:
                raise invalid(
                    f"'{user.username}' is a registered user. A custom review queue cannot {what}; "
                    "assign that user to a queue instead."
                )
        after = found[-1].id


async def get_or_create_user(req: GetOrCreateUserQueue, ctx: Context) -> ReviewQueueAnswer:
    """POST /3.0/mlflow/review-queues/get-or-create-user

    The queue of a user, who owns it. Errors: INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST (no
    active experiment), RESOURCE_ALREADY_EXISTS (a custom queue has the name).
    """
    sql.check_served(ctx.db.schema)
    new = rules.user_queue(req.user)
    about = (parse_id(req.experiment_id), new)
    try:
        return _answer(await ctx.db.write(transactions.get_or_create, *about))
    except UniqueViolation as error:
        if error.table != "review_queues":
            raise
    # Another request has just created it.
    return _answer(await ctx.db.write(transactions.get_or_create, *about))


async def get(req: ReviewQueueId, ctx: Context) -> ReviewQueueAnswer:
    """GET /3.0/mlflow/review-queues/get

    A queue by its id. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    sql.check_served(ctx.db.schema)
    return _answer(await ctx.db.read_point(transactions.get, req.queue_id))


async def get_by_name(req: ReviewQueueName, ctx: Context) -> ReviewQueueAnswer:
    """GET /3.0/mlflow/review-queues/get-by-name

    A queue by its name in any case. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    sql.check_served(ctx.db.schema)
    about = (parse_id(req.experiment_id), req.name, req.experiment_id)
    return _answer(await ctx.db.read_point(transactions.get_by_name, *about))


def _limit(max_results: int | None) -> int:
    return search.check_page_size(
        SEARCH_MAX_RESULTS_DEFAULT if max_results is None else max_results
    )


async def list_queues(req: ListReviewQueues, ctx: Context) -> ReviewQueuePage | Chunks:
    """GET /3.0/mlflow/review-queues/list

    The queues of an experiment, the newest first; with users, those that the caller may edit or is
    a member of. Errors:
    RESOURCE_DOES_NOT_EXIST (no active experiment), INVALID_PARAMETER_VALUE.
    """
    sql.check_served(ctx.db.schema)
    limit, number = _limit(req.max_results), parse_id(req.experiment_id)
    offset = search.offset_of(req.page_token)
    members = [] if req.user is None else [rules.user_of(req.user)]
    if not await ctx.access.permits(SEES_ALL, req):
        sees_own = await ctx.access.permits(SEES_OWN, req)
        members.append(rules.user_of(ctx.access.username or "") if sees_own else NOBODY)
    page = sql.page(number, members, req.item_id, limit, offset, ctx.db.dialect)
    keys, token = await ctx.db.read(_keys, number, page)
    return Chunks(pieces(ctx.db, QUEUES, keys, token))


async def _keys(tx: Tx, experiment_id: int, page: Page) -> tuple[list[str], str | None]:
    await check_experiment(tx, experiment_id)
    return await keys_of(tx, page)


async def update(req: UpdateReviewQueue, ctx: Context) -> ReviewQueueAnswer:
    """POST /3.0/mlflow/review-queues/update

    Changes the fields that are given. Errors: RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE (the
    queue of a user; questions of a queue that has items), RESOURCE_ALREADY_EXISTS (the name).
    """
    sql.check_served(ctx.db.schema)
    if req.name is not None and ctx.access.username is not None:
        found = await ctx.db.read_point(transactions.get, req.queue_id)
        if found.rows[0].queue_type == "custom":
            await _check_no_user(req.name, ctx, "be renamed to a username")
    changes = transactions.Changes(
        req.users if req.update_users else None,
        req.schema_ids if req.update_schema_ids else None,
        req.name,
        req.new_owner,
    )
    try:
        return _answer(await ctx.db.write(transactions.update, req.queue_id, changes))
    except UniqueViolation as error:
        if error.table != "review_queues":
            raise
        raise rules.name_taken((req.name or "").strip()) from error


async def delete(req: ReviewQueueId, ctx: Context) -> Empty:
    """POST /3.0/mlflow/review-queues/delete

    Deletes a queue with its items. Deleting it again is no error.
    """
    sql.check_served(ctx.db.schema)
    await ctx.db.write(transactions.delete, req.queue_id)
    return Empty()


def _items_of(queue_id: str, *, always_token: bool) -> Listing[str]:
    read = partial(sql.items, queue_id=queue_id)
    return Listing(b"items", sql.weigh_items, read, _show_items, always_token=always_token)


async def add_items(req: AddItems, ctx: Context) -> ItemList | Chunks:
    """POST /3.0/mlflow/review-queues/items/add

    Adds traces to a queue; those that it has already stay as they are. Errors: RESOURCE_DOES_NOT_EXIST (the queue, a
    trace of its experiment), INVALID_PARAMETER_VALUE.
    """
    sql.check_served(ctx.db.schema)
    ids = rules.item_ids_of(req.item_ids)
    await ctx.db.write(transactions.add_items, req.queue_id, ids, "trace")
    if len(ids) > FEW_ITEMS:
        return Chunks(pieces(ctx.db, _items_of(req.queue_id, always_token=False), ids, None))
    return ItemList(items=_show_items(await ctx.db.read(sql.items, ids, req.queue_id)))


async def remove_items(req: RemoveItems, ctx: Context) -> Empty:
    """POST /3.0/mlflow/review-queues/items/remove

    Removes items from a queue; those that it does not have are no error. Errors: RESOURCE_DOES_NOT_EXIST (the queue).
    """
    sql.check_served(ctx.db.schema)
    ids = rules.item_ids_of(req.item_ids)
    await ctx.db.write(transactions.remove_items, req.queue_id, ids)
    return Empty()


async def list_items(req: ListItems, ctx: Context) -> ItemPage | Chunks:
    """GET /3.0/mlflow/review-queues/items/list

    The items of a queue, the newest first. Errors: RESOURCE_DOES_NOT_EXIST (the queue), INVALID_PARAMETER_VALUE.
    """
    sql.check_served(ctx.db.schema)
    limit, offset = _limit(req.max_results), search.offset_of(req.page_token)
    status = None
    if req.status not in (None, ReviewStatus.REVIEW_STATUS_UNSPECIFIED):
        status = rules.status_of(req.status)
    page = sql.items_page(req.queue_id, status, limit, offset, ctx.db.dialect)
    keys, token = await ctx.db.read(_item_keys, req.queue_id, page)
    return Chunks(pieces(ctx.db, _items_of(req.queue_id, always_token=True), keys, token))


async def _item_keys(tx: Tx, queue_id: str, page: Page) -> tuple[Sequence[str], str | None]:
    await transactions.get(tx, queue_id)
    return await keys_of(tx, page)


async def set_item_status(req: SetItemStatus, ctx: Context) -> ItemAnswer:
    """POST /3.0/mlflow/review-queues/items/set-status

    Sets the status of an item. With users, the caller completes it. Errors: RESOURCE_DOES_NOT_EXIST,
    INVALID_PARAMETER_VALUE.
    """
    sql.check_served(ctx.db.schema)
    status = rules.status_of(req.status)
    user = req.completed_by
    if ctx.access.username is not None:
        user = None if status == "pending" else ctx.access.username
    name = rules.completed_by(status, user)
    about = (req.queue_id, req.item_id.strip(), status, name)
    row = await ctx.db.write(transactions.set_status, *about)
    return ItemAnswer(item=_show_items([row])[0])
