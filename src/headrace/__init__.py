"""headrace: a tracking server that speaks MLflow's REST API on MLflow's own tables.

`enable` and `disable` switch the mlflow client of this process; `connect` opens a database without mlflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.plugin.switch import disable, enable
from headrace.version import __version__

if TYPE_CHECKING:
    from headrace.connection import Connection

__all__ = ["__version__", "connect", "disable", "enable"]


def connect(uri: str) -> Connection:
    """A database of experiments, to read and to write: see `headrace.connection.Connection`."""
    from headrace import connection

    return connection.Connection(uri)
