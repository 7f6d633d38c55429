"""Whether the mlflow client goes through headrace: `headrace.enable()`, `headrace.disable()`, HEADRACE=1."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

VARIABLE: Final = "HEADRACE"
GROUPS: Final = {
    "mlflow.tracking._tracking_service.utils": "_tracking_store_registry",
    "mlflow.tracking._model_registry.utils": "_model_registry_store_registry",
}
_chosen: bool | None = None


def enabled() -> bool:
    """Whether stores that are built now are headrace's."""
    if _chosen is not None:
        return _chosen
    return os.environ.get(VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")


def enable() -> None:
    """Have the mlflow client of this process use headrace for sqlite, postgresql, http and https."""
    _switch(True)


def disable() -> None:
    """Back to MLflow's own stores."""
    _switch(False)


def _switch(on: bool) -> None:
    global _chosen
    _chosen = on
    for module, name in GROUPS.items():
        registry: Any = getattr(sys.modules.get(module), name, None)
        if registry is None:
            continue  # not loaded yet: it reads the entry points when it is
        if on:
            _register(registry)
        # Stores are kept by URI: without this the ones that were built before would go on.
        registry._get_store_with_resolved_uri.cache_clear()


def _register(registry: Any) -> None:
    from headrace.plugin import builders

    table = (
        builders.TRACKING if registry.group_name == builders.TRACKING_GROUP else builders.REGISTRY
    )
    for scheme, builder in table.items():
        registry.register(scheme, builder)
