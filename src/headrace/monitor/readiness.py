"""Whether the database answers: asked when somebody wants to know, by one question at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from headrace.db.errors import DatabaseError

if TYPE_CHECKING:
    from headrace.db.base import Database

log = logging.getLogger(__name__)
PATIENCE_S: Final = 1.0  # with the interval of a probe, an outage shows within two seconds


class Readiness:
    """Asks `Database.ping`. Everyone who asks while an answer is awaited gets that answer."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._asking: asyncio.Task[bool] | None = None
        self._was_ready = True

    async def is_ready(self) -> bool:
        """Whether the database answers, after PATIENCE_S at the latest. Never raises."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)  # one that is cancelled leaves it to the others

    async def _ask(self) -> bool:
        reason = ""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._db.ping()
        except TimeoutError:
            reason = f"no answer within {PATIENCE_S:g} s"
        except (DatabaseError, OSError) as error:
            reason = str(error)
        if reason and self._was_ready:
            log.error("not ready: the database is away: %s", reason)
        elif not reason and not self._was_ready:
            log.warning("ready again: the database answers")
        self._was_ready = not reason
        return not reason
