"""Transactions on budgets."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from headrace.api.gateway.budgets import rules, sql
from headrace.api.gateway.budgets.sql import BudgetRow
from headrace.api.gateway.budgets.types import TargetScope
from headrace.api.gateway.endpoints import transactions as endpoints
from headrace.api.gateway.nouns import unknown
from headrace.contract.clock import now_ms
from headrace.contract.errors import ApiError

if TYPE_CHECKING:
    from headrace.api.gateway.budgets.types import CreateBudget, UpdateBudget
    from headrace.db.base import Tx


def _not_known(budget_policy_id: str) -> ApiError:
    return unknown("BudgetPolicy", "budget_policy_id", budget_policy_id)


async def get(tx: Tx, budget_policy_id: str) -> BudgetRow:
    """Return a budget. Raises RESOURCE_DOES_NOT_EXIST."""
    row = await tx.fetchrow(sql.BY_ID, budget_policy_id)
    if row is None:
        raise _not_known(budget_policy_id)
    return BudgetRow(*row)


async def create(tx: Tx, req: CreateBudget) -> BudgetRow:
    """Insert a budget. Raises RESOURCE_DOES_NOT_EXIST (the endpoint that it limits)."""
    if req.target_scope is TargetScope.ENDPOINT:
        await endpoints.exists(tx, req.target_value or "")
    now, user = now_ms(), req.created_by or None
    assert req.duration.unit is not None, "it is checked"
    row = BudgetRow(
        budget_policy_id=f"bp-{uuid.uuid4().hex}",
        budget_unit=req.budget_unit.value,
        budget_amount=req.budget_amount,
        duration_unit=req.duration.unit.value,
        duration_value=req.duration.value or 0,
        target_scope=req.target_scope.value,
        budget_action=req.budget_action.value,
        created_by=user,
        created_at=now,
        last_updated_by=user,
        last_updated_at=now,
        target_value=req.target_value or None,
    )
    await tx.execute(sql.INSERT, *row)
    return row


async def update(tx: Tx, req: UpdateBudget, has_users: bool) -> BudgetRow:
    """Change the fields of a budget that are set.

    A target belongs to its scope: with another scope, the request must name the new target. Raises
    RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE.
    """
    found = await tx.fetchrow(sql.LOCKED, req.budget_policy_id)
    if found is None:
        raise _not_known(req.budget_policy_id)
    row = BudgetRow(*found)
    scope = row.target_scope if req.target_scope is None else req.target_scope.value
    target = row.target_value if scope == row.target_scope else None
    if req.target_value is not None:
        target = req.target_value or None
    if req.target_scope is not None or req.target_value is not None:
        rules.check_target(scope, target, has_users=has_users)
    if req.target_value and scope == TargetScope.ENDPOINT:
        await endpoints.exists(tx, req.target_value)
    changed = row._replace(
        target_scope=scope,
        target_value=target,
        last_updated_at=now_ms(),
        last_updated_by=req.updated_by or row.last_updated_by,
    )
    if req.budget_unit is not None:
        changed = changed._replace(budget_unit=req.budget_unit.value)
    if req.budget_amount is not None:
        changed = changed._replace(budget_amount=req.budget_amount)
    if req.duration is not None and req.duration.unit is not None:
        unit, value = req.duration.unit.value, req.duration.value or 0
        changed = changed._replace(duration_unit=unit, duration_value=value)
    if req.budget_action is not None:
        changed = changed._replace(budget_action=req.budget_action.value)
    await tx.execute(
        sql.UPDATE,
        row.budget_policy_id,
        changed.budget_unit,
        changed.budget_amount,
        changed.duration_unit,
        changed.duration_value,
        changed.target_scope,
        changed.budget_action,
        changed.last_updated_by,
        changed.last_updated_at,
        changed.target_value,
    )
    return changed


async def delete(tx: Tx, budget_policy_id: str) -> None:
    """Delete a budget. Raises RESOURCE_DOES_NOT_EXIST."""
    if not await tx.execute(sql.DELETE, budget_policy_id):
        raise _not_known(budget_policy_id)
