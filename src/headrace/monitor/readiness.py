"""Readiness: whether the databases answer. At most one check runs at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from headrace.db.base import PING_TIMEOUT_S
from headrace.db.errors import DatabaseError

if TYPE_CHECKING:
    from headrace.db.base import Database

log = logging.getLogger(__name__)
# Together with the interval of a probe, an outage shows within three seconds.
TIMEOUT_S: Final = PING_TIMEOUT_S + 0.25


class Readiness:
    """Calls `Database.ping` of each database. Concurrent callers share one check.

    A check that takes longer than TIMEOUT_S waits for a new connection, which may take seconds; until it
    ends, the previous result holds. The first result is True, because a server starts with an open database.
    """

    def __init__(self, *databases: Database) -> None:
        self._databases = databases
        self._check: asyncio.Task[bool] | None = None
        self._was_ready = True

    async def is_ready(self) -> bool:
        """Whether the databases answer. Returns after TIMEOUT_S at the latest."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._ping())
        check = self._check
        await asyncio.wait({check}, timeout=TIMEOUT_S)
        return check.result() if check.done() else self._was_ready

    async def _ping(self) -> bool:
        reason = ""
        try:
            for db in self._databases:
                await db.ping()
        except (DatabaseError, OSError) as error:
            reason = str(error)
        if reason and self._was_ready:
            log.error("not ready: the database is unavailable: %s", reason)
        elif not reason and not self._was_ready:
            log.warning("ready again: the database answers")
        self._was_ready = not reason
        return not reason
