"""What became of a transaction whose COMMIT got no answer: PostgreSQL knows it by the transaction's id.

A crash may lose the id before anything of it reached the disk, and the next transaction then gets the same id. So
a commit counts only when the server has not crashed since: its start time is the same, and so is a process of those
that serve no client (checkpointer, WAL writer …). All of them are new after a recovery from a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterable

Status = Literal["committed", "aborted", "in progress", "unknown"]

_HAS_STATUS: Final = "SELECT to_regprocedure('txid_status(bigint)') IS NOT NULL"
# A client that is just logging in has no database and no user yet either: it does no harm among the others.
_SERVER_RUN: Final = (
    "SELECT pg_postmaster_start_time()::text,"
    " ARRAY(SELECT pid FROM pg_stat_activity WHERE datid IS NULL AND usesysid IS NULL)"
)
_ID: Final = "SELECT txid_current_if_assigned()"
# A standby does not know yet what its primary has committed.
_STATUS: Final = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN txid_status($1) END"


class ServerRun:
    """A life of the server between two crashes or restarts."""

    __slots__ = ("_processes", "_started")

    def __init__(self, started: str, processes: Iterable[int]) -> None:
        self._started = started
        self._processes = frozenset(processes)

    def is_same(self, later: ServerRun | None) -> bool:
        """Whether the server has gone on without a crash until `later`."""
        return (
            later is not None
            and self._started == later._started
            and not self._processes.isdisjoint(later._processes)
        )


class Mark:
    """A transaction that is about to COMMIT: its id (None: it wrote nothing), and the run of the server."""

    __slots__ = ("server_run", "txid")

    def __init__(self, txid: int | None, server_run: ServerRun) -> None:
        self.txid = txid
        self.server_run = server_run


async def server_run(connection: Any) -> ServerRun | None:
    """The present run of the server.

    None for an engine that speaks PostgreSQL's protocol and does not know what became of a transaction. Not to be
    called inside a transaction: an unknown function would abort it.
    """
    try:
        if not await connection.fetchval(_HAS_STATUS):
            return None
        started, processes = await connection.fetchrow(_SERVER_RUN)
    except (asyncpg.SyntaxOrAccessError, asyncpg.FeatureNotSupportedError):
        return None
    return ServerRun(started, processes)


async def mark(connection: Any, run: ServerRun) -> Mark:
    """The mark of the transaction that is open on a connection."""
    return Mark(await connection.fetchval(_ID), run)


async def status_of(connection: Any, mark: Mark) -> Status:
    """What became of a marked transaction, asked on another connection."""
    try:
        status: Status | None = await connection.fetchval(_STATUS, mark.txid)
    except (
        asyncpg.DataError
    ):  # an id of the future: a server that never saw the transaction has taken over
        return "aborted"
    if status == "aborted":
        return status
    if status is None or not mark.server_run.is_same(await server_run(connection)):
        return "unknown"
    return status
