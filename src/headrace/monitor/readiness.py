"""Whether the database answers: asked when somebody wants to know, by one question at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from headrace.db.base import PING_TIMEOUT_S
from headrace.db.errors import DatabaseError

if TYPE_CHECKING:
    from headrace.db.base import Database

log = logging.getLogger(__name__)
# With the interval of a probe, an outage shows within three seconds.
PATIENCE_S: Final = PING_TIMEOUT_S + 0.25


class Readiness:
    """Asks `Database.ping`. Everyone who asks while an answer is awaited gets that answer.

    A question that takes longer than PATIENCE_S waits for a new connection, which may take seconds. Until it is decided
    the last answer holds; the server has opened the database when it starts, so that the first one is yes.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._asking: asyncio.Task[bool] | None = None
        self._was_ready = True

    async def is_ready(self) -> bool:
        """Whether the database answers, after PATIENCE_S at the latest."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        asking = self._asking
        await asyncio.wait({asking}, timeout=PATIENCE_S)
        return asking.result() if asking.done() else self._was_ready

    async def _ask(self) -> bool:
        reason = ""
        try:
            await self._db.ping()
        except (DatabaseError, OSError) as error:
            reason = str(error)
        if reason and self._was_ready:
            log.error("not ready: the database is away: %s", reason)
        elif not reason and not self._was_ready:
            log.warning("ready again: the database answers")
        self._was_ready = not reason
        return not reason
