"""headrace: a tracking server that speaks MLflow's REST API on MLflow's own tables.

`enable` and `disable` switch the mlflow client of this process. `connect` opens a database without
mlflow; its methods raise `ApiError`.
"""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Any

from headrace.plugin.switch import disable, enable
from headrace.version import __version__

if TYPE_CHECKING:
    from headrace.client.connection import Connection
    from headrace.contract.errors import ApiError

__all__ = ["ApiError", "__version__", "connect", "disable", "enable"]


def connect(uri: str) -> Connection:
    """Open a database of experiments for reading and writing.

    Raises `headrace.db.uri.UriError` and `headrace.db.schema.facts.UnusableDatabase`.
    """
    # Start-up cost: `import headrace` runs in every process that loads mlflow's entry points.
    from headrace.client import connection

    return connection.Connection(uri)


def __getattr__(name: str) -> Any:
    if name == "ApiError":
        from headrace.contract.errors import ApiError  # start-up cost, as above

        return ApiError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _close() -> None:
    engine = sys.modules.get("headrace.client.engine")
    if engine is not None:
        engine.close_all()


# Exit handlers run in reverse order. MLflow imports this package through its entry points and then
# registers the handler that ends an active run, which must run before the engine closes. So the handler
# must be registered here and not in the engine, which is imported later.
atexit.register(_close)
