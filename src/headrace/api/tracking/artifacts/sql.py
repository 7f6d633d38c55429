"""SQL for the artifact locations of runs, model versions and logged models."""

from __future__ import annotations

from headrace.db.base import Row, Tx
from headrace.db.sql import Sql

RUN_ROOT = Sql("SELECT artifact_uri FROM runs WHERE run_uuid = $1")
MODEL_ROOT = Sql(
    "SELECT artifact_location FROM logged_models WHERE model_id = $1 AND lifecycle_stage <> 'deleted'"
)
# storage_location was added by a later schema than model_versions; before it, source has the same
# meaning.
VERSION_ROOT = Sql(
    "SELECT COALESCE(storage_location, source) FROM model_versions"
    " WHERE {in workspace}name = $1 AND version = $2 AND current_stage <> 'Deleted_Internal'"
)
VERSION_SOURCE = Sql(
    "SELECT source FROM model_versions"
    " WHERE {in workspace}name = $1 AND version = $2 AND current_stage <> 'Deleted_Internal'"
)


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
    known = tx.schema.has("model_versions", "storage_location")
    return _text(await tx.fetchrow(VERSION_ROOT if known else VERSION_SOURCE, name, version))
