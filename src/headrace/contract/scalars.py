"""Field types of requests and responses, which are msgspec Structs that mirror MLflow's protobuf messages.

msgspec decodes in C the JSON that ordinary clients send. If it rejects a body (for camelCase, an int64 as
text, a missing field …), `http.proto` reads it by protobuf's JSON rules and reports errors in MLflow's
words. `checks` names MLflow's validators of a field, in MLflow's order.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from headrace.contract.limits import MAX_TEXT

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
INT32_MIN: Final = -(2**31)
INT32_MAX: Final = 2**31 - 1


class Message(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False
):
    """A protobuf message. None stands for an unset field, which JSON omits."""


class Empty(Message):
    """`{}`"""


class PathOnly(Message):
    """A request whose query and body are ignored; only its path counts.

    Its fields are the arguments of the path as the client wrote them, including NUL.
    """


# Types of request fields. `str | None` is a protobuf string with presence.
RequiredStr = Annotated[
    str, Meta(min_length=1, max_length=MAX_TEXT, extra={"checks": ("required", "string")})
]
# As RequiredStr, but MLflow checks the type before the presence.
CheckedStr = Annotated[
    str, Meta(min_length=1, max_length=MAX_TEXT, extra={"checks": ("string", "required")})
]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
OptionalStr = Annotated[Text | None, Meta(extra={"checks": ("string",)})]
UncheckedStr = Text | None
# An experiment id as text. The pattern is for /openapi.json only; `parse_id` reports invalid ids.
NUMBER_AS_TEXT: Final = {"pattern": r"^\s*[+-]?[0-9]+(_[0-9]+)*\s*$"}
ExperimentNumber = Annotated[RequiredStr, Meta(extra_json_schema=NUMBER_AS_TEXT)]
ExperimentNumbers = list[Annotated[str, Meta(extra_json_schema=NUMBER_AS_TEXT)]]
# A field that the type lets be missing and the handler does not, in MLflow's words: see `openapi_requests`.
DEMANDED: Final = {"demanded": True}
DemandedStr = Annotated[Text | None, Meta(extra=DEMANDED)]
# A text that the handler cuts, or whose limit the handler checks.
LongStr = Annotated[str | None, Meta(extra={"checks": ("string",)})]
Int64 = Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX)]
# Hand-written clients send `time.time() * 1000`, so these fields alone accept a fraction, which is cut off.
Millis = Annotated[Int64, Meta(extra={"cut": True})]
# The time of a metric. The handler rejects times before 1970 with MLflow's message.
Timestamp = Annotated[Millis, Meta(extra_json_schema={"minimum": 0})]
Int32 = Annotated[int, Meta(ge=INT32_MIN, le=INT32_MAX)]
OptionalInt64 = Annotated[Int64 | None, Meta(extra={"checks": ("intlike",)})]
OptionalMillis = Annotated[Millis | None, Meta(extra={"checks": ("intlike",)})]
OptionalInt32 = Annotated[Int32 | None, Meta(extra={"checks": ("intlike",)})]


class Loose(msgspec.Struct, kw_only=True, gc=False):
    """A request that is read without checks: its handler checks each field itself.

    A field that the request does not have is UNSET. `has_json` says whether its Content-Type is
    JSON; other bodies are not read.
    """

    has_json: bool = False


# Fields of a `Loose`; the types are for /openapi.json only.
LooseText = Annotated[Any, Meta(extra=DEMANDED, extra_json_schema={"type": "string"})]
LooseOptionalText = Annotated[Any, Meta(extra_json_schema={"type": "string"})]
LooseInt = Annotated[Any, Meta(extra=DEMANDED, extra_json_schema={"type": ["integer", "string"]})]
LooseBool = Annotated[Any, Meta(extra=DEMANDED, extra_json_schema={"type": "boolean"})]
