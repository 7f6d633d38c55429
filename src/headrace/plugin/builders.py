"""The entry points through which MLflow creates a store.

headrace's builders replace those of MLflow for the same schemes, and call them while headrace is disabled.
Every program that imports mlflow loads this module, so functions import what they need.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from headrace.plugin.state import enabled

if TYPE_CHECKING:
    import logging

TRACKING_GROUP: Final = "mlflow.tracking_store"
READ_REPLICA: Final = "_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE"  # `mlflow server` sets it


def tracking_database(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Create the tracking store of a database."""
    from mlflow.tracking._tracking_service import utils

    if enabled() and _served(store_uri) and _knows("database"):
        from headrace.plugin.mlflow_versions import HAS_SAME_LIMITS

        if artifact_uri is None:
            artifact_uri = _default_artifact_root(utils)
        if HAS_SAME_LIMITS and _knows("traces"):
            from headrace.plugin.trace_store import TraceStore

            return TraceStore(store_uri, artifact_uri)
        from headrace.plugin.tracking_store import TrackingStore

        return TrackingStore(store_uri, artifact_uri)
    if artifact_uri is not None and (stock := _server_builder("TrackingStoreRegistryWrapper")):
        return stock(store_uri, artifact_uri)
    return utils._get_sqlalchemy_store(store_uri, artifact_uri)


def tracking_server(store_uri: str, artifact_uri: str | None = None) -> Any:
    """Create the tracking store of a server."""
    from mlflow.tracking._tracking_service import utils

    if enabled() and _knows("server"):
        from headrace.plugin.server_store import ServerStore

        return ServerStore(store_uri)
    return utils._get_rest_store(store_uri)


def registry_database(store_uri: str) -> Any:
    """Create the model registry of a database."""
    from mlflow.tracking._model_registry import utils

    if enabled() and _served(store_uri) and _knows("registry"):
        from headrace.plugin.registry_store import RegistryStore

        return RegistryStore(store_uri)
    if stock := _server_builder("ModelRegistryStoreRegistryWrapper"):
        return stock(store_uri)
    return utils._get_sqlalchemy_store(store_uri)


def _server_builder(registry: str) -> Any:
    """Return the builder of an MLflow server that reads from a replica, or None elsewhere."""
    if READ_REPLICA not in os.environ:
        return None
    handlers = sys.modules.get("mlflow.server.handlers")
    return getattr(getattr(handlers, registry, None), "_get_sqlalchemy_store", None)


def _default_artifact_root(utils: Any) -> str:
    """Choose the artifact root as MLflow's own builder does."""
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH

    variable = getattr(utils, "_SERVER_ARTIFACT_ROOT_ENV_VAR", "")  # from mlflow 3 on
    return os.environ.get(variable, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)


def _served(store_uri: str) -> bool:
    """Whether headrace can serve the database. MLflow's own store serves the others."""
    from headrace.db.uri import UriError, parse

    if os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").lower() in ("1", "true"):
        return False
    if READ_REPLICA in os.environ:  # an MLflow server that reads from a replica
        return False
    try:
        parse(store_uri)
    except UriError as error:
        _log().info("using MLflow's own store: %s", error)
        return False
    return True


def _knows(store: str) -> bool:
    from headrace.plugin import private_names

    return private_names.are_known(store)


def _log() -> logging.Logger:
    import logging  # start-up cost: a quarter of the time of `import headrace`

    return logging.getLogger(__name__)


TRACKING: Final = {
    "sqlite": tracking_database,
    "postgresql": tracking_database,
    "http": tracking_server,
    "https": tracking_server,
}
REGISTRY: Final = {"sqlite": registry_database, "postgresql": registry_database}
