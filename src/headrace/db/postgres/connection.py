"""Opens connections to PostgreSQL, directly or through a pooler such as PgBouncer.

A pooler rejects start-up parameters that it does not know. With session pooling each connection
keeps one server, so settings and prepared statements last as long as the connection. With
transaction pooling each transaction may run on another server: no state may outlive it, and each
statement outside of a transaction gets one, because the driver prepares and executes it in two
steps.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import asyncpg

from headrace.db.postgres.errors import GONE
from headrace.db.postgres.hosts import Hosts
from headrace.db.schema.facts import UnusableDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from headrace.db.postgres.pool import Connection
    from headrace.db.uri import Target

Pooler = Literal["none", "session", "transaction"]
CONNECT_TIMEOUT_S: Final = 5.0
CLOSE_TIMEOUT_S: Final = 2.0
# How many statements one connection keeps prepared; the least recently used is dropped first. Most
# connections use about 120 fixed texts. Those for searches get one text per shape of filter, at 135
# kB of the server's memory each (docs/decisions/search.md): 1,000 of them on 10 connections would
# take 1.3 GB.
STATEMENTS: Final = 250
SEARCH_STATEMENTS: Final = 50
# Compiling a page of search takes longer than running it, and so does compiling the query by which
# asyncpg learns the types of arrays. An option in the URI overrides this setting.
SESSION: Final = {"jit": "off"}
# A generic plan (PostgreSQL may choose one from the sixth execution on) took 297 ms instead of 0.6
# for a rare tag. So searches have separate connections, without parallel workers, which cost more
# than they save (docs/decisions/search.md).
SEARCH_SESSION: Final = {
    **SESSION,
    "plan_cache_mode": "force_custom_plan",
    "max_parallel_workers_per_gather": "0",
}
# Look-ups by id have only one good plan, but PostgreSQL plans them each time, because it assumes
# that an array has 10 elements: a run took 0.44 CPU-ms with a plan of its own, 0.21 without. Numbers
# that are sent as texts need their shortest exact form, whatever the role's default is. A plan that
# was made while a table was empty would read it whole until the next ANALYZE: a trace and its 10
# spans took 1.9 CPU-ms instead of 0.7 (the first 3,000 traces of a database, 2026-11-29).
POINT_SESSION: Final = {
    **SESSION,
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "extra_float_digits": "1",
}


def set_local(settings: Mapping[str, str]) -> str:
    """Return statements that follow a BEGIN in the same message and set these in its transaction."""
    return "".join(f"; SET LOCAL {name} = '{value}'" for name, value in settings.items())


class PooledConnection:
    """A connection through a transaction pooler, with those methods of asyncpg's that headrace uses.

    `settings` apply in each transaction; BEGIN sets them in the same round trip.
    """

    def __init__(self, connection: Connection, settings: Mapping[str, str]) -> None:
        self.driver = connection
        # Before asyncpg reads array types it sets jit for the session, which other clients would
        # inherit.
        connection._server_caps = connection._server_caps._replace(jit=False)
        self.begin = "BEGIN" + set_local(settings)
        self.is_closed = connection.is_closed
        self.is_in_transaction = connection.is_in_transaction
        self.terminate = connection.terminate
        self.close = connection.close

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        """As asyncpg's."""
        return cast("list[Any]", await self._in_transaction(self.driver.fetch, sql, *args))

    async def fetchrow(self, sql: str, *args: Any) -> Any:
        """As asyncpg's."""
        return await self._in_transaction(self.driver.fetchrow, sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """As asyncpg's."""
        return await self._in_transaction(self.driver.fetchval, sql, *args)

    async def execute(self, sql: str, *args: Any, timeout: float | None = None) -> str:
        """As asyncpg's. A text without arguments is one message, which reaches one server unchanged."""
        if args:
            return cast("str", await self._in_transaction(self.driver.execute, sql, *args))
        return cast("str", await self.driver.execute(sql, timeout=timeout))

    async def copy_records_to_table(
        self, table: str, *, records: Sequence[Sequence[Any]], columns: Sequence[str]
    ) -> str:
        """As asyncpg's, inside a transaction."""
        copied = await self.driver.copy_records_to_table(table, records=records, columns=columns)
        return cast("str", copied)

    def transaction(self) -> PooledTransaction:
        """As asyncpg's."""
        return PooledTransaction(self)

    async def _in_transaction(self, run: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        if self.is_in_transaction():
            return await run(*args)
        async with self.transaction():
            return await run(*args)


class PooledTransaction:
    """A transaction of a `PooledConnection`."""

    def __init__(self, connection: PooledConnection) -> None:
        self._connection = connection

    async def start(self) -> None:
        """BEGIN, with the connection's settings."""
        await self._connection.execute(self._connection.begin)

    async def commit(self) -> None:
        """COMMIT."""
        await self._connection.execute("COMMIT")

    async def rollback(self) -> None:
        """ROLLBACK."""
        await self._connection.execute("ROLLBACK")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, failure: object, *_: object) -> None:
        if failure is None:
            await self.commit()
        elif not self._connection.is_closed():
            try:
                await self.rollback()
            except (asyncpg.PostgresError, *GONE):
                self._connection.terminate()  # the first error is the relevant one


@dataclass(frozen=True, slots=True)
class Connector:
    """Opens connections to one database. `statement_timeout_s`: None means no limit."""

    connect_args: dict[str, Any]
    pooler: Pooler = "none"
    max_statements: int = STATEMENTS
    statement_timeout_s: float | None = None
    hosts: Hosts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", Hosts(self.connect_args))

    @property
    def connect_timeout_s(self) -> float:
        """The time limit of a login."""
        return float(self.connect_args.get("timeout", CONNECT_TIMEOUT_S))

    async def open(self, settings: Mapping[str, str], statements: int = STATEMENTS) -> Connection:
        """A new connection with these session settings, which keeps at most `statements` prepared.

        With several hosts it leads to one that has the attributes wanted, see `Hosts`.
        """
        arguments: dict[str, Any] = {"timeout": self.connect_timeout_s}
        if self.pooler == "none":
            given = self.connect_args.get("server_settings", {})
            arguments["server_settings"] = {**settings, **given}
        pooled = self.pooler == "transaction"
        connection = await self.hosts.connect(
            **arguments,
            command_timeout=self.statement_timeout_s,
            statement_cache_size=0 if pooled else min(statements, self.max_statements),
            max_cached_statement_lifetime=0,
        )
        if pooled:
            return PooledConnection(connection, settings)
        if self.pooler == "session" and settings:
            try:
                set_all = "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())
                await connection.execute(set_all)
            except BaseException:
                connection.terminate()
                raise
        return connection


@asynccontextmanager
async def first_connection(
    target: Target, pooler: str = "auto", statement_timeout_s: float | None = None
) -> AsyncIterator[tuple[Connector, Connection]]:
    """A first connection to a database, and the connector for further ones.

    `pooler` is the setting `--postgres-pooler`. Raises UnusableDatabase when that cannot work;
    driver errors pass through.
    """
    arguments = {"timeout": CONNECT_TIMEOUT_S, **target.connect_args}
    connection = await Hosts(arguments).connect(statement_cache_size=0)
    try:
        is_direct = await _is_direct(connection)
        if pooler == "auto":
            pooler = "none" if is_direct and target.max_statements != 0 else "transaction"
        connector = Connector(
            target.connect_args,
            cast("Pooler", pooler),
            STATEMENTS if target.max_statements is None else target.max_statements,
            statement_timeout_s,
        )
        if not is_direct and pooler != "transaction":
            await _check_kept(connection, connector, target.shown)
        yield connector, connection if is_direct else PooledConnection(connection, SESSION)
    except BaseException:
        connection.terminate()
        raise
    await connection.close(timeout=CLOSE_TIMEOUT_S)


async def _is_direct(connection: Connection) -> bool:
    """Whether the server that accepted the connection also runs its statements.

    A pooler invents the process id and key of its greeting, to recognise cancel requests.
    """
    pid = connection.get_server_pid()
    return bool(await connection.execute(f"SELECT 1 WHERE pg_backend_pid() = {pid}") == "SELECT 1")


async def _check_kept(connection: Connection, connector: Connector, shown: str) -> None:
    """Raise UnusableDatabase when a connection does not keep one server, as session pooling requires."""
    # The pooler rejects unsupported parameters here.
    other = await connector.open(SESSION, 0)
    try:
        servers = set()
        for one in (connection, other):
            async with one.transaction():
                servers.add(await one.fetchval("SELECT pg_backend_pid()"))
    finally:
        other.terminate()
    if len(servers) == 1:
        raise UnusableDatabase(
            f"{shown}: a pooler gives each transaction another server, which is incompatible with "
            f"--postgres-pooler {connector.pooler}. Use --postgres-pooler transaction, or omit the option."
        )
