"""The interface of a database for the rest of headrace: statements and transactions.

A function that runs inside a transaction is `async def name(tx, …)` and awaits nothing but `tx`.
With PostgreSQL it runs on the event loop; with SQLite the same coroutine runs to its end in a
worker thread, where no await ever suspends. So both databases share the Python code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from headrace.db.sql import Bulk, Sql

T = TypeVar("T")
Dialect = Literal["postgres", "sqlite"]
Row = Sequence[Any]  # a driver row: sqlite3 tuple or asyncpg Record, both indexed by position
# Below this number PostgreSQL gets rows by INSERT: COPY needs a transaction and further round
# trips.
COPY_ROWS: Final = 600
# A database that does not answer a ping within this time counts as unavailable.
PING_TIMEOUT_S: Final = 1.0
MAX_REPLICAS: Final = 8  # as many as /metrics has figures for


class RowCount:
    """The rows that this process has inserted, changed or deleted (PostgreSQL: including rolled-back ones)."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = 0


# Of a pool: connections in use, idle connections, waiting callers, maximum of connections.
Load = tuple[int, int, int, int]


class Schema(Protocol):
    """The tables and columns of MLflow that this database has (older heads lack some)."""

    head: str  # Alembic revision

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether the table, or its column, exists."""
        ...


class Tx(Protocol):
    """A running transaction (or, for reads, a snapshot).

    Errors: every driver error becomes one of `headrace.db.errors`. After one, a PostgreSQL
    transaction accepts no more statements.
    """

    dialect: Dialect
    schema: Schema
    alone: bool  # each statement commits by itself, so one that failed may be tried again

    async def fetch(self, sql: Sql, *args: Any) -> list[Row]:
        """All rows. Only for statements that bound the size of their result."""
        ...

    async def fetchrow(self, sql: Sql, *args: Any) -> Row | None:
        """The first row, or None."""
        ...

    async def execute(self, sql: Sql, *args: Any) -> int:
        """Run a write; returns the number of affected rows."""
        ...

    def array(self, values: Sequence[Any]) -> Any:
        """The list as one parameter: an array for PostgreSQL, JSON text for SQLite's `json_each`."""
        ...

    async def copy_new(self, into: Bulk, rows: Sequence[Sequence[Any]]) -> bool:
        """Insert many rows that are expected to be new, by the database's fastest method.

        False: nothing was inserted; use a statement that handles existing rows. When one of the
        rows exists, the transaction is rolled back and runs again, and then this returns False.
        """
        ...

    async def executemany(self, sql: Sql, rows: Sequence[Sequence[Any]]) -> int:
        """Run a write for many rows, at least one; returns how many rows it touched.

        `sql` is a `Bulk` or made like one: PostgreSQL runs it once and gives it one array per column, SQLite runs it
        once per row.
        """
        ...

    def wrote(self, rows: int) -> None:
        """Count the rows of a write whose result does not give their number."""
        ...


class ReplicaState(Protocol):
    """A replica: whether reads go to it, its lag behind the primary, and counts of reads.

    `fallbacks`: reads that began at the replica and that the primary answered.
    """

    name: str
    in_use: bool
    lag_s: float
    lag_bytes: int
    reads: int
    fallbacks: int


class Database(Protocol):
    """One database. Safe to use from one event loop."""

    @property
    def replicas(self) -> Sequence[ReplicaState]:
        """Its replicas that answer reads; most databases have none."""
        ...

    dialect: Dialect
    schema: Schema
    write_lanes: int  # the number of transactions that profit from running concurrently
    row_count: RowCount

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run `fn(tx, *args)` in a read-only snapshot and return its result.

        Reads are short: a long answer takes several reads, so that no snapshot and no connection
        waits for a client.
        """
        ...

    async def read_point(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """As `read`, for a `fn` that reads a few rows by key (it may run in the event loop)."""
        ...

    def version(self) -> int | None:
        """Another number after every commit to the database; None if only a read would tell.

        It takes 3 µs on SQLite. A read that begins after `version` finds at least the rows of that version.
        """
        ...

    async def read_by_keys(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """As `read`, for a `fn` that reads many rows by keys: PostgreSQL plans its statements once."""
        ...

    async def write(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run `fn(tx, *args)` in a separate transaction; returns after COMMIT.

        An exception rolls everything back. After a deadlock, a serialization failure or a lock
        timeout the transaction is retried, so `fn` may run more than once. Raises `Unavailable`
        when nothing is written, and `InDoubt` when the outcome of the COMMIT remains unknown.
        """
        ...

    async def write_group(
        self, fn: Callable[..., Awaitable[T]], *args: Any, lock_s: float, alone: bool = False
    ) -> T:
        """As `write`, for the group commit, which handles failures itself.

        Raises `Blocked` when another session holds a lock for longer than `lock_s` seconds, and
        `InDoubt` at once when a COMMIT gets no answer. `alone`: `fn` runs exactly one statement,
        which needs no BEGIN and COMMIT, and whose text limits the wait for locks. If it then raises
        `NeedsTransaction`, it runs again in a transaction.
        """
        ...

    async def ping(self) -> None:
        """Check that the database answers, independently of all other work. Raises `Unavailable`.

        Takes at most PING_TIMEOUT_S, plus the time for a new connection.
        """
        ...

    def load(self) -> Mapping[str, Load]:
        """The load of the connections by pool: `read`, `point`, `write`."""
        ...

    async def close(self) -> None:
        """Finish the queued work, then close every connection."""
        ...
