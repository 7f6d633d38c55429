"""The rows that stock MLflow writes to a new database: revision, workspace, experiment 0."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from headrace.db.schema import heads
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
OTHER_WORKSPACE: Final = Sql(
    "SELECT workspace FROM experiments WHERE workspace <> 'default' LIMIT 1"
)

Statement = tuple[Sql, tuple[Any, ...]]


def new_database(default_location: str) -> tuple[Statement, ...]:
    """The statements for a database whose tables have just been created."""
    return ((_STAMP, (heads.CURRENT,)), (_WORKSPACE, ()), default_experiment(default_location))


def default_experiment(location: str) -> Statement:
    """Experiment 0, as stock MLflow creates it at start when it is missing.

    The workspace column, where the schema has it, defaults to 'default'.
    """
    return _DEFAULT_EXPERIMENT, (location, time.time_ns() // 1_000_000)


def other_workspace_text(uri: str, workspace: str) -> str:
    """The reason for not serving experiments outside the default workspace, as stock MLflow."""
    return (
        f"{uri} has experiments in the workspace '{workspace}'. headrace does not serve workspaces "
        "yet, and without them everyone would see those experiments. Serve it with: mlflow server "
        f"--enable-workspaces --backend-store-uri {uri}"
    )


def asks_workspace(schema: Schema) -> bool:
    """Whether experiments of this database can belong to another workspace."""
    return schema.has("experiments", "workspace")
