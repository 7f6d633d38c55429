"""Values of programs as the database stores them: numbers of numpy and other libraries, steps, texts.

MLflow's client converts metric values in the same way. Every function raises INVALID_PARAMETER_VALUE.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from headrace.api.tracking.runs.types import RunStatus
from headrace.contract.clock import now_ms
from headrace.contract.errors import invalid, missing_parameter
from headrace.contract.names import invalid_value
from headrace.contract.scalars import INT64_MAX, INT64_MIN

if TYPE_CHECKING:
    from headrace.contract.errors import ApiError


def metric_value(key: str, value: Any) -> float:
    """Return a number, a tensor or array with one element, or a text of a number as a float."""
    if value.__class__ is float:
        return value
    if value is None:
        raise missing_parameter("value")
    try:
        if hasattr(value, "detach"):  # a torch tensor, which may be on another device
            value = value.detach().cpu()
        # numpy warns when float() takes an array with one element.
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise _invalid(
            "value",
            value,
            f"metric '{key}'. Please specify value as a valid double (64-bit floating point)",
        ) from None


def step(key: str, value: Any) -> int:
    """Return an integer of any library, or a float without a fraction, as an int of 64 bits."""
    number = _integer(value)
    if number is None or not INT64_MIN <= number <= INT64_MAX:
        raise _invalid(
            "step", value, f"metric '{key}'. Step must be a valid long (64-bit integer)."
        )
    return number


def timestamp(key: str, value: Any) -> int:
    """Return milliseconds since the epoch; a fraction is cut off, as by a server."""
    if value.__class__ is int:
        number = value
    else:
        try:
            number = math.floor(value)
        except (TypeError, ValueError, OverflowError):
            number = -1
    if not 0 <= number <= INT64_MAX:
        raise _invalid(
            "timestamp",
            value,
            f"metric '{key}'. Timestamp must be a nonnegative long (64-bit integer) ",
        )
    return number


def now_or(key: str, value: Any) -> int:
    """Return a timestamp, by default the present time."""
    return now_ms() if value is None else timestamp(key, value)


def _integer(value: Any) -> int | None:
    if value.__class__ is int:
        return value
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        return int(value) if value.is_integer() else None
    except (AttributeError, OverflowError, ValueError):
        return None


def pairs(what: str, found: Any) -> list[tuple[str, str]]:
    """Return params or tags as texts, as `str` writes their values."""
    return [(name(what, key), storable(str(value))) for key, value in mapping(what, found).items()]


def mapping(what: str, found: Any) -> Mapping[Any, Any]:
    """Return a mapping, an empty one for None."""
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise invalid(f"'{what}' must be a mapping of keys to values, not {_kind(found)}.")
    return found


def name(what: str, found: Any) -> str:
    """Return a key or an id, which must be a text that is not empty."""
    if not isinstance(found, str):
        raise invalid(f"A name in '{what}' must be a text, not {_kind(found)}.")
    if not found:
        raise missing_parameter(what)
    return storable(found)


def optional_text(what: str, found: Any) -> str | None:
    """Return a text or None."""
    if found is not None and not isinstance(found, str):
        raise invalid(f"'{what}' must be a text, not {_kind(found)}.")
    return found if found is None else storable(found)


def storable(text: str) -> str:
    """Return a text that has a UTF-8 form; one with half of a surrogate pair has none."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise invalid(f"The text {text!r} is not valid Unicode.") from error
    return text


def texts(what: str, found: Any) -> list[str]:
    """Return a list of texts. A text alone is refused: it would be a list of its characters."""
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        raise invalid(f"'{what}' must be a list of texts, not {_kind(found)}.")
    return [_text(what, one) for one in found]


def _text(what: str, one: Any) -> str:
    if not isinstance(one, str):
        raise invalid(f"'{what}' must be a list of texts; it holds {_kind(one)}.")
    return storable(one)


def status(found: Any) -> RunStatus:
    """Return the status that a text, a `RunStatus` or a number of MLflow's enum names."""
    order = list(RunStatus)
    if isinstance(found, str) and found in RunStatus.__members__:
        return RunStatus(found)
    number = _integer(found)
    if number is not None and 1 <= number <= len(order):
        return order[number - 1]
    known = ", ".join(RunStatus.__members__)
    raise _invalid("status", found, f"It must be one of {known}.")


def _invalid(path: str, value: Any, reason: str) -> ApiError:
    plain = value if isinstance(value, str | int | float) else repr(value)
    return invalid(invalid_value(path, plain, reason))


def _kind(value: Any) -> str:
    return f"the text {value!r}" if isinstance(value, str) else f"a {type(value).__name__}"
