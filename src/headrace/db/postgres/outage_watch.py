"""Notices that a database is away although its connections look alive, and that it is back.

A network that stalls leaves statements waiting until their timeout, which must be long for the sake of searches.
So while a statement takes long the database is asked for a new connection. When it gives none, it is away:
every connection is broken, callers get `Unavailable` at once instead of in line, and it is asked until it answers.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONG_S: Final = 2.0  # a connection is in use that long: ask whether the database is still there
PROBE_EVERY_S: Final = 0.5  # while it is away: how late its return is noticed


class OutageWatch:
    """Watches one database while it is in use; nothing runs when nothing is asked of it.

    `probe()` says whether the database answers, within the time that a connection to it may take; `oldest()` is the
    `monotonic` time since when a connection has been in use, None when none is; `lost()` is called when the database
    is found to be away, `found()` when it answers again.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[bool]],
        oldest: Callable[[], float | None],
        lost: Callable[[], None],
        found: Callable[[], None],
    ) -> None:
        self._probe = probe
        self._oldest = oldest
        self._lost = lost
        self._found = found
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def watch(self) -> None:
        """A connection was taken into use; cheap, called for each."""
        if self._timer is None and self._task is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(LONG_S, self._look)

    def _look(self) -> None:
        self._timer = None
        since = self._oldest()
        if since is None:
            return
        if monotonic() - since < LONG_S:
            self.watch()
        else:
            self._task = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        away = False
        try:
            while not await self._probe():
                if not away:
                    away = True
                    self._lost()
                await asyncio.sleep(PROBE_EVERY_S)
        finally:
            if away:
                self._found()
            self._task = None
        self.watch()  # long statements of a database that is there go on being watched

    async def close(self) -> None:
        """Watch no longer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
