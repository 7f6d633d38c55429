"""SQL for the run and the logged model that a model version is created from.

It includes the tag of the logged model that lists its versions.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.db.base import Tx
from headrace.db.sql import Sql

RUN_ROOT = Sql("SELECT artifact_uri FROM runs WHERE {of workspace}run_uuid = $1")
LOGGED_MODEL = Sql(
    "SELECT artifact_location, source_run_id FROM logged_models"
    " WHERE {of workspace}model_id = $1 AND lifecycle_stage <> 'deleted'"
)
# The experiment of a model; no other transaction changes the model until this one ends.
LOCK_LOGGED_MODEL = Sql(
    "SELECT experiment_id FROM logged_models"
    " WHERE {of workspace}model_id = $1 AND lifecycle_stage <> 'deleted' {for update}"
)
# The value of a tag ($4 if it is new); no other transaction changes it until this one ends.
CLAIM_TAG = Sql(
    "INSERT INTO logged_model_tags (model_id, experiment_id, tag_key, tag_value)"
    " VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (model_id, tag_key) DO UPDATE SET tag_value = logged_model_tags.tag_value"
    " RETURNING tag_value"
)
SET_TAG = Sql("UPDATE logged_model_tags SET tag_value = $3 WHERE model_id = $1 AND tag_key = $2")


class Origin(NamedTuple):
    """Where the files of a logged model are, and the run that logged it."""

    artifact_location: str
    run_id: str | None


async def run_root(tx: Tx, run_id: str) -> str | None:
    """The artifact URI of a run in any lifecycle stage; None if the run does not exist."""
    row = await tx.fetchrow(RUN_ROOT, run_id)
    return None if row is None else row[0] or ""


async def logged_model(tx: Tx, model_id: str) -> Origin | None:
    """A logged model; None if it does not exist or is deleted."""
    if not tx.schema.has("logged_models"):
        return None
    row = await tx.fetchrow(LOGGED_MODEL, model_id)
    return None if row is None else Origin(*row)


async def lock_logged_model(tx: Tx, model_id: str) -> int | None:
    """The experiment of a logged model, locked; None if the model does not exist or is deleted."""
    if not tx.schema.has("logged_models"):
        return None
    row = await tx.fetchrow(LOCK_LOGGED_MODEL, model_id)
    return None if row is None else int(row[0])
