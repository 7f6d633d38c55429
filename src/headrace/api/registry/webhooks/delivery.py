"""Delivers events to webhooks in the background: finds the subscribers, signs, sends and retries.

An event is held in memory until it is delivered, as in stock MLflow: the undelivered events of a
killed server are lost. The subscribers are read from the database for each event, so a webhook
takes effect as soon as it is created.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import random
import time
import uuid
from collections.abc import Mapping
from contextvars import Context
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from headrace.api.nouns import Event
from headrace.api.registry.webhooks import sql
from headrace.api.registry.webhooks.address import Rules
from headrace.api.threads import FAILURES, Threads
from headrace.contract import secret_text
from headrace.contract.errors import ApiError
from headrace.db.errors import DatabaseError
from headrace.db.workspace import DatabaseIn

if TYPE_CHECKING:
    from headrace.api.registry.webhooks.sending import Answer
    from headrace.db.base import Database
    from headrace.settings.table import Settings

log = logging.getLogger(__name__)

# Limits of the waiting events and deliveries, and of the characters of their data. Events and
# deliveries beyond either limit are dropped and logged.
MAX_WAITING: Final = 10_000
MAX_WAITING_CHARACTERS: Final = 32 << 20
CLOSE_TIMEOUT_S: Final = 3.0  # for pending deliveries when the server stops
TRIED_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
TELLS_WHEN: Final = frozenset({429, 503})  # their Retry-After is obeyed
LONGEST_PAUSE_S: Final = 60.0  # between two attempts, unless the receiver asks for more
LONGEST_WISH_S: Final = 600.0  # the longest pause that a receiver may ask for


class Deliveries:
    """The pending events and deliveries of one process."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._key = secret_text.key_of(settings)
        self._tasks: set[asyncio.Task[None]] = set()
        self._characters = 0
        self.threads = Threads(settings.webhook_connections)
        self.rules = Rules(
            tuple(part.strip() for part in settings.webhook_allowed_schemes.split(",")),
            settings.webhook_allow_private_ips,
        )

    def announce(
        self,
        event: Event | None,
        data: Mapping[str, Any],
        prompt_event: Event | None = None,
        *,
        workspace: str | None = None,
    ) -> None:
        """Queue a committed event for its subscribers. Never raises, never waits.

        `prompt_event` replaces `event` if the model `data["name"]` is a prompt. `workspace`: of a
        server with workspaces; only its webhooks receive the event.
        """
        if self._db.schema.has("webhooks"):
            db = self._db if workspace is None else DatabaseIn(self._db, workspace)
            self._start(
                self._notify_subscribers(db, event, data, prompt_event, workspace),
                event or prompt_event,
                data,
            )

    def _start(self, work: Any, event: Event | None, data: Mapping[str, Any]) -> None:
        size = len(str(data))
        crowded = len(self._tasks) >= MAX_WAITING
        if crowded or self._characters + size > MAX_WAITING_CHARACTERS:
            work.close()
            log.error("too many webhook deliveries wait: %s is not delivered", _shown(event))
            return
        # A new context, so that the task's time is not counted as time of the current request.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        self._characters += size

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._characters -= size

        task.add_done_callback(ended)

    async def _notify_subscribers(
        self,
        db: Database,
        event: Event | None,
        data: Mapping[str, Any],
        prompt_event: Event | None,
        workspace: str | None,
    ) -> None:
        try:
            found = await db.read(sql.subscribers, event, prompt_event, data["name"])
        except (ApiError, DatabaseError) as error:
            log.error("webhook event %s is not delivered: %s", _shown(event or prompt_event), error)
            return
        happened, subscribers = found
        if happened is None:  # a tag of a model that is not a prompt
            return
        for webhook_id, url, stored in subscribers:
            work = self._deliver(webhook_id, url, stored, happened, data, workspace)
            self._start(work, happened, data)

    async def _deliver(
        self,
        webhook_id: str,
        url: str,
        stored: str | None,
        event: Event,
        data: Mapping[str, Any],
        workspace: str | None,
    ) -> None:
        # A URL may contain a token in any part except its host.
        where = f"webhook {webhook_id} at {urlsplit(url).hostname}"
        try:
            answer = await self.send(url, stored, event, data, workspace)
        except (*FAILURES, secret_text.Unreadable) as error:
            log.error("%s did not receive %s: %s", where, _shown(event), reason(error))
        else:
            if answer.status >= 400:
                log.error("%s refused %s with %d", where, _shown(event), answer.status)

    async def send(
        self,
        url: str,
        stored: str | None,
        event: Event,
        data: Mapping[str, Any],
        workspace: str | None,
    ) -> Answer:
        """Deliver one event of a workspace (`announce`), with retries, and return the last answer.

        Raises ApiError (address, package), OSError (no answer), Unreadable (secret).
        """
        # Imported here to save start-up time: loading http.client takes as long as the rest.
        from headrace.api.registry.webhooks import sending

        secret = secret_text.decrypted(stored, self._key) if stored else None
        body, headers = signed(event, data, workspace, secret)
        timeout_s, tries = self._settings.webhook_timeout_s, self._settings.webhook_retries + 1
        for number in range(1, tries + 1):
            wish_s: float | None = None
            try:
                answer = await self.threads.run(
                    sending.post, url, body, headers, self.rules, timeout_s
                )
            except OSError:
                if number == tries:
                    raise
            else:
                if answer.status not in TRIED_AGAIN or number == tries:
                    return answer
                wish_s = answer.retry_after_s if answer.status in TELLS_WHEN else None
            await asyncio.sleep(pause_s(number) if wish_s is None else min(wish_s, LONGEST_WISH_S))
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Wait `CLOSE_TIMEOUT_S` for deliveries to end. The rest is dropped and logged."""
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        while self._tasks and time.monotonic() < deadline:  # the task of an event starts deliveries
            await asyncio.wait(self._tasks, timeout=deadline - time.monotonic())
        if self._tasks:
            log.error("%d deliveries to webhooks are given up: the server ends", len(self._tasks))
        for task in self._tasks:
            task.cancel()


def pause_s(failures: int) -> float:
    """The seconds to wait after so many failures: 0, then 2, 4, 8 …, plus up to 1 at random."""
    if failures <= 1:
        return 0.0
    return min(LONGEST_PAUSE_S, 2.0 ** (failures - 1)) + random.random()


def signed(
    event: Event, data: Mapping[str, Any], workspace: str | None, secret: str | None
) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a delivery. A secret adds a signature that the receiver can check.

    `workspace` is None on a server without workspaces.
    """
    entity, action = event
    now = datetime.now(UTC)
    content: dict[str, object] = {
        "entity": entity,
        "action": action,
        "timestamp": now.isoformat(),
        "data": data,
    }
    if workspace is not None:
        content["workspace"] = workspace
    body = json.dumps(content).encode()
    delivery, seconds = str(uuid.uuid4()), str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": seconds,
    }
    if secret:
        text = f"{delivery}.{seconds}.".encode() + body
        mac = hmac.new(secret.encode(), text, hashlib.sha256).digest()
        headers["X-MLflow-Signature"] = "v1," + base64.b64encode(mac).decode()
    return body, headers


def reason(error: Exception) -> str:
    """The reason for a failed delivery, as text."""
    if isinstance(error, secret_text.Unreadable):
        return (
            "its secret was stored under another key. Set MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY to "
            "that key, or give the webhook a new secret"
        )
    if isinstance(error, ApiError):
        return error.message
    return f"{type(error).__name__}: {error}"


def _shown(event: Event | None) -> str:
    return ".".join(event or ())
