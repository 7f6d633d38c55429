"""headrace's indexes on PostgreSQL, created while servers read and write.

CREATE INDEX CONCURRENTLY reads the table twice and waits for older transactions. If it is
interrupted, an index is left that is not valid: searches do not use it, but writes maintain it. Such
an index is dropped, unless another process is just creating it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from headrace.db.postgres.connection import PooledConnection
from headrace.db.schema import indexes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.db.base import Schema
    from headrace.db.postgres.connection import Connector
    from headrace.db.schema.indexes import Index

    Progress = Callable[[int, int, str], None]

log = logging.getLogger(__name__)
POLL_S: Final = 0.2
START_LOCK_S: Final = 30  # for other sessions' transactions, at the start of a server
DROP_S: Final = 2  # for the part of an index, after an error or a signal
PARTS: Final = 1000  # of a progress bar
# (is valid, a process is creating it)
_STATE: Final = """
    SELECT x.indisvalid, EXISTS (
        SELECT FROM pg_stat_progress_create_index AS p
        WHERE p.datname = current_database() AND p.relid = x.indrelid AND p.index_relid IN (0, x.indexrelid))
    FROM pg_index AS x WHERE x.indexrelid = to_regclass($1)"""
_SIZE: Final = "SELECT pg_size_pretty(pg_relation_size(to_regclass($1)))"
_PROGRESS: Final = """
    SELECT phase, blocks_done, blocks_total, tuples_done, tuples_total, lockers_done, lockers_total,
           current_locker_pid
    FROM pg_stat_progress_create_index
    WHERE datname = current_database() AND index_relid = to_regclass($1)"""
_CANCEL: Final = """
    SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index
    WHERE datname = current_database() AND index_relid = to_regclass($1)"""
_EXTENSION: Final = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
# The share of the whole work at which a phase begins and ends.
PHASES: Final = {
    "building index: scanning table": (0.02, 0.40),
    "building index: sorting live tuples": (0.40, 0.45),
    "building index: loading tuples in tree": (0.45, 0.60),
    "waiting for writers before validation": (0.60, 0.62),
    "index validation: scanning index": (0.62, 0.70),
    "index validation: sorting tuples": (0.70, 0.72),
    "index validation: scanning table": (0.72, 0.98),
    "waiting for old snapshots": (0.98, 1.0),
}


async def create(
    connector: Connector, connection: Any, wanted: Iterable[Index], progress: Progress
) -> list[str]:
    """Create the indexes that do not exist; return lines for people.

    `connection` is in no transaction. `progress`: done and total of one index, and what it does.
    """
    chosen = list(wanted)
    await _set(connection, "statement_timeout = 0")  # a role may have one
    if indexes.TRACE_TEXT in chosen:
        await connection.execute(_EXTENSION)
    lines = [await _create(connector, connection, index, progress) for index in chosen]
    if not set(chosen) <= set(indexes.TUNED):
        # Indexes of expressions have statistics of their own.
        await connection.execute("ANALYZE trace_tags, trace_request_metadata, spans")
    return lines


async def drop(connection: Any) -> list[str]:
    """Drop every index of headrace; return lines for people."""
    lines = []
    await _set(connection, "statement_timeout = 0")
    for index in indexes.ALL:
        if await connection.fetchrow(_STATE, index.name) is not None:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
            lines.append(f"dropped: {index.name}")
    return lines


async def at_start(connector: Connector, connection: Any, schema: Schema) -> None:
    """Create the missing indexes before a server starts; a server works without them too."""
    wanted = indexes.missing(schema, "postgres")
    await _set(connection, f"lock_timeout = '{START_LOCK_S}s'")
    try:
        lines = await create(connector, connection, wanted, lambda done, total, text: None)
    except asyncpg.PostgresConnectionError:
        raise
    except asyncpg.PostgresError as error:
        log.warning("--tune could not make the indexes (%s); try: headrace db tune", error)
    else:
        for line in lines:
            log.info("--tune %s", line)


async def _set(connection: Any, setting: str) -> None:
    # Behind a transaction pooler, the setting would belong to another client's transaction.
    if not isinstance(connection, PooledConnection):
        await connection.execute(f"SET {setting}")


async def _create(connector: Connector, connection: Any, index: Index, progress: Progress) -> str:
    state = await connection.fetchrow(_STATE, index.name)
    while state is not None and state[1]:
        progress(0, PARTS, f"{index.name}: another process is creating it")
        await asyncio.sleep(POLL_S)
        state = await connection.fetchrow(_STATE, index.name)
    if state is not None and state[0]:
        return f"exists: {index.name}, for {index.use}"
    if state is not None:
        progress(0, PARTS, f"{index.name}: dropping what an interrupted run left")
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
    started_s = perf_counter()
    text = f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index.name} ON {index.postgres}"
    try:
        await _watched(connector, connection, text, index.name, progress)
    except (asyncpg.PostgresError, asyncio.CancelledError):
        # If another transaction keeps the index in use, the next run drops it.
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            drop = f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"
            await connection.execute(drop, timeout=DROP_S)
        raise
    size = await connection.fetchval(_SIZE, index.name)
    return f"made: {index.name}, for {index.use} ({perf_counter() - started_s:.1f} s, {size})"


async def _watched(
    connector: Connector, connection: Any, statement: str, name: str, progress: Progress
) -> None:
    """Run the statement, and report its progress from another connection."""
    view = await connector.open({}, 0)
    running = asyncio.ensure_future(connection.execute(statement))
    try:
        while not running.done():
            row = await view.fetchrow(_PROGRESS, name)
            if row is not None:
                share, text = describe(*row)
                progress(int(PARTS * share), PARTS, f"{name}: {text}")
            await asyncio.wait({running}, timeout=POLL_S)
        await running
    except asyncio.CancelledError:
        # PostgreSQL would continue without its client until the index is complete. `view` may have been
        # interrupted too, and the process reports its index a moment after the index is visible.
        view.terminate()
        view = await connector.open({}, 0)
        while not running.done():
            await view.execute(_CANCEL, name)
            await asyncio.wait({running}, timeout=POLL_S)
        with suppress(asyncpg.PostgresError):
            await running
        raise
    finally:
        running.cancel()
        view.terminate()


def describe(
    phase: str,
    blocks_done: int,
    blocks: int,
    tuples_done: int,
    tuples: int,
    waited: int,
    waits: int,
    locker: int,
) -> tuple[float, str]:
    """The share of the work that is done, and the phase for people."""
    first, last = PHASES.get(phase, (0.0, 0.02))
    done, total = max(
        ((blocks_done, blocks), (tuples_done, tuples), (waited, waits)), key=lambda pair: pair[1]
    )
    share = first + (last - first) * (done / total if total else 0.0)
    return share, f"{phase} (process {locker})" if locker else phase
