"""Turns database errors into answers for clients: one sentence per kind, never the driver's text.

The driver's text names hosts, ports, users and tables, and contains keys and values of other users'
rows.
"""

from __future__ import annotations

from typing import Final

from headrace.contract.errors import (
    ApiError,
    ErrorCode,
    overloaded,
    unavailable,
    unavailable_unwritten,
)
from headrace.db.errors import (
    Blocked,
    Crowded,
    DatabaseError,
    DataRejected,
    ForeignKeyViolation,
    InDoubt,
    Retryable,
    Unavailable,
    UniqueViolation,
)

# The first matching kind counts.
SENTENCES: Final[tuple[tuple[type[DatabaseError], str], ...]] = (
    (Crowded, "The database has too many requests waiting. Please try again."),
    (Blocked, "Another session of the database has locked a row for too long. Please try again."),
    (InDoubt, "The database did not confirm the write, which may be stored or not."),
    (Unavailable, "The database is not available. Please try again."),
    (Retryable, "The database stopped the transaction because of another one. Please try again."),
    (UniqueViolation, "The database holds a row with this key already."),
    (ForeignKeyViolation, "The database holds no row that the new one refers to."),
    (
        DataRejected,
        "The database rejected a value: it is too long, out of range, of a wrong type or missing.",
    ),
    (DatabaseError, "The database could not execute a statement."),
)


def sentence(error: DatabaseError) -> str:
    """The text for a client: a sentence, and the name of the driver's exception if one is known."""
    text = next(text for kind, text in SENTENCES if isinstance(error, kind))
    return f"{text} ({cause})" if (cause := cause_of(error)) else text


def cause_of(error: DatabaseError) -> str:
    """The class and the code (SQLSTATE, or SQLite's name) of the driver's exception; empty without one."""
    cause = error.__cause__
    if cause is None:
        return ""
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    return f"{type(cause).__name__} {code}" if code else type(cause).__name__


def api_error(error: DatabaseError) -> ApiError:
    """The answer for a database error that no handler translated."""
    if isinstance(error, InDoubt):
        return in_doubt(error)
    if isinstance(error, Unavailable | Retryable):
        return not_written(error)
    if isinstance(error, UniqueViolation | ForeignKeyViolation | DataRejected):
        return ApiError(ErrorCode.BAD_REQUEST, sentence(error))
    return ApiError(ErrorCode.INTERNAL_ERROR, sentence(error))


def not_written(error: Unavailable | Retryable) -> ApiError:
    """429 for a request that certainly wrote nothing."""
    if isinstance(error, Crowded | Blocked | Retryable):
        return overloaded(sentence(error))
    return unavailable_unwritten(sentence(error))


def in_doubt(error: Unavailable | Retryable) -> ApiError:
    """503 for a write whose outcome is unknown."""
    return unavailable(sentence(error))
