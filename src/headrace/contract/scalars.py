"""Request and response types: msgspec Structs that mirror MLflow's protobuf messages.

A request Struct describes what a well-behaved client sends; msgspec decodes that in C. Whatever it refuses
(camelCase, an int64 as text, a missing field …) is read again by `http.proto`, which knows protobuf's JSON
rules and words each mistake as MLflow does. `checks` names MLflow's validators for a field, in its order.
"""

from __future__ import annotations

from typing import Annotated, Final

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
    """A protobuf message. None stands for a field that is not set; it is left out of JSON."""


class Empty(Message):
    """`{}`"""


class PathOnly(Message):
    """A request of which only the path is read: its query and body may be anything.

    Its fields are arguments of the path as the client wrote them, NUL included.
    """


# Each of these is one field of a request. `str | None` is a protobuf string with presence.
RequiredStr = Annotated[
    str, Meta(min_length=1, max_length=MAX_TEXT, extra={"checks": ("required", "string")})
]
# The same where the type is checked before the presence.
CheckedStr = Annotated[
    str, Meta(min_length=1, max_length=MAX_TEXT, extra={"checks": ("string", "required")})
]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
OptionalStr = Annotated[Text | None, Meta(extra={"checks": ("string",)})]
UncheckedStr = Text | None
# The number of an experiment as text, in a description for clients; its reader says what is wrong with others.
NUMBER_AS_TEXT: Final = {"pattern": r"^\s*[+-]?[0-9]+(_[0-9]+)*\s*$"}
ExperimentNumber = Annotated[RequiredStr, Meta(extra_json_schema=NUMBER_AS_TEXT)]
ExperimentNumbers = list[Annotated[str, Meta(extra_json_schema=NUMBER_AS_TEXT)]]
# What is cut, or has a limit that its reader knows.
LongStr = Annotated[str | None, Meta(extra={"checks": ("string",)})]
Int64 = Annotated[int, Meta(ge=INT64_MIN, le=INT64_MAX)]
# Clients write milliseconds as `time.time() * 1000`: a fraction is cut off, here only.
Millis = Annotated[Int64, Meta(extra={"cut": True})]
# That of a metric: its reader refuses one before 1970 in MLflow's words.
Timestamp = Annotated[Millis, Meta(extra_json_schema={"minimum": 0})]
Int32 = Annotated[int, Meta(ge=INT32_MIN, le=INT32_MAX)]
OptionalInt64 = Annotated[Int64 | None, Meta(extra={"checks": ("intlike",)})]
OptionalMillis = Annotated[Millis | None, Meta(extra={"checks": ("intlike",)})]
OptionalInt32 = Annotated[Int32 | None, Meta(extra={"checks": ("intlike",)})]
