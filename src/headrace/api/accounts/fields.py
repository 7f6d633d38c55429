"""Checks of the fields of `Loose` requests, with the messages of MLflow's basic-auth app."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from headrace.auth.grantable import canonical_id
from headrace.contract.errors import invalid, missing_parameter, too_long
from headrace.contract.names import invalid_value
from headrace.contract.texts import refuse_unstorable

# Lengths of the columns, in characters. SQLite does not enforce them.
MAX_ROLE_NAME: Final = 255
MAX_WORKSPACE: Final = 63
MAX_DESCRIPTION: Final = 1024
MAX_PATTERN: Final = 255
MAX_ID: Final = 2**31 - 1


def given(value: Any, name: str) -> Any:
    """The value of a field. Raises INVALID_PARAMETER_VALUE if the request does not have it."""
    if value is UNSET:
        raise missing_parameter(name)
    return value


def text(value: Any, name: str) -> str:
    """The text of a field. Raises INVALID_PARAMETER_VALUE: absent, of another type, with NUL."""
    return storable(given(value, name), name)


def storable(value: Any, name: str) -> str:
    """The text, which every database can store. Raises INVALID_PARAMETER_VALUE."""
    if not isinstance(value, str):
        raise invalid(invalid_value(name, value, f"Value was of type {type(value).__name__!r}."))
    refuse_unstorable(value, name)
    return value


def limited(value: Any, name: str, limit: int) -> str:
    """As `text`; also raises for more than `limit` characters."""
    found = text(value, name)
    if len(found) > limit:
        raise too_long(name, limit)
    return found


def resource_id(value: Any, name: str, resource_type: str) -> str:
    """The id of a resource, as grants name it. A number counts as its text, as with stock."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return canonical_id(resource_type, limited(value, name, MAX_PATTERN))


def whole(value: Any, name: str) -> int:
    """The number of a field, which may be a text. Raises INVALID_PARAMETER_VALUE."""
    given(value, name)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        shown = repr(value)
        if len(shown) > MAX_PATTERN:
            shown = shown[:MAX_PATTERN] + "…"
        raise invalid(f"Parameter '{name}' must be an integer. Got: {shown}") from error


def is_id(number: int) -> bool:
    """Whether the number can be a key of a table."""
    return 0 < number <= MAX_ID
