"""The rules of review queues. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.api.evaluation.review_queues.types import (
    MAX_ITEM_ID,
    MAX_NAME,
    MAX_SCHEMA_ID,
    MAX_USER,
    MAX_USERS,
    ReviewQueueType,
    ReviewStatus,
)
from headrace.contract.errors import ApiError, ErrorCode, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESERVED = "default"  # the queue of the only user of a server without users


class Queue(NamedTuple):
    """A queue that a request describes, checked."""

    type: str
    name: str
    users: Sequence[str] = ()
    schema_ids: Sequence[str] = ()


def name_taken(name: str) -> ApiError:
    """Another queue of the experiment has the name."""
    return ApiError(
        ErrorCode.RESOURCE_ALREADY_EXISTS,
        f"Review queue with name '{name}' already exists (names are case-insensitive).",
    )


def names_new_owner(req: Any) -> bool:
    """Whether an update gives the queue to another user."""
    return req.new_owner is not None


def keeps_owner(req: Any) -> bool:
    """Whether an update leaves the queue to its owner."""
    return req.new_owner is None


def user_of(text: str) -> str:
    """The name of a user as queues store it."""
    return text.strip().lower()


def _check(text: str, field: str, limit: int) -> str:
    if not text:
        raise invalid(f"`{field}` must be a non-empty string; got {text!r}.")
    if len(text) > limit:
        raise invalid(f"`{field}` must be at most {limit} characters; got {len(text)}.")
    return text


def users_of(given: Iterable[str]) -> list[str]:
    """The users of a queue. Raises INVALID_PARAMETER_VALUE."""
    found = list(dict.fromkeys([_check(user_of(one), "user", MAX_USER) for one in given]))
    if len(found) > MAX_USERS:
        raise invalid(
            f"A review queue can have at most {MAX_USERS} assigned users; got {len(found)}."
        )
    return found


def schema_ids_of(given: Iterable[str]) -> list[str]:
    """The label schemas of a queue. Raises INVALID_PARAMETER_VALUE."""
    return list(dict.fromkeys([_check(one.strip(), "schema_id", MAX_SCHEMA_ID) for one in given]))


def item_ids_of(given: Sequence[str]) -> list[str]:
    """The items of a request. Raises INVALID_PARAMETER_VALUE."""
    if not given:
        raise invalid("`item_ids` must be a non-empty list; got [].")
    return list(dict.fromkeys([_check(one.strip(), "item_id", MAX_ITEM_ID) for one in given]))


def owner_of(given: str) -> str:
    """The new owner of a queue. Raises INVALID_PARAMETER_VALUE."""
    return _check(given.strip(), "new_owner", MAX_USER)


def custom_name(given: str) -> str:
    """The name of a queue that is not a user's. Raises INVALID_PARAMETER_VALUE."""
    name = _check(given.strip(), "name", MAX_NAME)
    if name.lower() == RESERVED:
        raise invalid(f"`{name}` is a reserved queue name and cannot be used for a custom queue.")
    return name


def user_queue(user: str) -> Queue:
    """The queue of a user. Raises INVALID_PARAMETER_VALUE."""
    name = _check(user_of(user), "name", MAX_NAME)
    return Queue("user", name, [name])


def queue(
    type_: ReviewQueueType | None, name: str, users: Sequence[str], schema_ids: Sequence[str]
) -> Queue:
    """The queue of a request. Raises INVALID_PARAMETER_VALUE."""
    if type_ is None or type_ is ReviewQueueType.REVIEW_QUEUE_TYPE_UNSPECIFIED:
        raise invalid("`queue_type` must be one of USER or CUSTOM; got proto enum value 0.")
    some, ids = users_of(users), schema_ids_of(schema_ids)
    if type_ is ReviewQueueType.CUSTOM:
        return Queue("custom", custom_name(name), some, ids)
    own = user_queue(name)
    if some and some != own.users:
        raise invalid(
            "A user queue must have exactly one assigned user equal to its name; "
            f"got name={own.name!r} and users={some!r}."
        )
    if ids:
        raise invalid(
            "A user queue cannot have explicitly-attached schemas; it resolves to all "
            "of the experiment's label schemas."
        )
    return own


def status_of(given: ReviewStatus | None) -> str:
    """The new status of an item. Raises INVALID_PARAMETER_VALUE."""
    if given is None or given is ReviewStatus.REVIEW_STATUS_UNSPECIFIED:
        raise invalid(
            "`status` must be one of PENDING, COMPLETE, or DECLINED; got proto enum value 0."
        )
    return given.lower()


def completed_by(status: str, user: str | None) -> str | None:
    """The user who sets a status. Raises INVALID_PARAMETER_VALUE."""
    name = None if user is None else user_of(user)
    if status == "pending":
        if name is not None:
            raise invalid("`completed_by` must not be set when reopening an item to `pending`.")
        return None
    if not name:
        raise invalid(f"`completed_by` is required when setting status to `{status}`.")
    if len(name) > MAX_USER:
        raise invalid(f"`completed_by` must be at most {MAX_USER} characters; got {len(name)}.")
    return name
