"""Experiments as other requests name them: by an id, and only while they are active."""

from __future__ import annotations

from typing import Final

from headrace.errors import ApiError, experiment_not_found, invalid

# The range of the column on PostgreSQL; SQLite never gets that far.
MIN_ID: Final = -(2**31)
MAX_ID: Final = 2**31 - 1


def parse_id(text: str) -> int:
    """An experiment id from a request. Raises INVALID_PARAMETER_VALUE, or not found for one no column holds."""
    try:
        number = int(text)
    except ValueError:
        raise invalid(
            f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer."
        ) from None
    if not MIN_ID <= number <= MAX_ID:
        raise experiment_not_found(text)
    return number


def not_active(number: int, stage: str) -> ApiError:
    """A write to an experiment that is deleted."""
    return invalid(
        f"The experiment {number} must be in the 'active' state. Current state is {stage}."
    )
