"""Requests and answers of review queues."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import (
    DEMANDED,
    ExperimentNumber,
    Int32,
    Message,
    RequiredStr,
    Text,
    UncheckedStr,
)

MAX_NAME: Final = 250  # characters; mlflow/genai/review_queues/validation.py has these limits
MAX_USER: Final = 250  # characters
MAX_SCHEMA_ID: Final = 36  # characters
MAX_ITEM_ID: Final = 50  # characters
MAX_USERS: Final = 10


class ReviewQueueType(StrEnum):
    """The queue of one user, or any other; the database stores the name in lower case."""

    __first_number__ = 0

    REVIEW_QUEUE_TYPE_UNSPECIFIED = "REVIEW_QUEUE_TYPE_UNSPECIFIED"
    USER = "USER"
    CUSTOM = "CUSTOM"


class ReviewItemType(StrEnum):
    """The type of an item; the database stores the name in lower case."""

    __first_number__ = 0

    REVIEW_ITEM_TYPE_UNSPECIFIED = "REVIEW_ITEM_TYPE_UNSPECIFIED"
    TRACE = "TRACE"


class ReviewStatus(StrEnum):
    """The state of an item; the database stores the name in lower case."""

    __first_number__ = 0

    REVIEW_STATUS_UNSPECIFIED = "REVIEW_STATUS_UNSPECIFIED"
    PENDING = "PENDING"
    COMPLETE = "COMPLETE"
    DECLINED = "DECLINED"


def _one_of(*names: str) -> dict[str, object]:
    """The schema of an enum without its first member, which the handler refuses."""
    number = {"type": "integer", "minimum": 1, "maximum": len(names)}
    return {"anyOf": [{"type": "string", "enum": list(names)}, number]}


# The handlers check these limits, in MLflow's words.
TEXT: Final = {"pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}  # more than white space
NAMED: Final = TEXT | {"maxLength": MAX_NAME}
Names = list[Annotated[Text, Meta(extra_json_schema=TEXT | {"maxLength": MAX_USER})]]
Users = Annotated[Names, Meta(extra_json_schema={"maxItems": MAX_USERS})]
SchemaIds = list[Annotated[Text, Meta(extra_json_schema=TEXT | {"maxLength": MAX_SCHEMA_ID})]]
ItemIds = Annotated[
    list[Annotated[Text, Meta(extra_json_schema=TEXT | {"maxLength": MAX_ITEM_ID})]],
    Meta(extra=DEMANDED, extra_json_schema={"minItems": 1}),
]
MaxResults = Annotated[
    Int32 | None,
    Meta(
        extra={"checks": ("intlike",)},
        extra_json_schema={"minimum": 1, "maximum": SEARCH_MAX_RESULTS},
    ),
]


class CreateReviewQueue(Message):
    """POST review-queues/create. The owner is the user who sends the request, not `created_by`."""

    experiment_id: ExperimentNumber
    name: Annotated[RequiredStr, Meta(extra_json_schema=NAMED)]
    queue_type: Annotated[
        ReviewQueueType | None,
        Meta(extra=DEMANDED, extra_json_schema=_one_of("USER", "CUSTOM")),
    ] = None
    created_by: UncheckedStr = None
    users: Users = []
    schema_ids: SchemaIds = []


class GetOrCreateUserQueue(Message):
    """POST review-queues/get-or-create-user. The owner is the user, not `created_by`."""

    experiment_id: ExperimentNumber
    user: Annotated[RequiredStr, Meta(extra_json_schema=NAMED)]
    created_by: UncheckedStr = None


class ReviewQueueId(Message):
    """GET review-queues/get and POST review-queues/delete"""

    queue_id: RequiredStr


class ReviewQueueName(Message):
    """GET review-queues/get-by-name"""

    experiment_id: ExperimentNumber
    name: RequiredStr


class ListReviewQueues(Message):
    """GET review-queues/list: those of a user, and those with an item."""

    experiment_id: ExperimentNumber
    user: UncheckedStr = None
    item_id: UncheckedStr = None
    max_results: MaxResults = None
    page_token: UncheckedStr = None


class UpdateReviewQueue(Message):
    """POST review-queues/update; lists count only with their `update_` field."""

    queue_id: RequiredStr
    update_users: bool | None = None
    users: Users = []
    update_schema_ids: bool | None = None
    schema_ids: SchemaIds = []
    name: Annotated[UncheckedStr, Meta(extra_json_schema=NAMED)] = None
    new_owner: Annotated[UncheckedStr, Meta(extra_json_schema=NAMED)] = None


class AddItems(Message):
    """POST review-queues/items/add"""

    queue_id: RequiredStr
    item_type: ReviewItemType | None = None
    item_ids: ItemIds = []


class RemoveItems(Message):
    """POST review-queues/items/remove"""

    queue_id: RequiredStr
    item_ids: ItemIds = []


class ListItems(Message):
    """GET review-queues/items/list"""

    queue_id: RequiredStr
    status: ReviewStatus | None = None
    max_results: MaxResults = None
    page_token: UncheckedStr = None


class SetItemStatus(Message):
    """POST review-queues/items/set-status. With users, `completed_by` is ignored."""

    queue_id: RequiredStr
    item_id: RequiredStr
    status: Annotated[
        ReviewStatus | None,
        Meta(extra=DEMANDED, extra_json_schema=_one_of("PENDING", "COMPLETE", "DECLINED")),
    ] = None
    completed_by: Annotated[UncheckedStr, Meta(extra_json_schema={"maxLength": MAX_USER})] = None


class ReviewQueue(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A review queue; times in milliseconds since the epoch."""

    queue_id: str
    experiment_id: str
    name: str
    queue_type: ReviewQueueType
    created_by: str | None = None
    creation_time_ms: int
    last_update_time_ms: int
    users: list[str] = []
    schema_ids: list[str] = []


class ReviewQueueAnswer(Message):
    """One review queue."""

    review_queue: ReviewQueue


class ReviewQueuePage(Message, kw_only=True):
    """A page of review queues; the token is empty after the last page."""

    review_queues: list[ReviewQueue] = []
    next_page_token: str


class ReviewQueueItem(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """An item of a review queue; times in milliseconds since the epoch."""

    queue_id: str
    item_type: ReviewItemType
    item_id: str
    status: ReviewStatus
    completed_by: str | None = None
    completed_time_ms: int | None = None
    creation_time_ms: int
    last_update_time_ms: int


class ItemAnswer(Message):
    """One item."""

    item: ReviewQueueItem


class ItemList(Message):
    """Some items of a review queue."""

    items: list[ReviewQueueItem] = []


class ItemPage(Message, kw_only=True):
    """A page of items; the token is empty after the last page."""

    items: list[ReviewQueueItem] = []
    next_page_token: str
