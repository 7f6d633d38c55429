"""A COMMIT without an answer: headrace asks PostgreSQL for its outcome before it answers a client."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from tests.fix_postgres import with_database

from headrace.api.tracking.runs import batch, create
from headrace.api.tracking.runs.types import CreateRun, MetricIn
from headrace.commit.group import GroupCommit
from headrace.contract.errors import ApiError, invalid
from headrace.db import uri as uris
from headrace.db.errors import DatabaseError, InDoubt
from headrace.db.postgres import commit_status, endings
from headrace.db.postgres import database as postgres_database
from headrace.db.postgres.connection import Connector
from headrace.db.postgres.database import PostgresDatabase
from headrace.db.schema.postgres import prepare
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fix_postgres import PostgresServer

    from headrace.db.base import Tx

INSERT = Sql("INSERT INTO experiments (name, lifecycle_stage) VALUES ($1, 'active')")
WAITS_FOR_STANDBY = "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $1"
BACKEND = Sql("SELECT pg_backend_pid()")
IMPATIENT_S = 0.5


@asynccontextmanager
async def database(uri: str, statement_timeout_s: float = 60.0) -> AsyncIterator[PostgresDatabase]:
    """The database of a URI, with MLflow's schema."""
    connection = await asyncpg.connect(uri)
    try:
        schema = await prepare(connection, uri, "mlflow-artifacts:/0")
    finally:
        await connection.close()
    connector = Connector(uris.parse(uri).connect_args, statement_timeout_s=statement_timeout_s)
    made = PostgresDatabase(connector, schema)
    try:
        yield made
    finally:
        await made.close()


async def count(uri: str, table: str) -> int:
    """The number of rows of a table, counted without headrace."""
    connection = await asyncpg.connect(uri)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


async def administer(uri: str, *statements: str) -> None:
    """Run statements as the administrator."""
    connection = await asyncpg.connect(uri)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def lose_standby(uri: str) -> None:
    """Demand a standby that does not exist; returns when commits wait for it.

    PostgreSQL's processes read the setting at different moments, so a commit is tried until it waits.
    """
    await administer(
        uri, "ALTER SYSTEM SET synchronous_standby_names = 'gone'", "SELECT pg_reload_conf()"
    )
    watch = await asyncpg.connect(uri)
    try:
        while True:
            probe = await asyncpg.connect(uri)
            write = asyncio.create_task(
                probe.execute("SELECT pg_logical_emit_message(true, 'probe', '')")
            )
            while not write.done():
                if await watch.fetchval(WAITS_FOR_STANDBY, probe.get_server_pid()):
                    probe.terminate()
                    await asyncio.gather(write, return_exceptions=True)
                    return
                await asyncio.sleep(0.01)
            await write
            await probe.close()
    finally:
        await watch.close()


async def test_a_commit_that_waits_for_a_lost_standby_is_acknowledged_once(
    own_postgres: PostgresServer,
) -> None:
    """A cancelled wait commits without the standby: one experiment and one run, both acknowledged."""
    async with database(own_postgres.uri, IMPATIENT_S) as db:
        writer = GroupCommit(db)
        await lose_standby(own_postgres.uri)

        async def insert(tx: Tx) -> str:
            await tx.execute(INSERT, "once")
            return "written"

        new = create.NewRun(CreateRun(experiment_id="0", run_name="once"))
        made = asyncio.gather(db.write(insert), writer.submit(create.KIND, new))
        await asyncio.sleep(3 * IMPATIENT_S)
        await administer(
            own_postgres.uri,
            "ALTER SYSTEM RESET synchronous_standby_names",
            "SELECT pg_reload_conf()",
        )
        assert await asyncio.wait_for(made, 30) == ["written", None]
        await writer.close()
    assert await count(own_postgres.uri, "runs") == 1
    assert await count(own_postgres.uri, "experiments WHERE name = 'once'") == 1


async def test_a_standby_that_stays_away_delays_a_write_once(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both writes are acknowledged while it is away: they are not tried again, which would wait as long again."""
    monkeypatch.setattr(endings, "COMMIT_S", IMPATIENT_S)
    commits: list[Any] = []
    timer = postgres_database.CommitTimer

    def counted(connection: Any) -> Any:
        commits.append(connection)
        return timer(connection)

    monkeypatch.setattr(postgres_database, "CommitTimer", counted)
    async with database(own_postgres.uri) as db:
        writer = GroupCommit(db)
        await administer(
            own_postgres.uri,
            "ALTER SYSTEM SET synchronous_standby_names = 'gone'",
            "SELECT pg_reload_conf()",
        )
        await asyncio.sleep(0.2)

        async def insert(tx: Tx) -> str:
            await tx.execute(INSERT, "once")
            return "written"

        new = create.NewRun(CreateRun(experiment_id="0", run_name="once"))
        made = [db.write(insert), writer.submit(create.KIND, new)]
        assert await asyncio.wait_for(asyncio.gather(*made), 30) == ["written", None]
        assert len(commits) == 2
        point = batch.from_parts(new.run_id, [MetricIn("m", 1.0, 1, 1)], [], [])  # one statement
        assert await asyncio.wait_for(writer.submit(batch.KIND, point), 30) is None
        assert len(commits) == 3
        assert await db.read(lambda tx: tx.fetch(Sql("SELECT count(*) FROM runs"))) == [(1,)]
        await administer(
            own_postgres.uri,
            "ALTER SYSTEM RESET synchronous_standby_names",
            "SELECT pg_reload_conf()",
        )
        await writer.close()


@pytest.fixture
async def other(postgres_uri: str) -> AsyncIterator[asyncpg.Connection]:
    """A second connection, besides that of the transaction."""
    connection = await asyncpg.connect(postgres_uri)
    yield connection
    await connection.close()


async def marked(
    connection: asyncpg.Connection, run: commit_status.ServerRun, name: str
) -> commit_status.Mark:
    """Begin a transaction that inserts an experiment; its mark."""
    await connection.execute("BEGIN")
    await connection.execute(INSERT.postgres, name)
    return await commit_status.mark(connection, run)


async def test_the_fate_of_a_transaction(postgres_uri: str, other: asyncpg.Connection) -> None:
    connection = await asyncpg.connect(postgres_uri)
    run = await commit_status.server_run(connection)
    assert run is not None
    assert run.is_same(await commit_status.server_run(other))
    for end, status in (("COMMIT", "committed"), ("ROLLBACK", "aborted")):
        mark = await marked(connection, run, end)
        assert await commit_status.status_of(other, mark) == "in progress"
        await connection.execute(end)
        assert await commit_status.status_of(other, mark) == status
    mark = await marked(connection, run, "lost")
    connection.terminate()
    while (status := await commit_status.status_of(other, mark)) == "in progress":
        await asyncio.sleep(0.01)
    assert status == "aborted"
    far = commit_status.Mark((mark.txid or 0) + 1_000_000, run)
    assert await commit_status.status_of(other, far) == "aborted"


async def test_a_transaction_that_wrote_nothing_has_no_id(other: asyncpg.Connection) -> None:
    await other.execute("BEGIN")
    assert (await commit_status.mark(other, commit_status.ServerRun("", []))).txid is None
    await other.execute("ROLLBACK")


@pytest.mark.skipif(sys.platform != "linux", reason="finds backends in /proc")
async def test_after_a_crash_an_id_proves_no_commit(own_postgres: PostgresServer) -> None:
    """After a crash the id may belong to another transaction. That nothing was written is still certain."""
    uri = own_postgres.uri
    async with database(uri):
        first = await asyncpg.connect(uri)
        run = await commit_status.server_run(first)
        assert run is not None
        written = await marked(first, run, "written")
        await first.execute("COMMIT")
        open_ = await marked(first, run, "open")
        os.kill(await first.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
        first.terminate()
        after = await _connected(uri)
        try:
            assert await commit_status.status_of(after, written) == "unknown"
            assert await commit_status.status_of(after, open_) in ("aborted", "unknown")
        finally:
            await after.close()


async def _connected(uri: str) -> asyncpg.Connection:
    """A connection, once the server has recovered."""
    while True:
        try:
            return await asyncpg.connect(uri)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.05)


async def test_without_transaction_status_the_outcome_is_unknown(
    postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on engines that have no function for the status of a transaction."""
    monkeypatch.setattr(commit_status, "_HAS_STATUS", "SELECT to_regprocedure('none(int)')")
    async with database(postgres_uri) as db:
        connection = await asyncpg.connect(postgres_uri)
        monkeypatch.setattr(commit_status, "_HAS_STATUS", "SELECT none()")
        assert await commit_status.server_run(connection) is None
        await connection.close()
        assert await db._status_of(None) == "unknown"


async def test_a_rollback_that_fails_does_not_hide_why(postgres_uri: str) -> None:
    """The connection breaks before the rollback; the next transaction uses a new one."""
    async with database(postgres_uri) as db:

        async def refuse(tx: Tx) -> None:
            (row,) = await tx.fetch(BACKEND)
            await administer(postgres_uri, f"SELECT pg_terminate_backend({row[0]}, 5000)")
            raise invalid("the reason")

        with pytest.raises(ApiError, match="the reason"):
            await db.write(refuse)

        async def insert(tx: Tx) -> int:
            return await tx.execute(INSERT, "afterwards")

        assert await db.write(insert) == 1


async def test_a_commit_that_rolls_back_is_no_success(postgres_uri: str) -> None:
    """A function that ignores the error of a statement has aborted its transaction."""
    async with database(postgres_uri) as db:

        async def swallow(tx: Tx) -> None:
            await tx.execute(INSERT, "twice")
            try:
                await tx.execute(INSERT, "twice")
            except Exception:  # noqa: BLE001 what no transaction function may do
                return

        with pytest.raises(DatabaseError, match="not committed"):
            await db.write_group(swallow, lock_s=1)
        with pytest.raises(DatabaseError, match="aborted"):
            await db.write(swallow)
    assert await count(postgres_uri, "experiments WHERE name = 'twice'") == 0


async def test_a_doubt_says_why(own_postgres: PostgresServer) -> None:
    """The driver's TimeoutError has no text of its own."""
    uri = with_database(own_postgres.uri, "postgres")
    async with database(uri, IMPATIENT_S) as db:
        await lose_standby(uri)

        async def insert(tx: Tx, *_: Any) -> int:
            return await tx.execute(INSERT, "doubtful")

        with pytest.raises(InDoubt, match="did not answer in time"):
            await db.write_group(insert, lock_s=0.5)
