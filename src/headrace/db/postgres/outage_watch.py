"""Detects that a database is unreachable although its connections seem open, and that it is back.

When a network stalls, statements wait until their timeout, which must be long because of searches.
So while a statement takes long, the watch opens a new connection. When that fails, the database is
unreachable: every connection is broken, callers get `Unavailable` immediately, and the watch probes
until the database answers.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONG_S: Final = 2.0  # probe when a connection has been in use for so long
PROBE_EVERY_S: Final = 0.5  # during an outage


class OutageWatch:
    """Watches one database while it is in use; an idle one is not watched.

    `probe()` returns whether the database answers within the time limit of a connection; `oldest()`
    returns the `monotonic` time when the oldest use of a connection began, None without one;
    `on_outage()` is called when the database does not answer, `on_recovery()` when it answers
    again.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[bool]],
        oldest: Callable[[], float | None],
        on_outage: Callable[[], None],
        on_recovery: Callable[[], None],
    ) -> None:
        self._probe = probe
        self._oldest = oldest
        self._on_outage = on_outage
        self._on_recovery = on_recovery
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def watch(self) -> None:
        """Note that a connection is in use. Cheap: called for each use."""
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
                    self._on_outage()
                await asyncio.sleep(PROBE_EVERY_S)
        finally:
            if away:
                self._on_recovery()
            self._task = None
        self.watch()  # the database answers: keep watching its long statements

    async def close(self) -> None:
        """Stop watching."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
