"""What a forked child must not share with its parent: the connections of MLflow's own (inherited) stores."""

from __future__ import annotations

import os
import weakref
from typing import Any

_stores: weakref.WeakSet[Any] = weakref.WeakSet()


def survives_fork(store: Any) -> None:
    """Give the store's SQLAlchemy engine new connections in every child that is forked from now on."""
    _stores.add(store)


def _close_idle_files() -> None:
    for store in _stores:
        if store.engine.dialect.name == "sqlite":  # see DirectSqlite.prepare_fork
            store.engine.dispose()


def _leave_the_parents_connections() -> None:
    for store in _stores:
        store.engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_idle_files, after_in_child=_leave_the_parents_connections)
