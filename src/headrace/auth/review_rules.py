"""The conditions of scorers and review queues. No I/O; see `rules`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.auth.grantable import canonical, scorer_id
from headrace.auth.rules import Need

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.auth.rules import Action


def scorer_ids(req: Any) -> tuple[str, ...]:
    """The scorer that a request names."""
    return (scorer_id(req.experiment_id, req.name),)


def scorer(action: Action, when: Callable[[Any], bool] | None = None) -> Need:
    """Require the action on a scorer, by the grants on scorers alone."""
    return Need("scorer", action, scorer_ids, when=when)


def scorer_version(action: Action) -> Need:
    """Require the action on versions of scorers, or else on the scorer."""
    return Need("scorer_version", action, scorer_ids, "scorer", named="scorer")


def review_queue(action: Action, when: Callable[[Any], bool] | None = None) -> Need:
    """Require reading the experiment of a review queue, and the action on the queue.

    A queue that does not exist is a 404. The action is on review queues or else on the experiment:

    `open`: read for a member of the queue, update for its owner, manage for others.
    `configure`: update for its owner, manage for others. `prune`: the same, but manage for the
    queue of one user. `review`: update, and only for members.
    """
    return Need("review_queue", action, "queue_id", "experiment", tells_unknown=True, when=when)


def queue_names(req: Any) -> tuple[str, ...]:
    """The review queue that a request names; the case of names does not count."""
    return (f"{canonical(req.experiment_id)}/{req.name.lower()}",)


OPENS_NAMED_QUEUE: Final = Need(
    "review_queue", "open", queue_names, "experiment", named="queue_name"
)  # of a queue that does not exist: read
