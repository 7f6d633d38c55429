"""Spans that have arrived and are not committed yet, for the answers about their traces.

A client sends the spans of a trace and its information at the same time, in two requests. If the
answer to the second does not say that the spans are here, the client uploads them again, as an
artifact. So that answer waits for spans that this process has received, and for a short time for those
that it has not.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# An upload costs the server more than this, and the client sends traces from ten threads.
GRACE_S: Final = 0.05
# Without spans for so long, the clients send none (mlflow before 3.4).
QUIET_S: Final = 10.0
MOST_S: Final = 2.0  # a commit that takes longer is not waited for


class Arriving:
    """The traces with spans in the write queue, and the answers that wait for the spans of a trace."""

    def __init__(self) -> None:
        self._commits: dict[str, asyncio.Future[None]] = {}
        self._awaited: dict[str, asyncio.Event] = {}
        self._last = -QUIET_S

    @contextmanager
    def committing(self, trace_ids: Collection[str]) -> Iterator[None]:
        """The time from the arrival of spans of these traces to their commit."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last = monotonic()
        for trace_id in trace_ids:
            self._commits[trace_id] = done
            if self._awaited and (event := self._awaited.get(trace_id)) is not None:
                event.set()
        try:
            yield
        finally:
            done.set_result(None)
            for trace_id in trace_ids:
                if self._commits.get(trace_id) is done:
                    del self._commits[trace_id]

    async def settled(self, trace_id: str) -> bool:
        """Wait for spans of a trace. Whether some have arrived; they are committed or refused."""
        commit = self._commits.get(trace_id)
        if commit is None:
            if monotonic() - self._last > QUIET_S:
                return False
            event = self._awaited.setdefault(trace_id, asyncio.Event())
            try:
                await asyncio.wait_for(event.wait(), GRACE_S)
            except TimeoutError:
                return False
            finally:
                self._awaited.pop(trace_id, None)
            commit = self._commits.get(trace_id)
        if commit is not None:
            await asyncio.wait([commit], timeout=MOST_S)
        return True


ARRIVING: Final = Arriving()  # of this process
