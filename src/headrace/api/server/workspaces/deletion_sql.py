"""SQL for the rows of a workspace that is deleted: their number, their move, their deletion.

Every statement finds the rows of the workspace of its transaction (`db.workspace.TxIn`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.contract.workspaces import DEFAULT
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.db.base import Tx

# The tables whose rows a workspace has by itself, in stock's order. Other tables refer to them.
TABLES: Final = (
    "registered_models",
    "experiments",
    "evaluation_datasets",
    "webhooks",
    "secrets",
    "endpoints",
    "model_definitions",
    "budget_policies",
    "guardrails",
    "jobs",
    "mcp_servers",
    "skills",  # of MLflow 3.18
)
MOST_CONFLICTS: Final = 1000  # names of a table that an answer lists
EXPERIMENTS: Final = 100  # whose rows are deleted by one round of statements

COUNT: Final = {
    table: Sql(f"SELECT count(*) FROM {table} WHERE workspace = {{workspace}}") for table in TABLES
}
# The names that rows of the default workspace have, too.
CONFLICTS: Final = {
    table: Sql(
        f"SELECT name FROM {table} WHERE workspace = {{workspace}} AND name IN"
        f" (SELECT name FROM {table} WHERE workspace = '{DEFAULT}') ORDER BY name LIMIT $1"
    )
    for table in TABLES
    if table not in ("secrets", "budget_policies", "jobs", "skills")
}
# Versions, tags and aliases of models, and the parts of MCP servers and skills, follow by foreign keys.
MOVE: Final = {
    table: Sql(f"UPDATE {table} SET workspace = '{DEFAULT}' WHERE workspace = {{workspace}}")
    for table in (*TABLES, "guardrail_configs")  # stock forgets the last one, and then its rows
}

# Other transactions cannot add rows to these experiments, or to their runs, until this one ends.
LOCKED_EXPERIMENTS: Final = Sql(
    "SELECT experiment_id FROM experiments WHERE workspace = {workspace}"
    " ORDER BY experiment_id LIMIT $1 {for delete}"
)
LOCK_RUNS: Final = Sql(
    "SELECT count(*) FROM (SELECT 1 FROM runs WHERE experiment_id {in $1 int} {for delete}) r"
)
_OF_RUNS: Final = ("latest_metrics", "metrics", "params", "tags")
_OF_EXPERIMENTS: Final = (  # referring rows first; other tables follow by foreign keys
    "logged_model_metrics",
    "logged_model_params",
    "logged_model_tags",
    "logged_models",
    "spans",
    "trace_info",
    "online_scoring_configs",
    "scorers",
    "issues",
    "review_queues",
    "label_schemas",
    "datasets",
    "experiment_tags",
    "sql_trace_metric_daily_rollups",
    "sql_span_cost_daily_rollups",
    "sql_assessment_daily_rollups",
    "sql_trace_rollup_rebuild_queue",
    "runs",
)
DELETE_EXPERIMENTS: Final = (
    *(
        (
            table,
            Sql(
                f"DELETE FROM {table} WHERE run_uuid IN"
                " (SELECT run_uuid FROM runs WHERE experiment_id {in $1 int})"
            ),
        )
        for table in _OF_RUNS
    ),
    *(
        (table, Sql(f"DELETE FROM {table} WHERE experiment_id {{in $1 int}}"))
        for table in _OF_EXPERIMENTS
    ),
    (
        "experiments",
        Sql("DELETE FROM experiments WHERE workspace = {workspace} AND experiment_id {in $1 int}"),
    ),
)
# Before the experiments, to whose scorers guardrails refer.
DELETE_OTHERS: Final = (
    *(
        (table, Sql(f"DELETE FROM {table} WHERE workspace = {{workspace}}"))
        for table in (
            "registered_model_aliases",
            "model_version_tags",
            "model_versions",
            "registered_model_tags",
            "registered_models",
            "webhooks",
            "guardrail_configs",
            "guardrails",
            "endpoints",
            "model_definitions",
            "secrets",
            "budget_policies",
            "jobs",
            "mcp_servers",
            "skills",
        )
    ),
    (
        "entity_associations",
        Sql(
            "DELETE FROM entity_associations WHERE source_type = 'evaluation_dataset' AND source_id IN"
            " (SELECT dataset_id FROM evaluation_datasets WHERE workspace = {workspace})"
        ),
    ),
    (
        "evaluation_datasets",
        Sql("DELETE FROM evaluation_datasets WHERE workspace = {workspace}"),
    ),
)


async def first_in_use(tx: Tx) -> tuple[str, int] | None:
    """The first table with rows of the workspace, and their number; None if there is none."""
    for table, statement in COUNT.items():
        if tx.schema.has(table):
            row = await tx.fetchrow(statement)
            assert row is not None, "a count is one row"
            if row[0]:
                return table, int(row[0])
    return None


async def conflicts(tx: Tx) -> list[tuple[str, str]]:
    """(table, name) of the rows that cannot move to the default workspace."""
    found: list[tuple[str, str]] = []
    for table, statement in CONFLICTS.items():
        found += [(table, row[0]) for row in await tx.fetch(statement, MOST_CONFLICTS)]
    return found


async def move(tx: Tx) -> None:
    """Move everything to the default workspace. Raises UniqueViolation."""
    for table, statement in MOVE.items():
        if tx.schema.has(table):
            await tx.execute(statement)


async def delete(tx: Tx) -> None:
    """Delete everything in the workspace. Raises ForeignKeyViolation if other rows refer to it."""
    for table, statement in DELETE_OTHERS:
        if tx.schema.has(table):
            await tx.execute(statement)
    while rows := await tx.fetch(LOCKED_EXPERIMENTS, EXPERIMENTS):
        await _delete_experiments(tx, [row[0] for row in rows])


async def _delete_experiments(tx: Tx, numbers: Sequence[int]) -> None:
    ids = tx.array(numbers)
    await tx.fetchrow(LOCK_RUNS, ids)
    for table, statement in DELETE_EXPERIMENTS:
        if tx.schema.has(table):
            await tx.execute(statement, ids)
