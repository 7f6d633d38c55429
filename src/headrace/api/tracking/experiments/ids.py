"""Experiments as other requests name them: by an id, and only while they are active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.contract.errors import ApiError, experiment_not_found, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

# The range of the column on PostgreSQL; SQLite never gets that far.
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
    """An experiment id from a request. Raises INVALID_PARAMETER_VALUE, or not found for one no column holds."""
    number = _number(text)
    if not MIN_ID <= number <= MAX_ID:
        raise experiment_not_found(text)
    return number


def parse_ids(texts: Iterable[str]) -> list[int]:
    """Experiment ids to look among; those that no column holds are left out. Raises INVALID_PARAMETER_VALUE."""
    numbers = map(_number, texts)
    return [number for number in numbers if MIN_ID <= number <= MAX_ID]


def not_active(number: int, stage: str) -> ApiError:
    """A write to an experiment that is deleted."""
    return invalid(
        f"The experiment {number} must be in the 'active' state. Current state is {stage}."
    )
