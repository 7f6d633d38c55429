"""Opens the bucket of a URI: S3, Google Cloud Storage or Azure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.storage import azure, gcs, s3

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from headrace.settings.table import Settings
    from headrace.storage.objects import ObjectStore
    from headrace.storage.repository import RepositoryStore


def open_bucket(uri: str, threads: Executor, settings: Settings) -> ObjectStore | RepositoryStore:
    """The store for a URI of s3, gs, wasbs or abfss. Raises INVALID_PARAMETER_VALUE for a malformed one."""
    if uri.startswith("s3:"):
        return s3.open_store(uri, threads, settings)
    if uri.startswith("gs:"):
        return gcs.open_store(uri)
    return azure.open_store(uri, threads)
