"""Finds the status of a transaction whose COMMIT got no answer, by the transaction's id.

After a crash that loses an unwritten transaction, the next one may get the same id. So "committed"
is trusted only when the server has not crashed since: its start time is the same, and so is at
least one of the processes that serve no client (checkpointer, WAL writer …). After the recovery
from a crash all of them are new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterable

Status = Literal["committed", "aborted", "in progress", "unknown"]

_HAS_STATUS: Final = "SELECT to_regprocedure('txid_status(bigint)') IS NOT NULL"
# A client that is logging in has no database and no user yet either; one more in the list is
# harmless.
_SERVER_RUN: Final = (
    "SELECT pg_postmaster_start_time()::text,"
    " ARRAY(SELECT pid FROM pg_stat_activity WHERE datid IS NULL AND usesysid IS NULL)"
)
_ID: Final = "SELECT txid_current_if_assigned()"
# A standby does not know yet which transactions its primary has committed.
_STATUS: Final = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN txid_status($1) END"


class ServerRun:
    """The operation of the server between two crashes or restarts."""

    __slots__ = ("_processes", "_started")

    def __init__(self, started: str, processes: Iterable[int]) -> None:
        self._started = started
        self._processes = frozenset(processes)

    def is_same(self, later: ServerRun | None) -> bool:
        """Whether the server has run without a crash until `later`."""
        return (
            later is not None
            and self._started == later._started
            and not self._processes.isdisjoint(later._processes)
        )


class Mark:
    """A transaction before its COMMIT: its id (None: it wrote nothing), and the run of the server."""

    __slots__ = ("server_run", "txid")

    def __init__(self, txid: int | None, server_run: ServerRun) -> None:
        self.txid = txid
        self.server_run = server_run


async def server_run(connection: Any) -> ServerRun | None:
    """The current run of the server.

    None for an engine with PostgreSQL's protocol that cannot report the status of a transaction. Do
    not call it inside a transaction: an unknown function would abort that.
    """
    try:
        if not await connection.fetchval(_HAS_STATUS):
            return None
        started, processes = await connection.fetchrow(_SERVER_RUN)
    except (asyncpg.SyntaxOrAccessError, asyncpg.FeatureNotSupportedError):
        return None
    return ServerRun(started, processes)


async def mark(connection: Any, run: ServerRun) -> Mark:
    """The mark of the open transaction of a connection."""
    return Mark(await connection.fetchval(_ID), run)


async def status_of(connection: Any, mark: Mark) -> Status:
    """The status of a marked transaction, asked on another connection."""
    try:
        status: Status | None = await connection.fetchval(_STATUS, mark.txid)
    # An id of the future: a server that never saw the transaction has taken over.
    except asyncpg.DataError:
        return "aborted"
    if status == "aborted":
        return status
    if status is None or not mark.server_run.is_same(await server_run(connection)):
        return "unknown"
    return status
