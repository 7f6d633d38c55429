"""Connections of MLflow's own stores across a fork: a child must not share them with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Any

_stores: weakref.WeakSet[Any] = weakref.WeakSet()


def reset_after_fork(store: Any) -> None:
    """Give the store's SQLAlchemy engine new connections in every child process forked from now on."""
    _stores.add(store)


def _close_idle_files() -> None:
    # A child must not inherit an open SQLite file: see DirectSqlite's preparation for a fork.
    for store in _stores:
        if store.engine.dialect.name == "sqlite":
            store.engine.dispose()


def _drop_inherited_connections() -> None:
    for store in _stores:
        store.engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_idle_files, after_in_child=_drop_inherited_connections)
