"""`headrace.enable()` and `headrace.disable()`."""

from __future__ import annotations

import sys
from typing import Any, Final

from headrace.plugin.builders import REGISTRY, TRACKING, TRACKING_GROUP
from headrace.plugin.state import set_enabled

REGISTRIES: Final = {
    "mlflow.tracking._tracking_service.utils": "_tracking_store_registry",
    "mlflow.tracking._model_registry.utils": "_model_registry_store_registry",
}


def enable() -> None:
    """Make the mlflow client of this process use headrace for sqlite, postgresql, http and https."""
    set_enabled(True)
    for registry in _loaded_registries():
        table = TRACKING if registry.group_name == TRACKING_GROUP else REGISTRY
        for scheme, builder in table.items():
            registry.register(scheme, builder)
        _forget_stores(registry)


def disable() -> None:
    """Make the mlflow client of this process use MLflow's own stores again."""
    set_enabled(False)
    for registry in _loaded_registries():
        _forget_stores(registry)


def _loaded_registries() -> list[Any]:
    """Return MLflow's registries of stores. One that is loaded later reads the entry points itself."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in REGISTRIES.items())
    return [registry for registry in found if registry is not None]


def _forget_stores(registry: Any) -> None:
    """Clear MLflow's cache of stores by URI, which would return stores of the other kind."""
    cached = getattr(registry, "_get_store_with_resolved_uri", None)
    forget = getattr(cached, "cache_clear", None)
    if forget is not None:
        forget()
        return
    import logging  # start-up cost: a quarter of the time of `import headrace`

    logging.getLogger(__name__).warning(
        "this release of mlflow does not let headrace replace stores that exist already: call "
        "headrace.enable() before their first use"
    )
