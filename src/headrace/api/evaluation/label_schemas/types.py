"""Requests and answers of label schemas."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from headrace.contract.doubles import Double
from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import (
    DEMANDED,
    ExperimentNumber,
    Int32,
    Int64,
    Message,
    RequiredStr,
    UncheckedStr,
)


class LabelSchemaType(StrEnum):
    """The kind of assessment that answers become; the database stores the name in lower case."""

    __first_number__ = 0

    LABEL_SCHEMA_TYPE_UNSPECIFIED = "LABEL_SCHEMA_TYPE_UNSPECIFIED"
    FEEDBACK = "FEEDBACK"
    EXPECTATION = "EXPECTATION"


# The handler checks these limits, in MLflow's words.
Name = Annotated[RequiredStr, Meta(extra_json_schema={"maxLength": 250})]
Instruction = Annotated[UncheckedStr, Meta(extra_json_schema={"maxLength": 1000})]
LABEL: Final = {"minLength": 1, "maxLength": 64}
Label = Annotated[str | None, Meta(extra=DEMANDED, extra_json_schema=LABEL)]
TYPES: Final = [
    {"type": "string", "enum": ["FEEDBACK", "EXPECTATION"]},
    {"type": "integer", "minimum": 1, "maximum": 2},
]


class PassFailIn(Message):
    """A choice of two labels."""

    positive_label: Label = None
    negative_label: Label = None


class CategoricalIn(Message):
    """A choice of one option, or of several."""

    options: Annotated[
        list[Annotated[str, Meta(extra_json_schema=LABEL)]],
        Meta(extra=DEMANDED, extra_json_schema={"minItems": 1, "maxItems": 10}),
    ] = []
    multi_select: bool | None = None


class NumericIn(Message):
    """A number, possibly with bounds."""

    min_value: float | None = None
    max_value: float | None = None


class TextIn(Message):
    """A text, possibly with a maximum length in characters."""

    max_length: Annotated[Int64 | None, Meta(extra_json_schema={"minimum": 1})] = None


class InputIn(Message):
    """How a question is answered; exactly one field is set."""

    pass_fail: PassFailIn | None = None
    categorical: CategoricalIn | None = None
    numeric: NumericIn | None = None
    text: TextIn | None = None


class CreateLabelSchema(Message):
    """POST label-schemas/create"""

    experiment_id: ExperimentNumber
    name: Name
    type: Annotated[
        LabelSchemaType | None, Meta(extra=DEMANDED, extra_json_schema={"anyOf": TYPES})
    ] = None
    input: Annotated[InputIn | None, Meta(extra=DEMANDED)] = None
    instruction: Instruction = None
    enable_comment: bool | None = None


class LabelSchemaId(Message):
    """GET label-schemas/get and DELETE label-schemas/delete"""

    schema_id: RequiredStr


class LabelSchemaName(Message):
    """GET label-schemas/get-by-name"""

    experiment_id: ExperimentNumber
    name: RequiredStr


class ListLabelSchemas(Message):
    """GET label-schemas/list"""

    experiment_id: ExperimentNumber
    max_results: Annotated[
        Int32 | None,
        Meta(
            extra={"checks": ("intlike",)},
            extra_json_schema={"minimum": 1, "maximum": SEARCH_MAX_RESULTS},
        ),
    ] = None
    page_token: UncheckedStr = None


class UpdateLabelSchema(Message):
    """PATCH label-schemas/update; fields that are not set keep their values."""

    schema_id: RequiredStr
    name: Annotated[UncheckedStr, Meta(extra_json_schema={"minLength": 1, "maxLength": 250})] = None
    instruction: Instruction = None
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

    min_value: Double | None = None
    max_value: Double | None = None


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
