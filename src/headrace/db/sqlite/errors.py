"""sqlite3's errors as those of `headrace.db.errors`."""

from __future__ import annotations

import sqlite3
from typing import Final

from headrace.db.errors import (
    DatabaseError,
    DataRejected,
    ForeignKeyViolation,
    InDoubt,
    Unavailable,
    UniqueViolation,
)
from headrace.db.sqlite.expressions import LIMIT_S

# Of a function in Python, of which there is one: a regular expression has taken its time.
_FUNCTION_FAILED: Final = "user-defined function raised exception"
_UNIQUE: Final = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"})


def violated_key(text: str) -> tuple[str, frozenset[str]]:
    """Table and columns of "UNIQUE constraint failed: tags.key, …"; empty for an index on expressions."""
    pairs = [name.partition(".") for name in text.rpartition(": ")[2].split(", ")]
    if not all(column for _, _, column in pairs):
        return "", frozenset()
    return pairs[0][0], frozenset(column for _, _, column in pairs)


def translate(error: sqlite3.Error) -> DatabaseError:
    """The driver's error as one of ours, with the driver's text."""
    name = getattr(error, "sqlite_errorname", "") or ""
    text = f"(sqlite3.{type(error).__name__}) {error}"
    if name == "SQLITE_INTERRUPT":
        text += ": the statement took too long"
    if str(error) == _FUNCTION_FAILED:
        return DataRejected(f"a regular expression takes more than {LIMIT_S:g} s")
    if name in _UNIQUE:
        table, columns = violated_key(str(error))
        return UniqueViolation(text, table, columns)
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return ForeignKeyViolation(text)
    # SQLITE_ERROR means a statement that cannot run (no such table), so a retry is useless.
    if isinstance(error, sqlite3.OperationalError) and name != "SQLITE_ERROR":
        return Unavailable(text)
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError):
        return DataRejected(text)
    return DatabaseError(text)


def translate_commit(error: sqlite3.Error) -> DatabaseError:
    """The error of a COMMIT. After an I/O error its outcome is unknown, except for a failed write."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_IOERR") and name != "SQLITE_IOERR_WRITE":
        return InDoubt(f"(sqlite3.{type(error).__name__}) {error}")
    return translate(error)
