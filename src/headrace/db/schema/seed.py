"""The rows that stock MLflow writes to a new database: revision, workspace, experiment 0."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from headrace.db.schema import heads
from headrace.db.schema.facts import Facts, UnusableDatabase
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from headrace.db.base import Schema

_STAMP: Final = Sql("INSERT INTO alembic_version (version_num) VALUES ($1)")
_WORKSPACE: Final = Sql(
    "INSERT INTO workspaces (name, description)"
    " VALUES ('default', 'Default workspace for legacy resources')"
)
# No conflict target: another process may have inserted id 0, or another experiment may have the
# name.
_DEFAULT_EXPERIMENT: Final = Sql("""
    INSERT INTO experiments
        (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)
    VALUES (0, 'Default', $1, 'active', $2, $2) ON CONFLICT DO NOTHING""")

HAS_DEFAULT_EXPERIMENT: Final = Sql("SELECT 1 FROM experiments WHERE experiment_id = 0")
_OTHER_WORKSPACE: Final = {  # as stock MLflow checks
    table: Sql(f"SELECT workspace FROM {table} WHERE workspace <> 'default' LIMIT 1")
    for table in ("experiments", "registered_models", "webhooks")
}

Statement = tuple[Sql, tuple[Any, ...]]


def new_database(default_location: str) -> tuple[Statement, ...]:
    """The statements for a database whose tables have just been created."""
    return ((_STAMP, (heads.CURRENT,)), (_WORKSPACE, ()), default_experiment(default_location))


def default_experiment(location: str) -> Statement:
    """Experiment 0, as stock MLflow creates it at start when it is missing.

    The workspace column, where the schema has it, defaults to 'default'.
    """
    return _DEFAULT_EXPERIMENT, (location, time.time_ns() // 1_000_000)


def other_workspace_text(uri: str, table: str, workspace: str) -> str:
    """The reason for not serving rows outside the default workspace without workspaces."""
    what = table.replace("_", " ")
    return (
        f"{uri} has {what} in the workspace '{workspace}', and without workspaces everyone would see "
        "them or lose them. Start with --enable-workspaces (MLFLOW_ENABLE_WORKSPACES=true), or delete "
        "the workspace with the mode SET_DEFAULT, which moves its contents to the workspace 'default'."
    )


def of_other_workspaces(schema: Schema) -> list[tuple[str, Sql]]:
    """For each table, the statement that finds a row outside the default workspace, if any can be."""
    return [
        (table, sql) for table, sql in _OTHER_WORKSPACE.items() if schema.has(table, "workspace")
    ]


def check_workspaces(facts: Facts, uri: str) -> None:
    """Raise UnusableDatabase unless a server with workspaces can serve the database."""
    if facts.missing:
        raise UnusableDatabase(
            f"{uri} is at schema revision {facts.head} ({facts.release}), and workspaces need all tables "
            f"of MLflow 3.17. Make a backup, then run: headrace db upgrade {uri}"
        )
