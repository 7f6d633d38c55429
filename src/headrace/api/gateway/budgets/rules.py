"""Checks of a budget. No I/O."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from headrace.api.gateway.budgets.types import TargetScope
from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from enum import StrEnum

    from headrace.api.gateway.budgets.types import CreateBudget, Duration, UpdateBudget

TARGETED: Final = (TargetScope.ENDPOINT, TargetScope.USER)


def _check_specified(value: StrEnum | None, name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE for the value that stands for none."""
    if value is None or value.value.endswith("_UNSPECIFIED"):
        raise invalid(f"Invalid {name}: 0")


def _check_duration(duration: Duration) -> None:
    _check_specified(duration.unit, "duration.unit")
    if (duration.value or 0) <= 0:
        raise invalid(f"duration.value must be a positive integer, got {duration.value or 0}")


def _check_amount(amount: float) -> None:
    if not math.isfinite(amount):
        raise invalid("budget_amount must be a finite number.")


def check_new(req: CreateBudget) -> None:
    """Raise INVALID_PARAMETER_VALUE for a new budget, except for its target."""
    _check_specified(req.budget_unit, "budget_unit")
    _check_duration(req.duration)
    _check_specified(req.target_scope, "target_scope")
    _check_specified(req.budget_action, "budget_action")
    _check_amount(req.budget_amount)


def check_change(req: UpdateBudget) -> None:
    """As `check_new`, for the fields that are set."""
    if req.budget_unit is not None:
        _check_specified(req.budget_unit, "budget_unit")
    if req.duration is not None:
        _check_duration(req.duration)
    if req.target_scope is not None:
        _check_specified(req.target_scope, "target_scope")
    if req.budget_action is not None:
        _check_specified(req.budget_action, "budget_action")
    if req.budget_amount is not None:
        _check_amount(req.budget_amount)


def check_target(scope: str, target: str | None, *, has_users: bool) -> None:
    """Raise INVALID_PARAMETER_VALUE for a target that does not fit the scope."""
    if scope in TARGETED and not target:
        raise invalid(f"target_value is required when target_scope is {scope}.")
    if scope not in TARGETED and target:
        raise invalid("target_value can only be set when target_scope is ENDPOINT or USER.")
    if scope == TargetScope.USER and not has_users:
        raise invalid(
            "USER-scoped budget policies require server authentication to be enabled. "
            "Without auth the gateway cannot attribute requests to a user, so the "
            "policy would never take effect."
        )
