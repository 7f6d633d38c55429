"""asyncpg's errors as those of `headrace.db.errors`."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import asyncpg
from asyncpg import exceptions as pg

from headrace.db.errors import (
    Blocked,
    DatabaseError,
    DataRejected,
    Demoted,
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

# The connection is unusable after one of these.
_BROKEN: Final = (
    OSError,
    pg.InternalClientError,  # the server closed an idle connection; asyncpg reports its message as unexpected
    pg.ConnectionDoesNotExistError,
    pg.ConnectionFailureError,
    pg.ProtocolViolationError,  # a pooler has lost its server, or has none free
    pg.AdminShutdownError,
    pg.CrashShutdownError,
)
# After these errors the transaction may be committed, although the server reports them as ERROR: a
# broken connection (class 08, also reported by poolers), a shutdown by an administrator (57P),
# statement completion unknown (40003).
_IN_DOUBT: Final = ("08", "57P", "40003")


def _severity(error: BaseException) -> str | None:
    """ERROR, FATAL or PANIC, from the server; None for errors of the client's side."""
    severity: str | None = getattr(error, "severity_en", None) or getattr(error, "severity", None)
    return severity


def is_rolled_back(error: BaseException) -> bool:
    """Whether the answer to a COMMIT, or to a lone statement, guarantees that nothing is written.

    An ERROR of the server does, because PostgreSQL turns errors into PANIC once it begins to write
    the COMMIT. Parameters that asyncpg itself rejects do as well: it raises the server's exceptions
    for them, without a severity.
    """
    return (
        isinstance(error, asyncpg.PostgresError)
        and _severity(error) not in ("FATAL", "PANIC")
        and not str(error.sqlstate).startswith(_IN_DOUBT)
    )


# "Key (name)=(x) already exists." in the server's language; the columns are the same in every
# language. MLflow's constraint names differ between its heads, its column names do not.
_KEY: Final = re.compile(r"\(([\w, ]+)\)=\(")


def _unique_violation(error: pg.UniqueViolationError, text: str) -> UniqueViolation:
    key = _KEY.search(error.detail or "")
    columns = frozenset(key[1].split(", ")) if key else frozenset()
    return UniqueViolation(text, error.table_name or "", columns)


def translate(error: BaseException) -> DatabaseError:
    """The driver's error as one of ours, with the driver's text."""
    reason = str(error) or "the database did not answer in time"
    text = f"({type(error).__module__}.{type(error).__name__}) {reason}"
    if _severity(error) in ("FATAL", "PANIC"):  # the server closes the connection
        return Lost(text)
    if isinstance(error, pg.ReadOnlySQLTransactionError):
        return Demoted(text)
    if isinstance(error, pg.UniqueViolationError):
        return _unique_violation(error, text)
    if isinstance(error, pg.ForeignKeyViolationError):
        return ForeignKeyViolation(text)
    if isinstance(error, pg.DeadlockDetectedError | pg.SerializationError):
        return Retryable(text)
    if isinstance(error, pg.LockNotAvailableError | pg.QueryCanceledError):
        return Blocked(text)
    if isinstance(error, pg.IntegrityConstraintViolationError | pg.DataError):
        return DataRejected(text)
    if isinstance(error, _BROKEN) and not isinstance(error, TimeoutError):
        return Lost(text)
    if isinstance(error, GONE):
        return Unavailable(text)
    return DatabaseError(text)
