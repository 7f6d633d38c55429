"""Requests and answers of guardrails. Times are milliseconds since the epoch."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import (
    INT32_MAX,
    INT32_MIN,
    Int64,
    Message,
    OptionalInt64,
    OptionalStr,
    RequiredStr,
)


class GuardrailStage(StrEnum):
    """When a guardrail runs: before the model is asked, or after it has answered."""

    __first_number__ = 0

    GUARDRAIL_STAGE_UNSPECIFIED = "GUARDRAIL_STAGE_UNSPECIFIED"
    BEFORE = "BEFORE"
    AFTER = "AFTER"


class GuardrailAction(StrEnum):
    """The effect of a guardrail: it refuses, or a model rewrites."""

    __first_number__ = 0

    GUARDRAIL_ACTION_UNSPECIFIED = "GUARDRAIL_ACTION_UNSPECIFIED"
    VALIDATION = "VALIDATION"
    SANITIZATION = "SANITIZATION"


STAGES = {
    "anyOf": [
        {"type": "string", "enum": ["BEFORE", "AFTER"]},
        {"type": "integer", "minimum": 1, "maximum": 2},
    ]
}
ACTIONS = {
    "anyOf": [
        {"type": "string", "enum": ["VALIDATION", "SANITIZATION"]},
        {"type": "integer", "minimum": 1, "maximum": 2},
    ]
}
REQUIRED = {"checks": ("required",)}
# The column has 32 bits; the handler checks the range.
Order = Annotated[
    OptionalInt64, Meta(extra_json_schema={"minimum": INT32_MIN, "maximum": INT32_MAX})
]


class CreateGuardrail(Message):
    """POST gateway/guardrails/create"""

    name: RequiredStr
    scorer_id: RequiredStr
    scorer_version: Annotated[Int64, Meta(extra={"checks": ("required", "intlike")})]
    stage: Annotated[GuardrailStage, Meta(extra=REQUIRED, extra_json_schema=STAGES)]
    action: Annotated[GuardrailAction, Meta(extra=REQUIRED, extra_json_schema=ACTIONS)]
    action_endpoint_id: OptionalStr = None


class GuardrailId(Message):
    """GET gateway/guardrails/get and DELETE gateway/guardrails/delete"""

    guardrail_id: RequiredStr


class ListGuardrails(Message):
    """GET gateway/guardrails/list"""

    max_results: Annotated[
        Int64 | None,
        Meta(
            extra={"checks": ("intlike",)},
            extra_json_schema={"minimum": 0, "maximum": SEARCH_MAX_RESULTS},
        ),
    ] = None
    page_token: OptionalStr = None


class AddGuardrail(Message):
    """POST gateway/guardrails/add-to-endpoint"""

    endpoint_id: RequiredStr
    guardrail_id: RequiredStr
    execution_order: Order = None


class UpdateConfig(Message):
    """PATCH gateway/guardrails/update-config; without an order, the guardrail runs last."""

    endpoint_id: RequiredStr
    guardrail_id: RequiredStr
    execution_order: Annotated[
        Int64 | None, Meta(extra_json_schema={"minimum": INT32_MIN, "maximum": INT32_MAX})
    ] = None


class RemoveGuardrail(Message):
    """DELETE gateway/guardrails/remove-from-endpoint"""

    endpoint_id: RequiredStr
    guardrail_id: RequiredStr


class ListConfigs(Message):
    """GET gateway/guardrails/list-for-endpoint"""

    endpoint_id: RequiredStr


class Scorer(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The version of a scorer that a guardrail runs; `serialized_scorer` is JSON."""

    experiment_id: int
    scorer_name: str
    scorer_version: int
    serialized_scorer: str
    creation_time: int | None = None
    scorer_id: str


class Guardrail(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A guardrail. Without the scorer, it is hidden from the caller."""

    guardrail_id: str
    name: str
    scorer: Scorer | None = None
    stage: str
    action: str
    action_endpoint_id: str | None = None  # as in stock, the endpoint's name
    created_by: str
    created_at: int
    last_updated_by: str
    last_updated_at: int


class Config(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A guardrail of an endpoint."""

    endpoint_id: str
    guardrail_id: str
    execution_order: int | None = None
    created_by: str
    created_at: int
    guardrail: Guardrail


class GuardrailAnswer(Message):
    """One guardrail."""

    guardrail: Guardrail


class ConfigAnswer(Message):
    """One guardrail of an endpoint."""

    config: Config


class GuardrailPage(Message):
    """A page of guardrails."""

    guardrails: list[Guardrail] = []
    next_page_token: str | None = None


class Configs(Message):
    """The guardrails of an endpoint, in the order in which they run."""

    configs: list[Config] = []
