"""Decides how a failed group continues; group.py carries the decisions out.

| The transaction failed with | Several operations | One operation, or one run |
| --- | --- | --- |
| `Excluded` | answer the excluded ones, run the others again | the same |
| a rejection (a key, a value, a defect of headrace) | split in halves | answer with it |
| `Blocked`, `Retryable` (a lock, a time limit) | split by run | set the run aside and retry it later |
| `Unavailable` before the COMMIT | 429: nothing is written | the same |
| `InDoubt` | run again: an operation may be applied twice | the same |
| a further failure while in doubt | see `_on_failure_in_doubt` | the same |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.commit.kinds import Excluded, Waiting
from headrace.db.api_errors import in_doubt, not_written
from headrace.db.errors import Blocked, InDoubt, Retryable, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.contract.errors import ApiError

# How long to look for an operation whose COMMIT is in doubt and that the client must not repeat:
# less than the default timeout of proxies, 60 s.
DOUBT_S: Final = 50.0
DOUBT_PAUSE_S: Final = 0.5
# The search for the blocked run of a group waits for the lock in each part that contains it. When
# every run is blocked (a table lock), the search ends after this time and all runs are set aside.
SPLIT_S: Final = 2.0


class History:
    """Earlier failures of some operations.

    `doubted`: a COMMIT with them may have taken place. `until`: the `perf_counter` up to which
    operations in doubt are retried. `blocked_since`: the `perf_counter` when a lock first stopped
    them.
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

    def copy(self) -> History:
        """A copy for one part of a split group."""
        return History(doubted=self.doubted, until=self.until, blocked_since=self.blocked_since)


class Retry:
    """Run the same operations again after `pause_s` seconds."""

    __slots__ = ("pause_s",)

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s


class RetryWithout:
    """Answer some operations (`answers`, by the `id()` of the operation), and run the others again."""

    __slots__ = ("answers",)

    def __init__(self, answers: dict[int, ApiError]) -> None:
        self.answers = answers


class Split:
    """Run each half in a separate transaction."""

    __slots__ = ()


class SetAside:
    """Move the operations to the queues of blocked runs and retry them later."""

    __slots__ = ()


class Resolve:
    """Retry `kept` apart until their state is known; answer the others with `error`."""

    __slots__ = ("error", "kept", "until")

    def __init__(self, kept: list[Waiting], until: float, error: ApiError) -> None:
        self.kept = kept
        self.until = until
        self.error = error


class Reject:
    """Answer every operation with this error."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


Action = Retry | RetryWithout | Split | SetAside | Resolve | Reject


class FailurePolicy:
    """The decisions. `can_wait`: whether operations can wait for a later attempt (needs an event loop)."""

    def __init__(self, *, can_wait: bool = True) -> None:
        self.can_wait = can_wait
        # A process that ends does not wait for an unavailable database.
        self.closing = False

    def decide(
        self, error: Exception, group: Sequence[Waiting], history: History, now: float
    ) -> Action:
        """The action after a failed transaction of a group; updates `history` for the next decision."""
        if isinstance(error, Excluded):
            return RetryWithout(error.answers)
        if isinstance(error, InDoubt) and not history.doubted:
            history.doubted = True
            return Retry()
        if isinstance(error, Unavailable | Retryable):
            if history.doubted:
                return self._on_failure_in_doubt(error, group, history, now)
            if isinstance(error, Blocked | Retryable):
                return self._on_lock(error, group, history, now)
            return Reject(not_written(error))
        return Split() if len(group) > 1 else Reject(error)

    def _on_lock(
        self, error: Blocked | Retryable, group: Sequence[Waiting], history: History, now: float
    ) -> Action:
        if history.blocked_since is None:
            history.blocked_since = now
        if now - history.blocked_since < SPLIT_S and len({w.subject for w in group}) > 1:
            return Split()
        return SetAside() if self.can_wait else Reject(not_written(error))

    def _on_failure_in_doubt(
        self, error: Unavailable | Retryable, group: Sequence[Waiting], history: History, now: float
    ) -> Action:
        """The action after a repeated attempt failed of operations that may be written already.

        Operations that a client can safely repeat are rejected with 503 immediately, unless a lock
        caused the failure: the transaction in doubt may hold it, and will soon end. The others wait
        for the database.
        """
        doubtful = in_doubt(error)
        if self.closing or not self.can_wait:
            return Reject(doubtful)
        if history.until is not None:
            return Retry(DOUBT_PAUSE_S) if now < history.until else Reject(doubtful)
        kept = (
            list(group)
            if isinstance(error, Blocked | Retryable)
            else [waiting for waiting in group if waiting.kind.once]
        )
        return Resolve(kept, now + DOUBT_S, doubtful) if kept else Reject(doubtful)
