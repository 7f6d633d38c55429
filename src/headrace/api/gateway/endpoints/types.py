"""Requests and answers of gateway endpoints. Times are milliseconds since the epoch."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.api.gateway.model_definitions.types import ModelDefinition
from headrace.contract.doubles import Double
from headrace.contract.scalars import (
    DEMANDED,
    NUMBER_AS_TEXT,
    Int32,
    Message,
    OptionalStr,
    RequiredStr,
    UncheckedStr,
)

MAX_FLOAT32 = 3.4028234663852886e38
NAME = {"minLength": 1, "pattern": r"^[a-zA-Z0-9_\-.]+$"}


OTHER_NAME = {"pattern": r"^[a-zA-Z0-9_\-.]*$"}  # an empty name changes nothing
ExperimentText = Annotated[UncheckedStr, Meta(extra_json_schema=NUMBER_AS_TEXT)]


class RoutingStrategy(StrEnum):
    """How an endpoint chooses among its primary models."""

    __first_number__ = 0

    ROUTING_STRATEGY_UNSPECIFIED = "ROUTING_STRATEGY_UNSPECIFIED"
    REQUEST_BASED_TRAFFIC_SPLIT = "REQUEST_BASED_TRAFFIC_SPLIT"


class FallbackStrategy(StrEnum):
    """How an endpoint chooses among its fallback models."""

    __first_number__ = 0

    FALLBACK_STRATEGY_UNSPECIFIED = "FALLBACK_STRATEGY_UNSPECIFIED"
    SEQUENTIAL = "SEQUENTIAL"


class Linkage(StrEnum):
    """The purpose of a model in an endpoint."""

    __first_number__ = 0

    LINKAGE_TYPE_UNSPECIFIED = "LINKAGE_TYPE_UNSPECIFIED"
    PRIMARY = "PRIMARY"
    FALLBACK = "FALLBACK"


class FallbackConfig(Message):
    """How fallback models are used; `max_attempts` None: all of them."""

    strategy: FallbackStrategy | None = None
    max_attempts: Int32 | None = None


LINKAGES = [
    {"type": "string", "enum": ["PRIMARY", "FALLBACK"]},
    {"type": "integer", "minimum": 1, "maximum": 2},
]
# A 32-bit float in MLflow's message.
Weight = Annotated[float, Meta(ge=-MAX_FLOAT32, le=MAX_FLOAT32)]


class ModelConfig(Message):
    """A model of an endpoint: a definition, and how it is used."""

    model_definition_id: UncheckedStr = None
    linkage_type: Annotated[
        Linkage | None, Meta(extra=DEMANDED, extra_json_schema={"anyOf": LINKAGES})
    ] = None
    weight: Weight | None = None
    fallback_order: Int32 | None = None


class CreateEndpoint(Message):
    """POST gateway/endpoints/create"""

    name: Annotated[RequiredStr, Meta(extra_json_schema=NAME)]
    model_configs: Annotated[
        list[ModelConfig], Meta(extra={"checks": ("required",)}, extra_json_schema={"minItems": 1})
    ]
    created_by: OptionalStr = None
    routing_strategy: Annotated[RoutingStrategy | None, Meta(extra={"checks": ("string",)})] = None
    fallback_config: FallbackConfig | None = None
    experiment_id: ExperimentText = None
    usage_tracking: bool | None = None


class GetEndpoint(Message):
    """GET gateway/endpoints/get; exactly one of the fields is set."""

    endpoint_id: OptionalStr = None
    name: OptionalStr = None


class UpdateEndpoint(Message):
    """POST gateway/endpoints/update; fields that are not set keep their values."""

    endpoint_id: RequiredStr
    name: Annotated[OptionalStr, Meta(extra_json_schema=OTHER_NAME)] = None
    updated_by: OptionalStr = None
    model_configs: list[ModelConfig] = []
    routing_strategy: Annotated[RoutingStrategy | None, Meta(extra={"checks": ("string",)})] = None
    fallback_config: FallbackConfig | None = None
    experiment_id: ExperimentText = None
    usage_tracking: bool | None = None


class EndpointId(Message):
    """DELETE gateway/endpoints/delete"""

    endpoint_id: RequiredStr


class ListEndpoints(Message):
    """GET gateway/endpoints/list; as in MLflow, `secret_id` has no effect."""

    provider: OptionalStr = None
    secret_id: UncheckedStr = None


class AttachModel(Message):
    """POST gateway/endpoints/models/attach"""

    endpoint_id: RequiredStr
    model_config: Annotated[ModelConfig, Meta(extra={"checks": ("required",)})]
    created_by: OptionalStr = None


class DetachModel(Message):
    """POST gateway/endpoints/models/detach"""

    endpoint_id: RequiredStr
    model_definition_id: RequiredStr


class SetEndpointTag(Message):
    """POST gateway/endpoints/set-tag"""

    endpoint_id: RequiredStr
    key: RequiredStr
    value: OptionalStr = None


class DeleteEndpointTag(Message):
    """DELETE gateway/endpoints/delete-tag"""

    endpoint_id: RequiredStr
    key: RequiredStr


class Mapping(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A model of an endpoint. Without the definition and its id, they are hidden from the caller."""

    mapping_id: str
    endpoint_id: str
    model_definition_id: str | None = None
    model_definition: ModelDefinition | None = None
    weight: Double
    created_at: int
    created_by: str | None = None
    linkage_type: str
    fallback_order: int | None = None


class EndpointTag(Message):
    """A tag of an endpoint."""

    key: str
    value: str | None = None


class Fallback(Message):
    """The `FallbackConfig` of an answer."""

    strategy: str | None = None
    max_attempts: int | None = None


class Endpoint(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A gateway endpoint."""

    endpoint_id: str
    name: str
    created_at: int
    last_updated_at: int
    model_mappings: list[Mapping] = []
    created_by: str
    last_updated_by: str
    tags: list[EndpointTag] = []
    routing_strategy: str | None = None
    fallback_config: Fallback | None = None
    experiment_id: str | None = None
    usage_tracking: bool


class EndpointAnswer(Message):
    """One endpoint."""

    endpoint: Endpoint


class Endpoints(Message):
    """All endpoints that the caller may read."""

    endpoints: list[Endpoint] = []


class MappingAnswer(Message):
    """One model of an endpoint."""

    mapping: Mapping
