"""SQL for budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from headrace.api.gateway.budgets.windows import Spent
from headrace.api.gateway.nouns import check_served as check_table
from headrace.api.results import NotNative
from headrace.db.sql import Sql
from headrace.search import Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.api.context import Context
    from headrace.api.gateway.budgets.windows import Period
    from headrace.db.base import Row, Tx


class BudgetRow(NamedTuple):
    """A row of `budget_policies`. Times are milliseconds since the epoch."""

    budget_policy_id: str
    budget_unit: str
    budget_amount: float
    duration_unit: str
    duration_value: int
    target_scope: str
    budget_action: str
    created_by: str | None
    created_at: int
    last_updated_by: str | None
    last_updated_at: int
    target_value: str | None


_COLUMNS: Final = ", ".join(BudgetRow._fields)
_NUMBERED: Final = ", ".join(f"${n}" for n in range(1, len(BudgetRow._fields) + 1))
BY_ID = Sql(
    f"SELECT {_COLUMNS} FROM budget_policies WHERE workspace = {{workspace}} AND budget_policy_id = $1"
)
BY_IDS = Sql(
    f"SELECT {_COLUMNS} FROM budget_policies WHERE workspace = {{workspace}} AND budget_policy_id {{in $1 text}}"
)
LOCKED = Sql(
    f"SELECT {_COLUMNS} FROM budget_policies WHERE workspace = {{workspace}} AND budget_policy_id = $1 {{for update}}"
)
INSERT = Sql(
    f"INSERT INTO budget_policies ({_COLUMNS}, workspace) VALUES ({_NUMBERED}, {{workspace}})"
)
UPDATE = Sql(
    "UPDATE budget_policies SET budget_unit = $2, budget_amount = $3, duration_unit = $4,"
    " duration_value = $5, target_scope = $6, budget_action = $7, last_updated_by = $8,"
    " last_updated_at = $9, target_value = $10"
    " WHERE workspace = {workspace} AND budget_policy_id = $1"
)
DELETE = Sql("DELETE FROM budget_policies WHERE workspace = {workspace} AND budget_policy_id = $1")
# Those of everybody are shown in every workspace, as in MLflow.
ALL = Sql(
    f"SELECT {_COLUMNS} FROM budget_policies WHERE workspace = {{workspace}} OR target_scope = 'GLOBAL'"
    " ORDER BY budget_policy_id {bytewise}"
)
# (endpoint, user, whether of this workspace, dollars) of the calls in a window: the traces of the
# gateway name the endpoint
SPENT = Sql(
    "SELECT e.value, u.value, x.workspace = {workspace}, sum(t.total_cost)"
    " FROM trace_request_metadata e JOIN trace_info t ON t.request_id = e.request_id"
    " JOIN experiments x ON x.experiment_id = t.experiment_id"
    " LEFT JOIN trace_request_metadata u"
    " ON u.request_id = e.request_id AND u.key = 'mlflow.auth.username'"
    " WHERE e.key = 'mlflow.gateway.endpointId' AND t.timestamp_ms >= $1 AND t.timestamp_ms < $2"
    " AND t.total_cost IS NOT NULL GROUP BY 1, 2, 3"
)
_PAGE: Final = (
    "SELECT budget_policy_id FROM budget_policies WHERE workspace = {workspace} ORDER BY budget_policy_id {bytewise}"
    " LIMIT $1 OFFSET $2"
)


def check_served(ctx: Context) -> None:
    """As `nouns.check_served`; leave the request to stock if the database is older than MLflow 3.15."""
    check_table(ctx, "budget_policies")
    if not ctx.db.schema.has("budget_policies", "target_value"):
        raise NotNative


def page(max_results: int, offset: int) -> Page:
    """The ids of a page of budgets."""
    return Page(_PAGE, (max_results + 1, offset), offset, max_results)


async def read(tx: Tx, ids: Sequence[str]) -> list[Row]:
    """Return the budgets with these ids that exist, in this order."""
    rows = {row[0]: row for row in await tx.fetch(BY_IDS, tx.array(ids))}
    return [rows[id_] for id_ in ids if id_ in rows]


async def all_budgets(tx: Tx) -> list[BudgetRow]:
    """Return all budgets, by id."""
    return [BudgetRow(*row) for row in await tx.fetch(ALL)]


async def spent(tx: Tx, window: Period) -> list[Spent]:
    """Return what calls of models in a window cost, by endpoint and user."""
    return [Spent(*row) for row in await tx.fetch(SPENT, *window)]


async def weigh(tx: Tx, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the number of bytes of each budget, whose columns are all short."""
    return dict.fromkeys(ids, 300)
