"""What the rest of headrace may ask of a database: statements and transactions.

A function that runs inside a transaction is `async def name(tx, …)` and awaits nothing but `tx`. PostgreSQL
awaits it on the event loop; SQLite drives the same coroutine to its end inside a worker thread, where no
await ever suspends. So one text of Python serves both.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

T = TypeVar("T")
Dialect = Literal["postgres", "sqlite"]
Row = Sequence[Any]  # a driver row: sqlite3 tuple or asyncpg Record, both indexed by position
# Fewer rows go to PostgreSQL with an INSERT: COPY takes a transaction and round trips of its own.
COPY_ROWS: Final = 600
PING_TIMEOUT_S: Final = (
    1.0  # a database that does not answer a question for nothing within it is away
)
_PLACEHOLDER = re.compile(r"\$(\d+)")


class Sql:
    """One statement, in the words of each database. `$1` … are the parameters on both.

    `Sql(text)` where the text is the same everywhere; `Sql(postgres=…, sqlite=…)` where it is not.
    """

    __slots__ = ("postgres", "sqlite")

    def __init__(
        self, text: str | None = None, *, postgres: str | None = None, sqlite: str | None = None
    ) -> None:
        pg = postgres if postgres is not None else text
        lite = sqlite if sqlite is not None else text
        assert pg is not None and lite is not None, "a statement needs a text for every database"
        self.postgres = pg
        self.sqlite = _PLACEHOLDER.sub(r"?\1", lite)


class Copy:
    """Where `Tx.copy_new` puts rows: a table, and its columns in the order of the rows."""

    __slots__ = ("columns", "table")

    def __init__(self, table: str, *columns: str) -> None:
        self.table = table
        self.columns = columns


class RowCount:
    """Rows that this process has inserted, changed or deleted (on PostgreSQL: sent, if rolled back or not)."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = 0


# Connections of a pool: in use, idle, callers that wait for one, most there may be.
Load = tuple[int, int, int, int]


class Schema(Protocol):
    """Which of MLflow's tables and columns this database has (older heads lack some)."""

    head: str  # alembic revision found

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether the table, or the column of it, is there."""
        ...


class Tx(Protocol):
    """A running transaction (or, for reads, a snapshot).

    Errors: every driver error leaves as one of `headrace.db.errors`. After one, a PostgreSQL transaction takes
    no more statements.
    """

    dialect: Dialect
    schema: Schema
    alone: bool  # each statement commits by itself, so one that failed may be tried again

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        """All rows. Only for results whose size the statement bounds."""
        ...

    async def fetchrow(self, sql: Sql, *args: Any) -> Row | None:
        """The first row, or None."""
        ...

    async def execute(self, sql: Sql, *args: Any) -> int:
        """Run a write; returns the number of rows it touched."""
        ...

    def array(self, values: Sequence[Any]) -> Any:
        """A list as one parameter: an array for PostgreSQL, JSON text for SQLite's `json_each`."""
        ...

    async def insert_many(self, sql: Sql, rows: Sequence[Sequence[Any]]) -> int:
        """Insert rows with one statement; returns how many were written.

        On PostgreSQL the statement takes one array per column, on SQLite it runs once per row.
        """
        ...

    async def copy_new(self, into: Copy, rows: Sequence[Sequence[Any]]) -> bool:
        """Insert many rows that are expected to be new, by the fastest way the database has.

        False: nothing was done, insert them with a statement that minds those which are there. When one of the
        rows is there, the transaction is rolled back and runs again, and this answers False.
        """
        ...

    async def executemany(self, sql: Sql, rows: Iterable[Sequence[Any]]) -> None:
        """Run a write once per row of parameters."""
        ...

    def wrote(self, rows: int) -> None:
        """Count rows of a write whose result does not say how many it touched."""
        ...


class Database(Protocol):
    """One database. Safe to use from one event loop."""

    dialect: Dialect
    schema: Schema
    write_lanes: int  # transactions that gain from running at the same time
    row_count: RowCount

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run `fn(tx, *args)` in a read-only snapshot and return what it returns.

        Reads are short: what takes a client long to receive is read in several, so that no snapshot and no
        connection waits for a client.
        """
        ...

    async def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """As `read`, for a `fn` that touches a handful of rows by key (it may run in the event loop)."""
        ...

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run `fn(tx, *args)` in a transaction of its own; returns after COMMIT.

        An exception rolls everything back. A deadlock, a serialization failure or a lock that another session
        holds is waited out, so `fn` may run more than once. Raises `Unavailable` when nothing is written, and
        `InDoubt` when it could not be learned whether the COMMIT took place.
        """
        ...

    async def write_group(
        self, fn: Callable[..., Awaitable[T]], *args: Any, lock_s: float, alone: bool = False
    ) -> T:
        """As `write`, for the group commit, which decides itself what a failure means.

        Raises `Blocked` when another session holds a lock for longer than `lock_s` seconds, and `InDoubt` at once
        when a COMMIT gets no answer. `alone`: `fn` runs exactly one statement, which needs no BEGIN and no COMMIT
        of its own, and limits its wait for locks itself.
        """
        ...

    async def ping(self) -> None:
        """Ask the database for nothing, apart from all other work. Raises `Unavailable`.

        After PING_TIMEOUT_S at most, but for the time that a new connection to it takes.
        """
        ...

    def load(self) -> Mapping[str, Load]:
        """How busy the connections are, by pool: `read`, `point`, `write`."""
        ...

    async def close(self) -> None:
        """Finish what is queued, then close every connection."""
        ...
