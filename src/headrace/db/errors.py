"""The kinds of database errors. The drivers' own exceptions do not leave db/."""

from __future__ import annotations

from collections import Counter
from typing import Final

from headrace.error import Error

raised: Final[Counter[str]] = Counter()  # errors of this process so far, by kind


class DatabaseError(Error):
    """The database rejected a statement. `text` is the driver's message."""

    kind = "DatabaseError"  # the name under which it is counted

    def __init_subclass__(cls) -> None:
        if DatabaseError in cls.__bases__:
            cls.kind = cls.__name__

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        raised[self.kind] += 1


class UniqueViolation(DatabaseError):
    """A unique or primary key exists already.

    `table` and `columns` name the key; both are empty when the driver does not report them. Compare
    them before telling a client that a name exists: the violated key may be another one of the same
    transaction.
    """

    def __init__(self, text: str, table: str = "", columns: frozenset[str] = frozenset()) -> None:
        super().__init__(text)
        self.table = table
        self.columns = columns


class NotNew(UniqueViolation):
    """A row that `Tx.copy_new` expected to be new exists already."""


class NeedsTransaction(DatabaseError):
    """A statement that commits by itself wrote nothing: the operations need several statements."""


class ForeignKeyViolation(DatabaseError):
    """A referenced row does not exist."""


class DataRejected(DatabaseError):
    """A value is too long, out of range, of a wrong type, or NULL in a NOT NULL column."""


class Retryable(DatabaseError):
    """Deadlock or serialization failure, rolled back: the same transaction may succeed when run again."""


class Unavailable(DatabaseError):
    """The database is unreachable, full, read-only or shutting down. Nothing of the transaction is written."""


class Crowded(Unavailable):
    """The database is available, but too many requests wait for it."""


class Blocked(Unavailable):
    """Another session holds a lock, or a statement exceeded its time limit. The transaction is rolled back."""

    kind = "Blocked"


class Lost(Unavailable):
    """The connection broke during a statement, before the COMMIT."""


class Demoted(Lost):
    """The server takes no writes any more: another one has become the primary, or will."""


class InDoubt(Unavailable):
    """A COMMIT got no answer; it may have taken place or not."""

    kind = "InDoubt"
