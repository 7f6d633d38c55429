"""The current window of a budget is that of MLflow's gateway, at any time and for any length."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities.gateway_budget_policy import BudgetDuration, BudgetDurationUnit
from mlflow.gateway.budget_tracker import _compute_window_end, _compute_window_start

from headrace.api.gateway.budgets.sql import BudgetRow
from headrace.api.gateway.budgets.windows import Spent, spent_by, window_of

UNITS = [unit.value for unit in BudgetDurationUnit]


@pytest.mark.parametrize("unit", UNITS)
@given(value=st.integers(1, 400), now_s=st.integers(0, 4_000_000_000))
def test_a_window_is_that_of_mlflow(unit: str, value: int, now_s: int) -> None:
    duration = BudgetDuration(BudgetDurationUnit(unit), value)
    start = _compute_window_start(duration, datetime.fromtimestamp(now_s, UTC))
    end = _compute_window_end(duration, start)
    found = window_of(unit, value, now_s * 1000)
    assert found == (start.timestamp() * 1000, end.timestamp() * 1000)
    assert found.start_ms <= now_s * 1000 < found.end_ms


@pytest.mark.parametrize("unit", UNITS)
def test_a_window_of_any_length_has_an_end(unit: str) -> None:
    now_ms = 1_800_000_000_000
    found = window_of(unit, 2**31 - 1, now_ms)
    assert found.start_ms <= now_ms < found.end_ms < 2**63


@pytest.mark.parametrize(
    ("scope", "target", "spent"),
    [
        ("GLOBAL", None, 7.0),
        ("WORKSPACE", None, 3.0),
        ("ENDPOINT", "e-1", 3.0),
        ("ENDPOINT", "e-3", 0.0),
        ("USER", "ann", 5.0),
        ("USER", "", 0.0),
    ],
)
def test_a_budget_counts_the_calls_that_it_limits(
    scope: str, target: str | None, spent: float
) -> None:
    costs = [
        Spent("e-1", "ann", True, 1.0),
        Spent("e-1", None, True, 2.0),
        Spent("e-2", "ann", False, 4.0),
    ]
    row = BudgetRow("b", "USD", 5.0, "DAYS", 1, scope, "ALERT", None, 0, None, 0, target)
    assert spent_by(row, costs) == spent
