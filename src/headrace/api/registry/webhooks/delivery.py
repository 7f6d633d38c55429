"""Tells webhooks what happened, in the background: looks up who wants to know, signs, sends, tries again.

An event is held in memory until it is delivered, as by stock MLflow: what a killed server had not sent is
lost. Who is told is asked of the database each time, so a webhook counts from the moment it is made.
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
from headrace.api.registry.webhooks.threads import FAILURES, Threads
from headrace.contract import secret_text
from headrace.contract.errors import ApiError
from headrace.db.errors import DatabaseError

if TYPE_CHECKING:
    from headrace.api.registry.webhooks.sending import Answer
    from headrace.db.base import Database
    from headrace.settings.table import Settings

log = logging.getLogger(__name__)

# Events and deliveries that wait, and the characters of their data; beyond either one is dropped, and logged.
MAX_WAITING: Final = 10_000
MAX_WAITING_CHARACTERS: Final = 32 << 20
CLOSE_TIMEOUT_S: Final = 3.0  # for what is not delivered yet when the server ends
TRIED_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
TELLS_WHEN: Final = frozenset({429, 503})  # their Retry-After is obeyed
LONGEST_PAUSE_S: Final = 60.0  # between two tries, unless the receiver asks for more
LONGEST_WISH_S: Final = 600.0  # the most that it gets


class Deliveries:
    """The events of one process on their way to the webhooks."""

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
        self, event: Event | None, data: Mapping[str, Any], prompt_event: Event | None = None
    ) -> None:
        """Something has been committed: tell whoever wants to know, later. Never raises, never waits.

        `prompt_event` takes the place of `event` when the model `data["name"]` is a prompt.
        """
        if self._db.schema.has("webhooks"):
            self._start(self._tell(event, data, prompt_event), event or prompt_event, data)

    def _start(self, work: Any, event: Event | None, data: Mapping[str, Any]) -> None:
        size = len(str(data))
        crowded = len(self._tasks) >= MAX_WAITING
        if crowded or self._characters + size > MAX_WAITING_CHARACTERS:
            work.close()
            log.error("too many deliveries wait: webhooks are not told of %s", _shown(event))
            return
        # A context of its own: it must not count its time as that of the request before it.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        self._characters += size

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._characters -= size

        task.add_done_callback(ended)

    async def _tell(
        self, event: Event | None, data: Mapping[str, Any], prompt_event: Event | None
    ) -> None:
        try:
            found = await self._db.read(sql.subscribers, event, prompt_event, data["name"])
        except (ApiError, DatabaseError) as error:
            log.error("webhooks are not told of %s: %s", _shown(event or prompt_event), error)
            return
        happened, subscribers = found
        if happened is None:  # a tag of a model that is no prompt
            return
        for webhook_id, url, stored in subscribers:
            work = self._deliver(webhook_id, url, stored, happened, data)
            self._start(work, happened, data)

    async def _deliver(
        self, webhook_id: str, url: str, stored: str | None, event: Event, data: Mapping[str, Any]
    ) -> None:
        # A URL may carry a token in any part but its host.
        where = f"webhook {webhook_id} at {urlsplit(url).hostname}"
        try:
            answer = await self.send(url, stored, event, data)
        except (*FAILURES, secret_text.Unreadable) as error:
            log.error("%s was not told of %s: %s", where, _shown(event), reason(error))
        else:
            if answer.status >= 400:
                log.error("%s refused %s with %d", where, _shown(event), answer.status)

    async def send(
        self, url: str, stored: str | None, event: Event, data: Mapping[str, Any]
    ) -> Answer:
        """Deliver one event, trying again; the last answer.

        Raises ApiError (address, package), OSError (no answer), Unreadable (secret).
        """
        from headrace.api.registry.webhooks import (
            sending,  # http.client takes as long to load as all of this
        )

        secret = secret_text.decrypted(stored, self._key) if stored else None
        body, headers = signed(event, data, secret)
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
        """Give deliveries a while to end; what is left then is lost, and logged."""
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        while self._tasks and time.monotonic() < deadline:  # an event becomes deliveries
            await asyncio.wait(self._tasks, timeout=deadline - time.monotonic())
        if self._tasks:
            log.error("%d deliveries to webhooks are given up: the server ends", len(self._tasks))
        for task in self._tasks:
            task.cancel()


def pause_s(failures: int) -> float:
    """How long to wait after so many failures: not at all, then 2 s, 4 s, 8 s … and up to one more."""
    if failures <= 1:
        return 0.0
    return min(LONGEST_PAUSE_S, 2.0 ** (failures - 1)) + random.random()


def signed(
    event: Event, data: Mapping[str, Any], secret: str | None
) -> tuple[bytes, dict[str, str]]:
    """The body of a delivery, and its headers: a receiver that knows the secret can check both."""
    entity, action = event
    now = datetime.now(UTC)
    body = json.dumps(
        {"entity": entity, "action": action, "timestamp": now.isoformat(), "data": data}
    ).encode()
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
    """What kept a delivery from being made, in words."""
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
