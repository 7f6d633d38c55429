"""Driver errors, as kinds that the code above knows; the drivers' own exceptions stop in db/."""

from __future__ import annotations

from collections import Counter
from typing import Final

raised: Final[Counter[str]] = Counter()  # errors of this process so far, by kind


class DatabaseError(Exception):
    """The database refused a statement. `text` is the driver's own message."""

    kind = "DatabaseError"  # what it is counted as

    def __init_subclass__(cls) -> None:
        if DatabaseError in cls.__bases__:
            cls.kind = cls.__name__

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        raised[self.kind] += 1


class UniqueViolation(DatabaseError):
    """A unique or primary key exists already.

    `table` and `columns` name the key. Both are empty where the driver does not say; whoever tells a client that
    something exists compares them, since another key of the same transaction may have been violated.
    """

    def __init__(self, text: str, table: str = "", columns: frozenset[str] = frozenset()) -> None:
        super().__init__(text)
        self.table = table
        self.columns = columns


class NotNew(UniqueViolation):
    """A row that `Tx.copy_new` took for new is there already."""


class ForeignKeyViolation(DatabaseError):
    """A referenced row does not exist."""


class DataRejected(DatabaseError):
    """A value is too long, out of range, of a wrong type, or NULL where none may be."""


class Retryable(DatabaseError):
    """Deadlock or serialization failure, rolled back: the same transaction may succeed when run again."""


class Unavailable(DatabaseError):
    """The database is away, full, read-only or shutting down. Nothing of the transaction is written."""


class Crowded(Unavailable):
    """The database is there, but too many wait for it."""


class Blocked(Unavailable):
    """Another session holds a lock, or a statement met its time limit: the transaction is rolled back."""

    kind = "Blocked"


class Lost(Unavailable):
    """The connection broke in the middle of a statement, before the COMMIT."""


class InDoubt(Unavailable):
    """No answer to a COMMIT: it may have taken place or not."""

    kind = "InDoubt"
