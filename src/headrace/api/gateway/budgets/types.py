"""Requests and answers of budgets. Amounts are US dollars, times milliseconds since the epoch."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.contract.doubles import Double
from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import (
    Int32,
    Int64,
    Message,
    OptionalStr,
    RequiredStr,
)


class BudgetUnit(StrEnum):
    """The currency of an amount."""

    __first_number__ = 0

    BUDGET_UNIT_UNSPECIFIED = "BUDGET_UNIT_UNSPECIFIED"
    USD = "USD"


class DurationUnit(StrEnum):
    """The unit of the length of a window."""

    __first_number__ = 0

    DURATION_UNIT_UNSPECIFIED = "DURATION_UNIT_UNSPECIFIED"
    MINUTES = "MINUTES"
    HOURS = "HOURS"
    DAYS = "DAYS"
    WEEKS = "WEEKS"
    MONTHS = "MONTHS"


class TargetScope(StrEnum):
    """Whose spending a budget limits."""

    __first_number__ = 0

    TARGET_SCOPE_UNSPECIFIED = "TARGET_SCOPE_UNSPECIFIED"
    GLOBAL = "GLOBAL"
    WORKSPACE = "WORKSPACE"
    ENDPOINT = "ENDPOINT"
    USER = "USER"


class BudgetAction(StrEnum):
    """The consequence when a budget is spent."""

    __first_number__ = 0

    BUDGET_ACTION_UNSPECIFIED = "BUDGET_ACTION_UNSPECIFIED"
    ALERT = "ALERT"
    REJECT = "REJECT"


def specified(*names: str) -> dict[str, object]:
    """The JSON schema of an enum whose first value, 0, is not accepted."""
    return {
        "anyOf": [
            {"type": "string", "enum": list(names)},
            {"type": "integer", "minimum": 1, "maximum": len(names)},
        ]
    }


REQUIRED = {"checks": ("required",)}
UNIT = specified("USD")
WINDOW_UNIT = specified("MINUTES", "HOURS", "DAYS", "WEEKS", "MONTHS")
SCOPE = specified("GLOBAL", "WORKSPACE", "ENDPOINT", "USER")
ACTION = specified("ALERT", "REJECT")


class Duration(Message):
    """The length of a window."""

    unit: Annotated[
        DurationUnit | None, Meta(extra={"demanded": True}, extra_json_schema=WINDOW_UNIT)
    ] = None
    value: Annotated[
        Int32 | None, Meta(extra={"demanded": True}, extra_json_schema={"minimum": 1})
    ] = None


class CreateBudget(Message):
    """POST gateway/budgets/create"""

    budget_unit: Annotated[BudgetUnit, Meta(extra=REQUIRED, extra_json_schema=UNIT)]
    budget_amount: Annotated[float, Meta(extra=REQUIRED)]
    duration: Annotated[Duration, Meta(extra=REQUIRED)]
    target_scope: Annotated[TargetScope, Meta(extra=REQUIRED, extra_json_schema=SCOPE)]
    budget_action: Annotated[BudgetAction, Meta(extra=REQUIRED, extra_json_schema=ACTION)]
    created_by: OptionalStr = None
    target_value: OptionalStr = None


class BudgetId(Message):
    """GET gateway/budgets/get and DELETE gateway/budgets/delete"""

    budget_policy_id: RequiredStr


class UpdateBudget(Message):
    """POST gateway/budgets/update; fields that are not set keep their values."""

    budget_policy_id: RequiredStr
    budget_unit: Annotated[BudgetUnit | None, Meta(extra_json_schema=UNIT)] = None
    budget_amount: float | None = None
    duration: Duration | None = None
    target_scope: Annotated[TargetScope | None, Meta(extra_json_schema=SCOPE)] = None
    budget_action: Annotated[BudgetAction | None, Meta(extra_json_schema=ACTION)] = None
    updated_by: OptionalStr = None
    target_value: OptionalStr = None


class ListBudgets(Message):
    """GET gateway/budgets/list"""

    max_results: Annotated[
        Int64 | None,
        Meta(
            extra={"checks": ("intlike",)},
            extra_json_schema={"minimum": 0, "maximum": SEARCH_MAX_RESULTS},
        ),
    ] = None
    page_token: OptionalStr = None


class Window(msgspec.Struct, gc=False):
    """The length of a window."""

    unit: str
    value: int


class Budget(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A limit of spending."""

    budget_policy_id: str
    budget_unit: str
    budget_amount: Double
    duration: Window
    target_scope: str
    budget_action: str
    created_by: str
    created_at: int
    last_updated_by: str
    last_updated_at: int
    target_value: str | None = None


class BudgetAnswer(Message):
    """One budget."""

    budget_policy: Budget


class BudgetPage(Message):
    """A page of budgets."""

    budget_policies: list[Budget] = []
    next_page_token: str | None = None


class BudgetWindow(Message):
    """The current window of a budget, up to its end, and what was spent in it."""

    budget_policy_id: str
    window_start_ms: int
    window_end_ms: int
    current_spend: Double


class BudgetWindows(Message):
    """Answer of gateway/budgets/windows."""

    windows: list[BudgetWindow] = []
