"""Requests and answers of the registered model endpoints (MLflow's model_registry.proto)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.api.nouns import KeyValue, Tag
from headrace.api.registry.versions.types import ModelVersion
from headrace.contract.limits import SEARCH_MAX_REGISTERED_MODELS
from headrace.contract.scalars import (
    INT64_MIN,
    CheckedStr,
    LongStr,
    Message,
    OptionalStr,
    UncheckedStr,
)


class CreateRegisteredModel(Message):
    """POST registered-models/create"""

    name: CheckedStr
    tags: Annotated[list[Tag], Meta(extra={"checks": ("array",)})] = []
    description: OptionalStr = None
    deployment_job_id: UncheckedStr = None


class RegisteredModelName(Message):
    """GET registered-models/get; DELETE registered-models/delete"""

    name: CheckedStr


class UpdateRegisteredModel(Message):
    """PATCH registered-models/update"""

    name: CheckedStr
    description: OptionalStr = None
    deployment_job_id: UncheckedStr = None


class RenameRegisteredModel(Message):
    """POST registered-models/rename"""

    name: CheckedStr
    new_name: CheckedStr


class GetLatestVersions(Message):
    """GET and POST registered-models/get-latest-versions"""

    name: CheckedStr
    stages: Annotated[list[str], Meta(extra={"checks": ("array", "item_type_string")})] = []


class SetRegisteredModelTag(Message):
    """POST registered-models/set-tag"""

    name: CheckedStr
    key: CheckedStr
    value: LongStr = None


class DeleteRegisteredModelTag(Message):
    """DELETE registered-models/delete-tag"""

    name: CheckedStr
    key: CheckedStr


class SetAlias(Message):
    """POST registered-models/alias"""

    name: CheckedStr
    alias: CheckedStr
    version: CheckedStr


class AliasKey(Message):
    """GET and DELETE registered-models/alias"""

    name: CheckedStr
    alias: CheckedStr


class SearchRegisteredModels(Message):
    """GET registered-models/search"""

    filter: LongStr = None
    max_results: Annotated[
        Annotated[int, Meta(ge=INT64_MIN, le=SEARCH_MAX_REGISTERED_MODELS)] | None,
        Meta(extra={"checks": ("intlike", ("max", SEARCH_MAX_REGISTERED_MODELS))}),
    ] = None
    order_by: Annotated[list[str], Meta(extra={"checks": ("array", "item_type_string")})] = []
    page_token: OptionalStr = None


# Answers.


class Alias(msgspec.Struct, gc=False):
    """An alias and the version that it refers to."""

    alias: str
    version: str


class RegisteredModel(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """One model; times in milliseconds since the epoch. None and empty lists are omitted."""

    name: str
    creation_timestamp: int | None = None
    last_updated_timestamp: int | None = None
    description: str | None = None
    latest_versions: list[ModelVersion] = []
    tags: list[KeyValue] = []
    aliases: list[Alias] = []


class RegisteredModelAnswer(Message):
    """One model."""

    registered_model: RegisteredModel


class RegisteredModelPage(Message):
    """One page of a search; `next_page_token` only if there are more models."""

    registered_models: list[RegisteredModel] = []
    next_page_token: str | None = None
