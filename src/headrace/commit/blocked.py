"""Queues of the operations on runs whose rows another session has locked, one queue per run.

A blocked run delays no other run. Its operations keep their order. Each attempt that a lock stops doubles the
pause before the next one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from headrace.commit.kinds import MAX_GROUP_BYTES, MAX_GROUP_OPS, Waiting

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
# Runs that stay marked as blocked although their queue is empty: their next operation runs apart as well.
MAX_REMEMBERED: Final = 1000


class _RunQueue:
    """The operations of one subject. `due`: `perf_counter` of the next attempt; `pause_s`: the pause after it."""

    __slots__ = ("due", "pause_s", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.due = 0.0
        self.pause_s = FIRST_PAUSE_S


class BlockedRuns:
    """The queues by subject. `operations` and `cost_bytes` count the contents of all queues."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, _RunQueue] = {}
        self.operations = 0
        self.cost_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __contains__(self, subject: Hashable) -> bool:
        return subject in self._queues

    @property
    def runs(self) -> int:
        """Subjects with operations in their queue."""
        return sum(bool(queue.waiting) for queue in self._queues.values())

    def add(self, waiting: Waiting) -> None:
        """Queue a new operation of a blocked subject."""
        self._queues[waiting.subject].waiting.append(waiting)
        self._count(waiting, 1)

    def block(self, group: Sequence[Waiting], now: float) -> None:
        """Put operations that a lock stopped at the front of their queues, in their order."""
        by_subject: dict[Hashable, list[Waiting]] = {}
        for waiting in group:
            by_subject.setdefault(waiting.subject, []).append(waiting)
            self._count(waiting, 1)
        for subject, waitings in by_subject.items():
            queue = self._queues.setdefault(subject, _RunQueue())
            queue.waiting.extendleft(reversed(waitings))
            queue.due = now + queue.pause_s
            queue.pause_s = min(2 * queue.pause_s, LONGEST_PAUSE_S)
        for subject in [s for s, queue in self._queues.items() if not queue.waiting]:
            if len(self._queues) <= MAX_REMEMBERED:
                break
            del self._queues[subject]

    def pause_s(self, now: float) -> float | None:
        """Seconds until the next attempt is due; None when all queues are empty."""
        return min(
            (queue.due - now for queue in self._queues.values() if queue.waiting), default=None
        )

    def take(self) -> tuple[Hashable, list[Waiting]]:
        """The subject that is due first, and as many of its operations as a transaction may hold."""
        subject, queue = min(
            ((s, queue) for s, queue in self._queues.items() if queue.waiting),
            key=lambda item: item[1].due,
        )
        group: list[Waiting] = []
        size = 0
        while queue.waiting and len(group) < MAX_GROUP_OPS:
            size += queue.waiting[0].cost_bytes
            if group and size > MAX_GROUP_BYTES:
                break
            group.append(queue.waiting.popleft())
            self._count(group[-1], -1)
        return subject, group

    def attempted(self, subject: Hashable, began: float) -> None:
        """Note the end of an attempt that began at `began`. Unless a lock stopped it, the subject is free."""
        queue = self._queues.get(subject)
        if queue is None or queue.due > began:
            return
        if queue.waiting:
            queue.due, queue.pause_s = began, FIRST_PAUSE_S
        else:
            del self._queues[subject]

    def expire(self, before: float) -> list[Waiting]:
        """Remove and return the operations that were queued at `before` or earlier."""
        expired: list[Waiting] = []
        for queue in self._queues.values():
            while queue.waiting and queue.waiting[0].since <= before:
                expired.append(queue.waiting.popleft())
                self._count(expired[-1], -1)
        return expired

    def oldest(self) -> float | None:
        """When the oldest operation was queued; None when all queues are empty."""
        return min(
            (one.waiting[0].since for one in self._queues.values() if one.waiting), default=None
        )

    def _count(self, waiting: Waiting, sign: int) -> None:
        self.operations += sign
        self.cost_bytes += sign * waiting.cost_bytes
