"""Requests and answers of label schemas."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.contract.scalars import (
    Int32,
    Int64,
    Message,
    RequiredStr,
    UncheckedStr,
)


class LabelSchemaType(StrEnum):
    """What the answers to a question become; the database stores the name in lower case."""

    __first_number__ = 0

    LABEL_SCHEMA_TYPE_UNSPECIFIED = "LABEL_SCHEMA_TYPE_UNSPECIFIED"
    FEEDBACK = "FEEDBACK"
    EXPECTATION = "EXPECTATION"


class PassFailIn(Message):
    """A choice of two labels."""

    positive_label: str | None = None
    negative_label: str | None = None


class CategoricalIn(Message):
    """A choice of one option, or of several."""

    options: list[str] = []
    multi_select: bool | None = None


class NumericIn(Message):
    """A number, possibly with bounds."""

    min_value: float | None = None
    max_value: float | None = None


class TextIn(Message):
    """A text, possibly with a maximum length in characters."""

    max_length: Int64 | None = None


class InputIn(Message):
    """How a question is answered; exactly one field is set."""

    pass_fail: PassFailIn | None = None
    categorical: CategoricalIn | None = None
    numeric: NumericIn | None = None
    text: TextIn | None = None


class CreateLabelSchema(Message):
    """POST label-schemas/create"""

    experiment_id: RequiredStr
    name: RequiredStr
    type: LabelSchemaType | None = None
    input: InputIn | None = None
    instruction: UncheckedStr = None
    enable_comment: bool | None = None


class LabelSchemaId(Message):
    """GET label-schemas/get and DELETE label-schemas/delete"""

    schema_id: RequiredStr


class LabelSchemaName(Message):
    """GET label-schemas/get-by-name"""

    experiment_id: RequiredStr
    name: RequiredStr


class ListLabelSchemas(Message):
    """GET label-schemas/list"""

    experiment_id: RequiredStr
    max_results: Annotated[Int32 | None, Meta(extra={"checks": ("intlike",)})] = None
    page_token: UncheckedStr = None


class UpdateLabelSchema(Message):
    """PATCH label-schemas/update; fields that are not set keep their values."""

    schema_id: RequiredStr
    name: UncheckedStr = None
    instruction: UncheckedStr = None
    enable_comment: bool | None = None
    input: InputIn | None = None


class PassFail(msgspec.Struct, gc=False):
    """A choice of two labels."""

    positive_label: str
    negative_label: str


class Categorical(msgspec.Struct, gc=False):
    """A choice of one option, or of several."""

    options: list[str]
    multi_select: bool


class Numeric(Message):
    """A number, possibly with bounds."""

    min_value: float | None = None
    max_value: float | None = None


class TextInput(Message):
    """A text, possibly with a maximum length in characters."""

    max_length: int | None = None


class Input(Message):
    """How a question is answered."""

    pass_fail: PassFail | None = None
    categorical: Categorical | None = None
    numeric: Numeric | None = None
    text: TextInput | None = None


class LabelSchema(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A question; times in milliseconds since the epoch."""

    schema_id: str
    experiment_id: str
    name: str
    type: LabelSchemaType
    instruction: str | None = None
    enable_comment: bool
    input: Input
    created_by: str | None = None
    created_at: int
    last_updated_at: int
    is_default: bool


class LabelSchemaAnswer(Message):
    """One label schema."""

    label_schema: LabelSchema


class LabelSchemaPage(Message, kw_only=True):
    """A page of label schemas; the token is empty after the last page."""

    label_schemas: list[LabelSchema] = []
    next_page_token: str
