"""Requests and answers of the webhook endpoints (MLflow's webhooks.proto)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.contract.scalars import CheckedStr, Int32, Message, OptionalStr, UncheckedStr


class WebhookStatus(StrEnum):
    """Whether a webhook receives events."""

    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"


class WebhookEntity(StrEnum):
    """The kind of object that changed; the database stores the name in lower case."""

    __first_number__ = 0

    ENTITY_UNSPECIFIED = "ENTITY_UNSPECIFIED"
    REGISTERED_MODEL = "REGISTERED_MODEL"
    MODEL_VERSION = "MODEL_VERSION"
    MODEL_VERSION_TAG = "MODEL_VERSION_TAG"
    MODEL_VERSION_ALIAS = "MODEL_VERSION_ALIAS"
    PROMPT = "PROMPT"
    PROMPT_VERSION = "PROMPT_VERSION"
    PROMPT_TAG = "PROMPT_TAG"
    PROMPT_VERSION_TAG = "PROMPT_VERSION_TAG"
    PROMPT_ALIAS = "PROMPT_ALIAS"
    BUDGET_POLICY = "BUDGET_POLICY"


class WebhookAction(StrEnum):
    """The change of the object."""

    __first_number__ = 0

    ACTION_UNSPECIFIED = "ACTION_UNSPECIFIED"
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    SET = "SET"
    EXCEEDED = "EXCEEDED"


class WebhookEvent(Message):
    """An event that a webhook can subscribe to."""

    entity: WebhookEntity | None = None
    action: WebhookAction | None = None


Events = Annotated[list[WebhookEvent], Meta(extra={"checks": ("array",)})]
Status = Annotated[WebhookStatus | None, Meta(extra={"checks": ("string",)})]


class CreateWebhook(Message):
    """POST webhooks"""

    name: CheckedStr
    url: CheckedStr
    events: Annotated[list[WebhookEvent], Meta(extra={"checks": ("array", "required")})]
    description: OptionalStr = None
    secret: OptionalStr = None
    status: Status = None


class ListWebhooks(Message):
    """GET webhooks"""

    max_results: Annotated[Int32 | None, Meta(extra={"checks": ("intlike",)})] = None
    page_token: OptionalStr = None


class WebhookId(Message):
    """GET and DELETE webhooks/{webhook_id}: the id is in the path"""

    webhook_id: UncheckedStr = None


class UpdateWebhook(Message):
    """PATCH webhooks/{webhook_id}: fields that are not set keep their values"""

    webhook_id: UncheckedStr = None
    name: OptionalStr = None
    description: OptionalStr = None
    url: OptionalStr = None
    events: Events = []
    secret: OptionalStr = None
    status: Status = None


class TestWebhook(Message):
    """POST webhooks/{webhook_id}/test"""

    __test__ = False  # a request, not a test class for pytest

    webhook_id: UncheckedStr = None
    event: WebhookEvent | None = None


# Answers.


class Webhook(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """One webhook, without its secret; times in milliseconds since the epoch."""

    webhook_id: str
    name: str
    description: str | None = None
    url: str
    events: list[WebhookEvent] = []
    status: str
    creation_timestamp: int | None = None
    last_updated_timestamp: int | None = None


class WebhookAnswer(Message):
    """One webhook."""

    webhook: Webhook


class WebhookPage(Message):
    """One page of webhooks, newest first; `next_page_token` only if there are more."""

    webhooks: list[Webhook] = []
    next_page_token: str | None = None


class TestResult(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The result of a delivery: an answer (success below 400), or the reason why there is none."""

    __test__ = False

    success: bool
    response_status: int | None = None
    response_body: str | None = None
    error_message: str | None = None


class TestAnswer(Message):
    """The result of a test."""

    __test__ = False

    result: TestResult
