"""Requests and answers of model definitions."""

from __future__ import annotations

import msgspec

from headrace.contract.scalars import Message, OptionalStr, RequiredStr


class CreateModelDefinition(Message):
    """POST gateway/model-definitions/create"""

    name: RequiredStr
    secret_id: RequiredStr
    provider: RequiredStr
    model_name: RequiredStr
    created_by: OptionalStr = None


class ModelDefinitionId(Message):
    """GET gateway/model-definitions/get and DELETE gateway/model-definitions/delete"""

    model_definition_id: RequiredStr


class ListModelDefinitions(Message):
    """GET gateway/model-definitions/list"""

    provider: OptionalStr = None
    secret_id: OptionalStr = None


class UpdateModelDefinition(Message):
    """POST gateway/model-definitions/update; an empty field keeps its value"""

    model_definition_id: RequiredStr
    name: OptionalStr = None
    secret_id: OptionalStr = None
    model_name: OptionalStr = None
    updated_by: OptionalStr = None
    provider: OptionalStr = None


class ModelDefinition(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A model definition; without a secret after that was deleted. Times are milliseconds."""

    model_definition_id: str
    name: str
    secret_id: str | None = None
    secret_name: str | None = None
    provider: str
    model_name: str
    created_at: int
    last_updated_at: int
    created_by: str | None = None
    last_updated_by: str | None = None


class ModelDefinitionAnswer(Message):
    """One model definition."""

    model_definition: ModelDefinition


class ModelDefinitionList(Message):
    """All model definitions that the caller may read, the oldest first."""

    model_definitions: list[ModelDefinition] = []
