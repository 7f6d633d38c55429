"""SQL for the artifact locations of runs, model versions and logged models."""

from __future__ import annotations

from typing import Final

from headrace.db.base import Row, Tx
from headrace.db.sql import Sql

RUN_ROOT = Sql("SELECT artifact_uri FROM runs WHERE run_uuid = $1")
MODEL_ROOT = Sql(
    "SELECT artifact_location FROM logged_models WHERE model_id = $1 AND lifecycle_stage <> 'deleted'"
)
_VERSION: Final = "name = $1 AND version = $2 AND current_stage <> 'Deleted_Internal'"
# The workspace is the first column of the key: without it, this reads the whole table.
VERSION_ROOT = Sql(
    "SELECT COALESCE(storage_location, source) FROM model_versions"
    f" WHERE workspace = {{workspace}} AND {_VERSION}"
)
# For schemas that have no workspaces yet.
VERSION_ROOT_WITHOUT_WORKSPACES = Sql(
    f"SELECT COALESCE(storage_location, source) FROM model_versions WHERE {_VERSION}"
)
# Before storage_location was added, source had the same meaning.
VERSION_SOURCE_WITHOUT_WORKSPACES = Sql(f"SELECT source FROM model_versions WHERE {_VERSION}")


def _text(row: Row | None) -> str | None:
    return None if row is None else row[0] or ""


async def run_root(tx: Tx, run_id: str) -> str | None:
    """Return the artifact URI of a run, deleted or not; None if there is no such run."""
    return _text(await tx.fetchrow(RUN_ROOT, run_id))


async def model_root(tx: Tx, model_id: str) -> str | None:
    """Return the artifact URI of a logged model; None if it does not exist or is deleted."""
    if not tx.schema.has("logged_models"):
        return None
    return _text(await tx.fetchrow(MODEL_ROOT, model_id))


async def version_root(tx: Tx, name: str, version: int) -> str | None:
    """Return the location of a model version's files; None if it does not exist or is deleted."""
    if tx.schema.has("model_versions", "workspace"):
        statement = VERSION_ROOT
    elif tx.schema.has("model_versions", "storage_location"):
        statement = VERSION_ROOT_WITHOUT_WORKSPACES
    else:
        statement = VERSION_SOURCE_WITHOUT_WORKSPACES
    return _text(await tx.fetchrow(statement, name, version))
