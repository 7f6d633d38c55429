"""The current window of each budget, and what was spent in it. No I/O."""

from __future__ import annotations

from calendar import timegm
from time import gmtime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.api.gateway.budgets.sql import BudgetRow

_FIXED_MS: Final = {"MINUTES": 60_000, "HOURS": 3_600_000, "DAYS": 86_400_000, "WEEKS": 604_800_000}
_SUNDAY_MS: Final = -4 * 86_400_000  # weeks begin on Sunday, the other windows at the epoch
_EPOCH_YEAR: Final = 1970
_MONTHS: Final = (9999 - _EPOCH_YEAR) * 12  # the last that the calendar has


class Period(NamedTuple):
    """A window of a budget, from its start up to its end, exclusive; milliseconds since the epoch."""

    start_ms: int
    end_ms: int


class Spent(NamedTuple):
    """US dollars that calls through an endpoint cost; `username` is the caller's, if there are users."""

    endpoint_id: str
    username: str | None
    is_of_workspace: bool  # of the request
    cost: float


def window_of(unit: str, value: int, now_ms: int) -> Period:
    """The window of a budget at a time. Windows of a length follow each other from the epoch on."""
    if unit == "MONTHS":
        now = gmtime(now_ms // 1000)
        months = (now.tm_year - _EPOCH_YEAR) * 12 + now.tm_mon - 1
        first = months // value * value
        return Period(_month_ms(first), _month_ms(min(first + value, _MONTHS)))
    length = _FIXED_MS[unit] * value
    begin = _SUNDAY_MS if unit == "WEEKS" else 0
    start = begin + (now_ms - begin) // length * length
    return Period(start, start + length)


def _month_ms(months: int) -> int:
    """The first moment of the month that is so many months after the epoch's."""
    years, month = divmod(months, 12)
    return timegm((_EPOCH_YEAR + years, month + 1, 1, 0, 0, 0)) * 1000


def spent_by(budget: BudgetRow, costs: Iterable[Spent]) -> float:
    """The part of the costs of a window that counts for a budget."""
    scope, target = budget.target_scope, budget.target_value
    return sum(
        (
            one.cost
            for one in costs
            if (scope != "ENDPOINT" or one.endpoint_id == target)
            and (scope != "USER" or one.username == target)
            and (scope != "WORKSPACE" or one.is_of_workspace)
        ),
        0.0,
    )
