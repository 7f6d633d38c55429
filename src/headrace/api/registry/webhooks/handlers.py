"""Handlers of the webhook endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from headrace import search
from headrace.api.context import Context
from headrace.api.nouns import Event
from headrace.api.registry.webhooks import address, delivery, sql
from headrace.api.registry.webhooks.delivery import Deliveries
from headrace.api.registry.webhooks.events import EXAMPLES
from headrace.api.registry.webhooks.sql import Whole
from headrace.api.registry.webhooks.types import (
    CreateWebhook,
    ListWebhooks,
    TestAnswer,
    TestResult,
    TestWebhook,
    UpdateWebhook,
    Webhook,
    WebhookAction,
    WebhookAnswer,
    WebhookEntity,
    WebhookEvent,
    WebhookId,
    WebhookPage,
    WebhookStatus,
)
from headrace.api.threads import FAILURES
from headrace.contract import secret_text
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError, ErrorCode, invalid, not_found
from headrace.contract.limits import LIST_MAX_WEBHOOKS, LIST_WEBHOOKS_DEFAULT
from headrace.contract.scalars import Empty
from headrace.db.base import Tx

log = logging.getLogger(__name__)
EMPTY = Empty()
_NAME: Final = re.compile(r"(?=.{1,63}\Z)[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
_ACTIONS: Final[dict[str, list[str]]] = {
    entity: sorted(action for other, action in EXAMPLES if other == entity)
    for entity, _ in EXAMPLES
}


def deliveries(ctx: Context) -> Deliveries:
    """The deliveries of this process. Raises NOT_IMPLEMENTED if the database has no webhooks."""
    if not ctx.db.schema.has("webhooks"):
        raise ApiError(
            ErrorCode.NOT_IMPLEMENTED,
            f"This database has no webhooks: its schema ({ctx.db.schema.head}) is older than "
            "MLflow 3.3. To add them, stop all servers and run: mlflow db upgrade <database URI>",
        )
    assert isinstance(ctx.webhooks, Deliveries), "only a server delivers"
    return ctx.webhooks


def check_name(name: str) -> None:
    """Raise unless a webhook may have this name."""
    if not _NAME.fullmatch(name):
        raise invalid(
            f"Webhook name {name!r} is invalid. It must start and end with a letter or digit, be "
            "less than 63 characters long, and contain only letters, digits, dots (.), "
            "underscores (_), and hyphens (-)."
        )


def event_of(given: WebhookEvent) -> Event:
    """An event of a request as the database stores it. Raises INVALID_PARAMETER_VALUE."""
    entity = given.entity or WebhookEntity.ENTITY_UNSPECIFIED
    action = given.action or WebhookAction.ACTION_UNSPECIFIED
    event = (entity.lower(), action.lower())
    if event not in EXAMPLES:
        known = _ACTIONS.get(event[0], [])
        raise invalid(
            f"Invalid action '{event[1]}' for entity '{event[0]}'. Valid actions are: {known}"
        )
    return event


def events_of(given: Sequence[WebhookEvent]) -> list[Event]:
    """The events of a request, without duplicates."""
    return list(dict.fromkeys(event_of(one) for one in given))


def webhook(found: Whole) -> Webhook:
    """A webhook as answers show it: without its secret."""
    row = found.row
    return Webhook(
        webhook_id=row.webhook_id,
        name=row.name,
        description=row.description or None,
        url=row.url,
        events=[
            WebhookEvent(entity=WebhookEntity(entity.upper()), action=WebhookAction(action.upper()))
            for entity, action in found.events
        ],
        status=row.status,
        creation_timestamp=row.creation_timestamp,
        last_updated_timestamp=row.last_updated_timestamp,
    )


async def existing(tx: Tx, webhook_id: str) -> Whole:
    """The webhook with this id. Raises RESOURCE_DOES_NOT_EXIST."""
    found = await sql.find(tx, webhook_id)
    if found is None:
        raise not_found(f"Webhook with ID {webhook_id} not found.")
    return found


def stored(secret: str | None, ctx: Context) -> str | None:
    """A secret as the database stores it: encrypted. None and "" stay as they are."""
    if not secret:
        return secret
    if not ctx.settings.webhook_secret_encryption_key:
        log.warning(
            "the secret of a webhook is good until this server ends: set "
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY to keep it"
        )
    return secret_text.encrypted(secret, secret_text.key_of(ctx.settings))


async def _insert(tx: Tx, row: tuple[object, ...], events: list[Event]) -> Whole:
    await sql.insert(tx, row, events)
    return await existing(tx, str(row[0]))


async def create(req: CreateWebhook, ctx: Context) -> WebhookAnswer:
    """POST /2.0/mlflow/webhooks

    Errors: INVALID_PARAMETER_VALUE (name, URL, events), NOT_IMPLEMENTED (a secret, but the package
    for encryption is not installed).
    """
    sender = deliveries(ctx)
    events = events_of(req.events)
    check_name(req.name)
    await address.check(req.url, sender.rules, sender.threads)
    if not events:
        raise invalid("Webhook events must be a non-empty list of WebhookEvent objects: [].")
    status = req.status or WebhookStatus.ACTIVE
    secret = stored(req.secret or None, ctx)
    row = (str(uuid4()), req.name, req.description or None, req.url, status.value, secret, now_ms())
    return WebhookAnswer(webhook=webhook(await ctx.db.write(_insert, row, events)))


async def list_webhooks(req: ListWebhooks, ctx: Context) -> WebhookPage:
    """GET /2.0/mlflow/webhooks: list webhooks, newest first. Cost: two statements."""
    deliveries(ctx)
    limit = req.max_results or LIST_WEBHOOKS_DEFAULT
    if not 1 <= limit <= LIST_MAX_WEBHOOKS:
        raise invalid(f"max_results must be between 1 and {LIST_MAX_WEBHOOKS}.")
    offset = search.offset_of(req.page_token)
    found = await ctx.db.read(sql.page, limit + 1, offset)
    token = search.page_token(offset + limit) if len(found) > limit else None
    return WebhookPage(webhooks=[webhook(one) for one in found[:limit]], next_page_token=token)


async def get(req: WebhookId, ctx: Context) -> WebhookAnswer:
    """GET /2.0/mlflow/webhooks/{webhook_id}. Errors: RESOURCE_DOES_NOT_EXIST."""
    deliveries(ctx)
    return WebhookAnswer(webhook=webhook(await ctx.db.read_point(existing, req.webhook_id or "")))


async def _update(tx: Tx, req: UpdateWebhook, events: list[Event], secret: str | None) -> Whole:
    webhook_id = req.webhook_id or ""
    changed = await tx.execute(
        sql.UPDATE.of(tx),
        webhook_id,
        req.name or None,
        req.description,
        req.url or None,
        req.status.value if req.status else None,
        secret,
        now_ms(),
    )
    if changed and events:
        await tx.execute(sql.DELETE_EVENTS, webhook_id)
        await tx.executemany(sql.INSERT_EVENT, [(webhook_id, *event) for event in events])
    return await existing(tx, webhook_id)


async def update(req: UpdateWebhook, ctx: Context) -> WebhookAnswer:
    """PATCH /2.0/mlflow/webhooks/{webhook_id}

    Omitted fields keep their values; an empty secret turns signing off. Errors:
    RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE.
    """
    sender = deliveries(ctx)
    events = events_of(req.events)
    await ctx.db.read_point(existing, req.webhook_id or "")
    if req.name:
        check_name(req.name)
    if req.url:
        await address.check(req.url, sender.rules, sender.threads)
    found = await ctx.db.write(_update, req, events, stored(req.secret, ctx))
    return WebhookAnswer(webhook=webhook(found))


async def _delete(tx: Tx, webhook_id: str) -> None:
    await existing(tx, webhook_id)
    await tx.execute(sql.DELETE.of(tx), webhook_id, now_ms())


async def delete(req: WebhookId, ctx: Context) -> Empty:
    """DELETE /2.0/mlflow/webhooks/{webhook_id}

    The row is kept, marked as deleted, and no endpoint shows it again. Errors:
    RESOURCE_DOES_NOT_EXIST.
    """
    deliveries(ctx)
    await ctx.db.write(_delete, req.webhook_id or "")
    return EMPTY


async def test(req: TestWebhook, ctx: Context) -> TestAnswer:
    """POST /2.0/mlflow/webhooks/{webhook_id}/test: deliver an example of one of its events now.

    A failed delivery is reported in the result, not as an error. Errors: RESOURCE_DOES_NOT_EXIST.
    """
    sender = deliveries(ctx)
    event = event_of(req.event) if req.event is not None else None
    found = await ctx.db.read_point(existing, req.webhook_id or "")
    event = event or found.events[0]
    try:
        answer = await sender.send(
            found.row.url, found.row.secret, event, EXAMPLES[event], ctx.workspace_or_none
        )
    except (*FAILURES, secret_text.Unreadable) as error:
        text = f"Failed to test webhook: {delivery.reason(error)}"
        return TestAnswer(result=TestResult(success=False, error_message=text))
    return TestAnswer(
        result=TestResult(
            success=answer.status < 400, response_status=answer.status, response_body=answer.body
        )
    )
