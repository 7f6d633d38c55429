"""Experiment ids in requests, and the error for experiments that are not active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.contract.errors import ApiError, experiment_not_found, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

# The range of the column on PostgreSQL; SQLite ids do not reach these limits.
MIN_ID: Final = -(2**31)
MAX_ID: Final = 2**31 - 1


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise invalid(
            f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer."
        ) from None


def parse_id(text: str) -> int:
    """Return the experiment id in a request.

    Raises INVALID_PARAMETER_VALUE, or RESOURCE_DOES_NOT_EXIST for an id outside the column's range.
    """
    number = _number(text)
    if not MIN_ID <= number <= MAX_ID:
        raise experiment_not_found(text)
    return number


def parse_ids(texts: Iterable[str]) -> list[int]:
    """Return the experiment ids of a search, without those outside the column's range.

    Raises INVALID_PARAMETER_VALUE.
    """
    numbers = map(_number, texts)
    return [number for number in numbers if MIN_ID <= number <= MAX_ID]


def not_active(number: int, stage: str) -> ApiError:
    """Return the error for a write to a deleted experiment."""
    return invalid(
        f"The experiment {number} must be in the 'active' state. Current state is {stage}."
    )
