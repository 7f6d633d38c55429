"""asyncpg's errors, as those that the code above knows."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from asyncpg import exceptions as pg

from headrace.db.errors import (
    DatabaseError,
    DataRejected,
    ForeignKeyViolation,
    Lost,
    Retryable,
    Unavailable,
    UniqueViolation,
)

GONE: Final = (
    OSError,
    asyncio.TimeoutError,
    pg.InterfaceError,
    pg.InternalClientError,
    pg.PostgresConnectionError,
    pg.OperatorInterventionError,
    pg.InsufficientResourcesError,
    pg.PostgresIOError,
    pg.ReadOnlySQLTransactionError,
)

# The connection is of no more use, whatever the database says next.
_BROKEN: Final = (
    OSError,
    pg.InternalClientError,  # asyncpg read the farewell of an idle connection in the middle of nothing
    pg.ConnectionDoesNotExistError,
    pg.ConnectionFailureError,
    pg.ProtocolViolationError,  # a pooler has lost its server, or has none to give
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.ReadOnlySQLTransactionError,  # it leads to a server that has become a standby
)


# "Key (name)=(x) already exists." in the language of the server, but with these columns in any. MLflow's names of
# constraints differ between its heads, its columns do not.
_KEY: Final = re.compile(r"\(([\w, ]+)\)=\(")


def _unique_violation(error: pg.UniqueViolationError, text: str) -> UniqueViolation:
    key = _KEY.search(error.detail or "")
    columns = frozenset(key[1].split(", ")) if key else frozenset()
    return UniqueViolation(text, error.table_name or "", columns)


def translate(error: BaseException) -> DatabaseError:
    """The driver's error as one of ours; `text` stays the driver's."""
    text = f"({type(error).__module__}.{type(error).__name__}) {error}"
    if isinstance(error, pg.UniqueViolationError):
        return _unique_violation(error, text)
    if isinstance(error, pg.ForeignKeyViolationError):
        return ForeignKeyViolation(text)
    if isinstance(error, pg.DeadlockDetectedError | pg.SerializationError):
        return Retryable(text)
    if isinstance(error, pg.IntegrityConstraintViolationError | pg.DataError):
        return DataRejected(text)
    if isinstance(error, _BROKEN) and not isinstance(error, TimeoutError):
        return Lost(text)
    if isinstance(error, GONE):
        return Unavailable(text)
    return DatabaseError(text)
