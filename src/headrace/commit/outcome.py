"""What the failure of a group means for its operations. Decisions only: group.py carries them out.

| The transaction failed with | Several operations | One operation, or one run |
| --- | --- | --- |
| `Excluded` | answer those named, run the others again | the same |
| a refusal (a key, a value, a fault of ours) | split in halves | it is the answer |
| `Blocked`, `Retryable` (a lock, a time limit) | split by run | set the run aside and try later |
| `Unavailable` before the COMMIT | 429: nothing is written | the same |
| `InDoubt` | run again: every kind may be applied twice | the same |
| anything again while in doubt | see `_while_in_doubt` | the same |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.commit.kinds import Excluded, Waiting
from headrace.db.answers import in_doubt, not_written
from headrace.db.errors import Blocked, InDoubt, Retryable, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.contract.errors import ApiError

# For an operation whose COMMIT is in doubt and that the client must not send again: less than the 60 s after which
# a proxy in front gives up by default.
DOUBT_S: Final = 50.0
DOUBT_PAUSE_S: Final = 0.5
# Looking for the blocked run of a group takes a lock's time limit for each part that holds it. When everything is
# blocked (a table's lock), the search ends after this time and all runs are set aside.
SPLIT_S: Final = 2.0


class Past:
    """What has happened to some operations of a group already.

    `doubted`: a COMMIT of theirs may have taken place. `until`: of `perf_counter`, how long those in doubt are kept.
    `blocked_since`: of `perf_counter`, when a lock first stopped them.
    """

    __slots__ = ("blocked_since", "doubted", "until")

    def __init__(
        self,
        *,
        doubted: bool = False,
        until: float | None = None,
        blocked_since: float | None = None,
    ) -> None:
        self.doubted = doubted
        self.until = until
        self.blocked_since = blocked_since

    def copy(self) -> Past:
        """For a part of the operations, whose ways part from here."""
        return Past(doubted=self.doubted, until=self.until, blocked_since=self.blocked_since)


class Again:
    """Run the same operations again after `pause_s` seconds."""

    __slots__ = ("pause_s",)

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s


class Without:
    """Answer some operations (`answers`, by the `id()` of the operation), and run the others again."""

    __slots__ = ("answers",)

    def __init__(self, answers: dict[int, ApiError]) -> None:
        self.answers = answers


class Split:
    """Run each half by itself."""

    __slots__ = ()


class SetAside:
    """Keep the operations of these runs in queues of their own, and try them later."""

    __slots__ = ()


class Resolve:
    """Keep `kept` apart until it is known what became of them; the others are told `error`."""

    __slots__ = ("error", "kept", "until")

    def __init__(self, kept: list[Waiting], until: float, error: ApiError) -> None:
        self.kept = kept
        self.until = until
        self.error = error


class Refuse:
    """Every operation gets this error."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


Action = Again | Without | Split | SetAside | Resolve | Refuse


class Outcome:
    """Decides. `can_wait`: whether operations can be kept for later (there is an event loop)."""

    def __init__(self, *, can_wait: bool = True) -> None:
        self.can_wait = can_wait
        self.closing = (
            False  # at the end of the process nothing is kept for a database that is away
        )

    def of(self, error: Exception, group: Sequence[Waiting], past: Past, now: float) -> Action:
        """What the failure of a group's transaction means; notes in `past` what the next decision needs."""
        if isinstance(error, Excluded):
            return Without(error.answers)
        if isinstance(error, InDoubt) and not past.doubted:
            past.doubted = True
            return Again()
        if isinstance(error, Unavailable | Retryable):
            if past.doubted:
                return self._while_in_doubt(error, group, past, now)
            if isinstance(error, Blocked | Retryable):
                return self._blocked(error, group, past, now)
            return Refuse(not_written(error))
        return Split() if len(group) > 1 else Refuse(error)

    def _blocked(
        self, error: Blocked | Retryable, group: Sequence[Waiting], past: Past, now: float
    ) -> Action:
        if past.blocked_since is None:
            past.blocked_since = now
        if now - past.blocked_since < SPLIT_S and len({w.subject for w in group}) > 1:
            return Split()
        return SetAside() if self.can_wait else Refuse(not_written(error))

    def _while_in_doubt(
        self, error: Unavailable | Retryable, group: Sequence[Waiting], past: Past, now: float
    ) -> Action:
        """Another try of operations that may be written already failed.

        What a client can send again without harm is refused with 503 at once, unless the failure is a lock: that
        may be held by the transaction in doubt, whose end is near. The others wait for the database.
        """
        doubtful = in_doubt(error)
        if self.closing or not self.can_wait:
            return Refuse(doubtful)
        if past.until is not None:
            return Again(DOUBT_PAUSE_S) if now < past.until else Refuse(doubtful)
        kept = (
            list(group)
            if isinstance(error, Blocked | Retryable)
            else [waiting for waiting in group if waiting.kind.once]
        )
        return Resolve(kept, now + DOUBT_S, doubtful) if kept else Refuse(doubtful)
