"""Requests and answers of the model version endpoints (MLflow's model_registry.proto)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from headrace.api.nouns import KeyValue, Tag
from headrace.contract.limits import SEARCH_MAX_MODEL_VERSIONS
from headrace.contract.scalars import (
    INT64_MIN,
    CheckedStr,
    DemandedStr,
    LongStr,
    Message,
    OptionalStr,
)

# A stage in upper or lower case, for the OpenAPI document; `lookup.stage_of` rejects other values.
STAGE: Final = (
    "^("
    + "|".join(
        "".join(f"[{letter.upper()}{letter.lower()}]" for letter in stage)
        for stage in ("none", "staging", "production", "archived")
    )
    + ")$"
)


class CreateModelVersion(Message):
    """POST model-versions/create"""

    __kept_ids__ = ("run_id",)  # stored as it is; its files are looked up in the workspace only

    name: CheckedStr
    source: CheckedStr
    run_id: OptionalStr = None
    tags: Annotated[list[Tag], Meta(extra={"checks": ("array",)})] = []
    run_link: OptionalStr = None
    description: OptionalStr = None
    model_id: OptionalStr = None


class ModelVersionKey(Message):
    """GET model-versions/get; DELETE model-versions/delete"""

    name: CheckedStr
    version: CheckedStr


class DownloadUriKey(Message):
    """GET model-versions/get-download-uri: the handler rejects missing fields"""

    name: Annotated[DemandedStr, Meta(extra_json_schema={"minLength": 1})] = None
    version: Annotated[DemandedStr, Meta(extra_json_schema={"minLength": 1})] = None


class UpdateModelVersion(Message):
    """PATCH model-versions/update"""

    name: CheckedStr
    version: CheckedStr
    description: OptionalStr = None


class TransitionStage(Message):
    """POST model-versions/transition-stage"""

    name: CheckedStr
    version: CheckedStr
    stage: Annotated[CheckedStr, Meta(extra_json_schema={"pattern": STAGE})]
    archive_existing_versions: Annotated[bool | None, Meta(extra={"checks": ("bool",)})] = None


class SetModelVersionTag(Message):
    """POST model-versions/set-tag"""

    name: CheckedStr
    version: CheckedStr
    key: CheckedStr
    value: LongStr = None


class DeleteModelVersionTag(Message):
    """DELETE model-versions/delete-tag"""

    name: CheckedStr
    version: CheckedStr
    key: CheckedStr


class SearchModelVersions(Message):
    """GET model-versions/search"""

    filter: LongStr = None
    max_results: Annotated[
        Annotated[int, Meta(ge=INT64_MIN, le=SEARCH_MAX_MODEL_VERSIONS)] | None,
        Meta(extra={"checks": ("intlike", ("max", SEARCH_MAX_MODEL_VERSIONS))}),
    ] = None
    order_by: Annotated[list[str], Meta(extra={"checks": ("array", "item_type_string")})] = []
    page_token: OptionalStr = None


# Answers.


class ModelVersion(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """One version; times in milliseconds since the epoch. None and empty lists are omitted."""

    name: str
    version: str
    creation_timestamp: int | None = None
    last_updated_timestamp: int | None = None
    user_id: str | None = None
    current_stage: str | None = None
    description: str | None = None
    source: str | None = None
    run_id: str | None = None
    status: str | None = None
    status_message: str | None = None
    tags: list[KeyValue] = []
    run_link: str | None = None
    aliases: list[str] = []


class ModelVersionAnswer(Message):
    """One version."""

    model_version: ModelVersion


class ModelVersions(Message):
    """Versions; `next_page_token` only if a search has more."""

    model_versions: list[ModelVersion] = []
    next_page_token: str | None = None


class DownloadUri(Message):
    """The location of the files of a version."""

    artifact_uri: str
