"""Handlers of budgets. MLflow's gateway, across the bridge, applies them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from headrace import search
from headrace.api.context import Context
from headrace.api.gateway.budgets import rules, sql, transactions
from headrace.api.gateway.budgets.sql import BudgetRow
from headrace.api.gateway.budgets.types import (
    Budget,
    BudgetAnswer,
    BudgetId,
    BudgetPage,
    BudgetWindow,
    BudgetWindows,
    CreateBudget,
    ListBudgets,
    UpdateBudget,
    Window,
)
from headrace.api.gateway.budgets.windows import Period, Spent, spent_by, window_of
from headrace.api.gateway.nouns import page_size
from headrace.api.pieces import Listing, long_page
from headrace.api.results import Chunks, NotNative
from headrace.contract.clock import now_ms
from headrace.contract.doubles import double
from headrace.contract.scalars import Empty, PathOnly
from headrace.db.base import Row


def _show(row: BudgetRow) -> Budget:
    return Budget(
        budget_policy_id=row.budget_policy_id,
        budget_unit=row.budget_unit,
        budget_amount=double(row.budget_amount),
        duration=Window(row.duration_unit, row.duration_value),
        target_scope=row.target_scope,
        budget_action=row.budget_action,
        created_by=row.created_by or "",
        created_at=row.created_at,
        last_updated_by=row.last_updated_by or "",
        last_updated_at=row.last_updated_at,
        target_value=row.target_value,
    )


def _show_all(rows: Iterable[Row]) -> list[Budget]:
    return [_show(BudgetRow(*row)) for row in rows]


BUDGETS: Final[Listing[str]] = Listing(b"budget_policies", sql.weigh, sql.read, _show_all)


async def create(req: CreateBudget, ctx: Context) -> BudgetAnswer:
    """POST /3.0/mlflow/gateway/budgets/create

    Errors: INVALID_PARAMETER_VALUE (also for a user's budget on a server without users),
    RESOURCE_DOES_NOT_EXIST (the endpoint).
    """
    sql.check_served(ctx)
    rules.check_new(req)
    rules.check_target(req.target_scope, req.target_value, has_users=ctx.user_facts is not None)
    return BudgetAnswer(budget_policy=_show(await ctx.db.write(transactions.create, req)))


async def get(req: BudgetId, ctx: Context) -> BudgetAnswer:
    """GET /3.0/mlflow/gateway/budgets/get. Errors: RESOURCE_DOES_NOT_EXIST."""
    sql.check_served(ctx)
    row = await ctx.db.read_point(transactions.get, req.budget_policy_id)
    return BudgetAnswer(budget_policy=_show(row))


async def update(req: UpdateBudget, ctx: Context) -> BudgetAnswer:
    """POST /3.0/mlflow/gateway/budgets/update. Errors: as in `create`."""
    sql.check_served(ctx)
    rules.check_change(req)
    row = await ctx.db.write(transactions.update, req, ctx.user_facts is not None)
    return BudgetAnswer(budget_policy=_show(row))


async def delete(req: BudgetId, ctx: Context) -> Empty:
    """DELETE /3.0/mlflow/gateway/budgets/delete. Errors: RESOURCE_DOES_NOT_EXIST."""
    sql.check_served(ctx)
    await ctx.db.write(transactions.delete, req.budget_policy_id)
    return Empty()


async def list_windows(req: PathOnly, ctx: Context) -> BudgetWindows:
    """GET /3.0/mlflow/gateway/budgets/windows: what was spent in the current window of each budget.

    The traces of calls say what they cost. We differ: the sums are those of the database now; in
    stock they may be older, and contain calls whose traces are not written yet.
    """
    sql.check_served(ctx)
    if not ctx.db.schema.has("trace_info", "total_cost"):
        raise NotNative
    now = now_ms()
    costs: dict[Period, list[Spent]] = {}
    shown = []
    for row in await ctx.db.read(sql.all_budgets):
        window = window_of(row.duration_unit, row.duration_value, now)
        if window not in costs:
            costs[window] = await ctx.db.read(sql.spent, window)
        shown.append(
            BudgetWindow(
                budget_policy_id=row.budget_policy_id,
                window_start_ms=window.start_ms,
                window_end_ms=window.end_ms,
                current_spend=double(spent_by(row, costs[window])),
            )
        )
    return BudgetWindows(windows=shown)


async def list_budgets(req: ListBudgets, ctx: Context) -> BudgetPage | Chunks:
    """GET /3.0/mlflow/gateway/budgets/list. Errors: INVALID_PARAMETER_VALUE."""
    sql.check_served(ctx)
    limit, offset = page_size(req.max_results), search.offset_of(req.page_token)
    return await long_page(ctx.db, BUDGETS, sql.page(limit, offset))
