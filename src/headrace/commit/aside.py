"""The operations of runs whose rows another session has locked: a queue for each, tried one after the other.

A run that is set aside holds up nobody else. Its operations keep their order; each try that a lock stops doubles
the pause before the next one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from headrace.commit.kinds import MAX_GROUP_BYTES, MAX_GROUP_OPS, Waiting

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 1.0
# Runs that are remembered as blocked though nothing of theirs waits: their next operation is tried apart, too.
MAX_REMEMBERED: Final = 1000


class _Line:
    """The operations of one subject. `due` is of `perf_counter`; `pause_s` the pause after the next failure."""

    __slots__ = ("due", "pause_s", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.due = 0.0
        self.pause_s = FIRST_PAUSE_S


class Aside:
    """Queues by subject. `operations` and `cost_bytes` are what waits in all of them."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self.operations = 0
        self.cost_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __contains__(self, subject: Hashable) -> bool:
        return subject in self._lines

    @property
    def runs(self) -> int:
        """Subjects of which something waits."""
        return sum(bool(line.waiting) for line in self._lines.values())

    def add(self, waiting: Waiting) -> None:
        """Queue a new operation of a subject that is set aside."""
        self._lines[waiting.subject].waiting.append(waiting)
        self._count(waiting, 1)

    def blocked(self, group: Sequence[Waiting], now: float) -> None:
        """A lock stopped these operations: they go to the front of their queues, in their order."""
        by_subject: dict[Hashable, list[Waiting]] = {}
        for waiting in group:
            by_subject.setdefault(waiting.subject, []).append(waiting)
            self._count(waiting, 1)
        for subject, waitings in by_subject.items():
            line = self._lines.setdefault(subject, _Line())
            line.waiting.extendleft(reversed(waitings))
            line.due = now + line.pause_s
            line.pause_s = min(2 * line.pause_s, LONGEST_PAUSE_S)
        for subject in [s for s, line in self._lines.items() if not line.waiting]:
            if len(self._lines) <= MAX_REMEMBERED:
                break
            del self._lines[subject]

    def pause_s(self, now: float) -> float | None:
        """How long until the next try is due, in seconds; None when nothing waits."""
        return min((line.due - now for line in self._lines.values() if line.waiting), default=None)

    def take(self) -> tuple[Hashable, list[Waiting]]:
        """The subject that is due first, and as many of its operations as fit into a transaction."""
        subject, line = min(
            ((s, line) for s, line in self._lines.items() if line.waiting),
            key=lambda item: item[1].due,
        )
        group: list[Waiting] = []
        size = 0
        while line.waiting and len(group) < MAX_GROUP_OPS:
            size += line.waiting[0].cost_bytes
            if group and size > MAX_GROUP_BYTES:
                break
            group.append(line.waiting.popleft())
            self._count(group[-1], -1)
        return subject, group

    def tried(self, subject: Hashable, began: float) -> None:
        """A try that `began` then is over: unless a lock stopped it, the subject is free."""
        line = self._lines.get(subject)
        if line is None or line.due > began:
            return
        if line.waiting:
            line.due, line.pause_s = began, FIRST_PAUSE_S
        else:
            del self._lines[subject]

    def expire(self, before: float) -> list[Waiting]:
        """Take out what has waited since `before` or longer."""
        gone: list[Waiting] = []
        for line in self._lines.values():
            while line.waiting and line.waiting[0].since <= before:
                gone.append(line.waiting.popleft())
                self._count(gone[-1], -1)
        return gone

    def oldest(self) -> float | None:
        """Since when the operation that has waited longest does."""
        return min(
            (one.waiting[0].since for one in self._lines.values() if one.waiting), default=None
        )

    def _count(self, waiting: Waiting, sign: int) -> None:
        self.operations += sign
        self.cost_bytes += sign * waiting.cost_bytes
