"""headrace: a tracking server with MLflow's REST API on MLflow's own tables.

`enable` and `disable` switch the mlflow client of this process. `connect` opens a database without
mlflow. Every exception that they and their results raise is an `Error`.
"""

from __future__ import annotations

import atexit
import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from headrace.error import Error
from headrace.plugin.switch import disable, enable
from headrace.version import __version__

if TYPE_CHECKING:
    from headrace.client.connection import Connection
    from headrace.contract.errors import ApiError
    from headrace.db.errors import DatabaseError
    from headrace.db.schema.facts import UnusableDatabase
    from headrace.db.uri import UriError

__all__ = [
    "ApiError",
    "Connection",
    "DatabaseError",
    "Error",
    "UnusableDatabase",
    "UriError",
    "__version__",
    "connect",
    "disable",
    "enable",
]
# Imported when they are used: `import headrace` runs in every process that loads mlflow's entry points.
_LATER: Final = {
    "ApiError": "headrace.contract.errors",
    "Connection": "headrace.client.connection",
    "DatabaseError": "headrace.db.errors",
    "UnusableDatabase": "headrace.db.schema.facts",
    "UriError": "headrace.db.uri",
}


def connect(uri: str) -> Connection:
    """Open a database of experiments for reading and writing.

    Use the connection with `with`, or close it. Raises `UriError` and `UnusableDatabase`.
    """
    from headrace.client import connection  # start-up cost, as above

    return connection.Connection(uri)


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _close() -> None:
    engine = sys.modules.get("headrace.client.engine")
    if engine is not None:
        engine.close_all()


# Exit handlers run in reverse order. MLflow imports this package through its entry points and then
# registers the handler that ends an active run, which must run before the engine closes. So the handler
# must be registered here and not in the engine, which is imported later.
atexit.register(_close)
