"""Creation of a new database for MLflow's stores: one script instead of MLflow's 67 migrations."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
from mlflow.utils.uri import resolve_uri_if_local

from headrace.db.upkeep import schema
from headrace.error import Error
from headrace.plugin.mlflow_versions import HAS_SAME_LIMITS

log = logging.getLogger(__name__)


def create(uri: str, artifact_root: str | None = None) -> None:
    """Create MLflow's tables if the database has none and this mlflow has the schema that headrace creates.

    Otherwise, and after an error, MLflow's own store does it or reports the error.
    """
    if not HAS_SAME_LIMITS:
        return
    root = resolve_uri_if_local(artifact_root or DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
    # A thread of its own: the caller's may run an event loop.
    with ThreadPoolExecutor(1, thread_name_prefix="headrace-create") as thread:
        created = thread.submit(schema.init, uri, f"{root.rstrip('/')}/0")
    try:
        created.result()
    except (Error, OSError) as error:
        log.info("MLflow's own store opens the database: %s", error)
