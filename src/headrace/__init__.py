"""headrace: a tracking server that speaks MLflow's REST API on MLflow's own tables.

`enable` and `disable` switch the mlflow client of this process; `connect` opens a database without mlflow.
"""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING

from headrace.plugin.switch import disable, enable
from headrace.version import __version__

if TYPE_CHECKING:
    from headrace.client.connection import Connection

__all__ = ["__version__", "connect", "disable", "enable"]


def connect(uri: str) -> Connection:
    """A database of experiments, to read and to write: see `headrace.client.connection.Connection`."""
    from headrace.client import connection

    return connection.Connection(uri)


def _close() -> None:
    engine = sys.modules.get("headrace.client.engine")
    if engine is not None:
        engine.close_all()


# Here and not in engine.py: what is registered first runs last, and MLflow, which loads this package through its entry
# points, registers after it that a run which is still active be ended.
atexit.register(_close)
