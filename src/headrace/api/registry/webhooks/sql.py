"""SQL for webhooks and their events. A deleted webhook keeps its row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.api.nouns import Event
from headrace.api.registry.models import sql as models_sql
from headrace.api.registry.models.lookup import is_prompt
from headrace.api.registry.models.sql import Scoped
from headrace.db.base import Row, Tx
from headrace.db.sql import Bulk, Sql


class WebhookRow(NamedTuple):
    """A row of `webhooks`. Times are milliseconds since the epoch; the secret is encrypted."""

    webhook_id: str
    name: str
    description: str | None
    url: str
    status: str
    creation_timestamp: int
    last_updated_timestamp: int
    secret: str | None


_COLUMNS: Final = ", ".join(WebhookRow._fields)
_LIVE: Final = "workspace = {workspace} AND deleted_timestamp IS NULL"

WEBHOOK = Scoped(f"SELECT {_COLUMNS} FROM webhooks WHERE {_LIVE} AND webhook_id = $1")
WEBHOOKS = Scoped(
    f"SELECT {_COLUMNS} FROM webhooks WHERE {_LIVE}"
    " ORDER BY creation_timestamp DESC, webhook_id LIMIT $1 OFFSET $2"
)
INSERT = Sql(
    "INSERT INTO webhooks (webhook_id, name, description, url, status, secret, creation_timestamp,"
    " last_updated_timestamp{workspace column}) VALUES ($1, $2, $3, $4, $5, $6, $7, $7{workspace value})"
)
UPDATE = Scoped(  # None keeps the value of a column
    "UPDATE webhooks SET name = COALESCE($2, name), description = COALESCE($3, description),"
    " url = COALESCE($4, url), status = COALESCE($5, status), secret = COALESCE($6, secret),"
    f" last_updated_timestamp = $7 WHERE {_LIVE} AND webhook_id = $1"
)
DELETE = Scoped(
    "UPDATE webhooks SET deleted_timestamp = $2, last_updated_timestamp = $2"
    f" WHERE {_LIVE} AND webhook_id = $1"
)
EVENTS = Sql(
    "SELECT webhook_id, entity, action FROM webhook_events"
    " WHERE webhook_id {in $1 text} ORDER BY webhook_id, entity, action"
)
INSERT_EVENT = Bulk("webhook_events", webhook_id="text", entity="text", action="text")
DELETE_EVENTS = Sql("DELETE FROM webhook_events WHERE webhook_id = $1")
SUBSCRIBERS = Scoped(
    "SELECT webhook_id, url, secret FROM webhooks"
    " WHERE workspace = {workspace} AND deleted_timestamp IS NULL AND status = 'ACTIVE'"
    " AND webhook_id IN (SELECT webhook_id FROM webhook_events WHERE entity = $1 AND action = $2)"
    " ORDER BY creation_timestamp DESC, webhook_id"
)


class Whole(NamedTuple):
    """A webhook and its events."""

    row: WebhookRow
    events: list[Event]


async def _with_events(tx: Tx, rows: Sequence[Row]) -> list[Whole]:
    events: dict[str, list[Event]] = {row[0]: [] for row in rows}
    if rows:
        for webhook_id, entity, action in await tx.fetch(EVENTS, tx.array(list(events))):
            events[webhook_id].append((entity, action))
    return [Whole(WebhookRow(*row), events[row[0]]) for row in rows]


async def find(tx: Tx, webhook_id: str) -> Whole | None:
    """A webhook that is not deleted, or None."""
    row = await tx.fetchrow(WEBHOOK.of(tx), webhook_id)
    return None if row is None else (await _with_events(tx, [row]))[0]


async def page(tx: Tx, limit: int, offset: int) -> list[Whole]:
    """A page of webhooks, newest first."""
    return await _with_events(tx, await tx.fetch(WEBHOOKS.of(tx), limit, offset))


async def insert(tx: Tx, row: Row, events: Sequence[Event]) -> None:
    """Insert a webhook (`INSERT`'s parameters) with its events."""
    await tx.execute(INSERT, *row)
    await tx.executemany(INSERT_EVENT, [(row[0], *event) for event in events])


async def subscribers(
    tx: Tx, event: Event | None, prompt_event: Event | None, name: str
) -> tuple[Event | None, list[Row]]:
    """The event to deliver, and the rows (webhook id, URL, secret) of its subscribers.

    The event is `prompt_event` if that is set and the model `name` is a prompt, otherwise `event`.
    """
    if prompt_event is not None:
        tags = {key: value or "" for _, key, value in await models_sql.tags(tx, [name])}
        event = prompt_event if is_prompt(tags) else event
    if event is None:
        return None, []
    return event, await tx.fetch(SUBSCRIBERS.of(tx), *event)
