"""Opens SQLite connections with stock MLflow's session settings."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from headrace.db.sqlite.expressions import Expressions

# As stock MLflow sets it: another process may hold the file that long.
BUSY_TIMEOUT_MS: Final = 20_000
# Statement texts per connection; each shape of a search filter is one.
CACHED_STATEMENTS: Final = 512


class Connection(sqlite3.Connection):
    """A connection that knows REGEXP. Call `expressions.begin` before each read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.expressions = Expressions()
        self.create_function("regexp", 2, self.expressions.found, deterministic=True)


def connect(
    path: str, *, read_only: bool, synchronous: str, busy_timeout_ms: int = BUSY_TIMEOUT_MS
) -> Connection:
    """A connection with stock MLflow's session settings (case-sensitive LIKE, foreign keys, 20 s busy timeout)."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_MS
        / 1000,  # opening waits: another connection may just recover the file
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        factory=Connection,
    )
    connection.execute("PRAGMA case_sensitive_like = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
    return connection
