"""Reads on replicas (hot standbys) that are as fresh as reads on the primary.

A read asks the primary for its position in the WAL, waits until the replica has replayed that much,
and reads there. Afterwards it makes sure that everything it may have seen is visible on the primary
too, because a replica can show a transaction before its primary does. So each answer is one that
the primary would have given at some moment between the request and the answer: any client reads
everything that was acknowledged before, whichever server or program wrote it, and no later read
shows less (docs/decisions/replicas.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from headrace.db.errors import Blocked, Crowded, DatabaseError, Demoted, Retryable
from headrace.db.postgres.connection import Connector
from headrace.db.postgres.database import PostgresDatabase
from headrace.db.sql import Sql

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from headrace.db.base import Dialect, Load, Schema, Tx
    from headrace.db.uri import Target

log = logging.getLogger(__name__)
T = TypeVar("T")
# How long a read waits until the replica has replayed what it must show, and until the primary shows
# what the replica has shown. Then the primary answers. A replica on the same network lags by milliseconds.
WAIT_S: Final = 0.1
FIRST_PAUSE_S: Final = 0.001
MAX_PAUSE_S: Final = 0.01
SLOW_S: Final = 10.0  # a read that fails after so long is not repeated
PROBE_S: Final = 1.0
SAMPLES: Final = (
    600  # positions of the primary, one a second, by which the lag of a replica is known
)

# The end of the WAL with all acknowledged transactions (on the primary's disk, unless the role
# acknowledges earlier), its timeline, and the transactions in progress. NULL on a server that is not
# a primary (any more).
_POSITION: Final = Sql(
    postgres="""
    SELECT CASE WHEN pg_is_in_recovery() THEN NULL
                WHEN current_setting('synchronous_commit') = 'off'
                THEN (pg_current_wal_insert_lsn() - '0/0')::bigint
                ELSE (pg_current_wal_flush_lsn() - '0/0')::bigint END,
           CASE WHEN NOT pg_is_in_recovery()
                THEN substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END,
           ARRAY(SELECT txid_snapshot_xip(now)), txid_snapshot_xmax(now)
    FROM txid_current_snapshot() AS now"""
)
# NULL on a server that is no standby, or an engine that does not tell.
_REPLAYED: Final = Sql(
    postgres="""
    SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END"""
)
# The transactions that are committed here, of those that are open on the primary: $1, and all from $2 on.
# An id of the future is an error for txid_status.
_COMMITTED: Final = Sql(
    postgres="""
    WITH own AS MATERIALIZED (SELECT txid_snapshot_xmax(txid_current_snapshot()) AS next)
    SELECT x
    FROM own, LATERAL (SELECT unnest($1::bigint[])
                       UNION ALL SELECT generate_series($2::bigint, own.next - 1)) AS open(x)
    WHERE CASE WHEN x < own.next THEN txid_status(x) = 'committed' END"""
)
_IDENTITY: Final = Sql(
    postgres="SELECT system_identifier, current_database(), current_schemas(false) FROM pg_control_system()"
)


class Position(NamedTuple):
    """The state of the primary: all WAL up to `lsn`, on `timeline`.

    Transactions from `next` on have not ended (or not begun); nor have those in `running`, which are
    older.
    """

    lsn: int
    timeline: str
    running: list[int]
    next: int

    def shows(self, transaction: int) -> bool:
        """Whether a committed transaction is visible."""
        return transaction < self.next and transaction not in self.running


class Behind(Exception):
    """The replica cannot give an answer that is right now. The text says why."""


async def _position(tx: Tx) -> Position:
    row = await tx.fetchrow(_POSITION)
    if row is None or row[0] is None:
        raise Demoted("the primary has become a standby")
    return Position(*row)


async def _replayed(tx: Tx) -> int:
    row = await tx.fetchrow(_REPLAYED)
    if row is None or row[0] is None:
        raise Behind("it is not a standby that tells its position")
    return int(row[0])


async def _identity(tx: Tx) -> tuple[object, ...]:
    return tuple(await tx.fetchrow(_IDENTITY) or ())


async def _wait_for(tx: Tx, lsn: int) -> int:
    """Wait until the replica has replayed the WAL up to `lsn`; return how far it is. Raises `Behind`."""
    give_up = monotonic() + WAIT_S
    pause_s = FIRST_PAUSE_S
    while (replayed := await _replayed(tx)) < lsn:
        if monotonic() > give_up:
            raise Behind(f"it is {lsn - replayed:,} bytes behind the primary")
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, MAX_PAUSE_S)
    return replayed


class _Question:
    """A question to the primary. Callers that come while one is on its way share the next."""

    def __init__(self, ask: Callable[[], Awaitable[Position]]) -> None:
        self._ask = ask
        self._asked: asyncio.Task[Position] | None = None  # on its way, or answered
        self._next: asyncio.Task[Position] | None = None

    async def answer(self) -> Position:
        """The answer to a question that was asked after this call."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._ask_after(self._asked))
            self._next.add_done_callback(_retrieve)
        return await asyncio.shield(self._next)  # the question stays when a caller leaves

    async def _ask_after(self, previous: asyncio.Task[Position] | None) -> Position:
        if previous is not None and not previous.done():
            await asyncio.wait([previous])
        self._asked, self._next = self._next, None
        return await self._ask()


def _retrieve(task: asyncio.Task[Position]) -> None:
    """Mark the exception of a question as seen: its callers may have left."""
    if not task.cancelled():
        task.exception()


class Replica:
    """One replica: its connections, whether reads go to it, how far it is behind, and counts of reads.

    `lag_s` is measured at the primary: the time since it reached a position that the replica has not
    replayed, in steps of PROBE_S. `fallbacks`: reads that the primary had to answer instead.
    """

    def __init__(self, name: str, db: PostgresDatabase) -> None:
        self.name = name
        self.db = db
        self.in_use = False
        self.is_same: bool | None = None  # the database of the primary; None: not known yet
        self.lag_s = 0.0
        self.lag_bytes = 0
        self.reads = 0
        self.fallbacks = 0
        self._reason = ""

    def leave(self, reason: str) -> None:
        """Send it no more reads until a probe succeeds."""
        if self.in_use or not self._reason:
            log.warning("the replica %s is left out: %s", self.name, reason)
        self.in_use, self._reason = False, reason

    def enter(self) -> None:
        """Send it reads."""
        if not self.in_use:
            log.warning("the replica %s answers reads", self.name)
        self.in_use, self._reason = True, ""


def replicas_of(
    target: Target, connector: Connector, schema: Schema, pool_size: int
) -> list[Replica]:
    """The replicas that a URI names: each of its hosts is one. They are reached like the primary."""
    arguments = target.connect_args
    hosts = [*zip(arguments.get("host", [None]), arguments.get("port", [None]), strict=True)]
    found = []
    for host, port in hosts:
        one = dict(arguments) if host is None else {**arguments, "host": [host], "port": [port]}
        most = connector.max_statements if target.max_statements is None else target.max_statements
        own = Connector(one, connector.pooler, most, connector.statement_timeout_s)
        name = "local" if host is None else f"{host}:{port}"
        found.append(Replica(name, PostgresDatabase(own, schema, pool_size=pool_size)))
    return found


class ReplicatedDatabase:
    """A primary, and replicas that answer `read` and `read_by_keys`; see `Database`.

    `read_point` costs as little as asking for the position, so the primary answers it.
    """

    dialect: Dialect = "postgres"

    def __init__(self, primary: PostgresDatabase, replicas: Sequence[Replica]) -> None:
        self.primary = primary
        self.replicas = replicas
        self.schema = primary.schema
        self.write_lanes = primary.write_lanes
        self.row_count = primary.row_count
        self.read_point = primary.read_point
        self.version = primary.version
        self.write = primary.write
        self.write_group = primary.write_group
        self.ping = primary.ping
        self._timeline = ""
        self._question = _Question(self._ask)
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        self._turn = 0
        self._task = asyncio.get_running_loop().create_task(self._probe_always())

    async def _ask(self) -> Position:
        position = await self.primary.read_point(_position)
        if position.timeline != self._timeline:
            if self._timeline:
                # A replica may have received more than the standby that was promoted.
                for replica in self.replicas:
                    replica.leave("the primary has changed")
            self._timeline = position.timeline
            self._samples.clear()
        return position

    async def read(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read`."""
        replica = self._next()
        if replica is not None:
            try:
                return await self._read_from(replica, replica.db.read, fn, args)
            except Behind as reason:
                self._fall_back(replica, reason)
        return await self.primary.read(fn, *args)

    async def read_by_keys(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """See `Database.read_by_keys`."""
        replica = self._next()
        if replica is not None:
            try:
                return await self._read_from(replica, replica.db.read_by_keys, fn, args)
            except Behind as reason:
                self._fall_back(replica, reason)
        return await self.primary.read_by_keys(fn, *args)

    def _next(self) -> Replica | None:
        """The replicas in use take turns."""
        in_use = [replica for replica in self.replicas if replica.in_use]
        if not in_use:
            return None
        self._turn += 1
        return in_use[self._turn % len(in_use)]

    def _fall_back(self, replica: Replica, reason: Behind) -> None:
        replica.fallbacks += 1
        if not isinstance(reason.__cause__, Crowded | Retryable):
            replica.leave(str(reason))

    async def _read_from(
        self,
        replica: Replica,
        read: Callable[..., Awaitable[T]],
        fn: Callable[..., Awaitable[T]],
        args: Any,
    ) -> T:
        """Read from a replica. Raises `Behind` if the primary has to answer."""
        before = await self._question.answer()
        if not replica.in_use:  # the answer came from another primary
            raise Behind("the primary has changed")
        began_s = monotonic()
        try:
            result = await read(self._as_fresh, before, fn, args)
        except DatabaseError as error:
            # The primary would take as long for a statement that has reached its time limit.
            if isinstance(error, Blocked) or monotonic() - began_s > SLOW_S:
                raise
            raise Behind(f"{error.kind}: {error.text}") from error
        replica.reads += 1
        return result

    async def _as_fresh(
        self, tx: Tx, before: Position, fn: Callable[..., Awaitable[T]], args: Any
    ) -> T:
        replayed = await _wait_for(tx, before.lsn)
        try:
            result = await fn(tx, *args)
        except DatabaseError:
            raise
        except Exception:  # an answer as well, such as 404
            await self._until_primary_shows(tx, before, replayed)
            raise
        await self._until_primary_shows(tx, before, replayed)
        return result

    async def _until_primary_shows(self, tx: Tx, before: Position, replayed: int) -> None:
        """Wait until the transactions that a read on the replica has seen are visible on the primary.

        A transaction can only have been seen too early if the primary still has it in progress after
        the read, while the replica has it committed. Raises `Behind`.
        """
        give_up = monotonic() + WAIT_S
        seen: list[int] | None = None
        while True:
            after = await self._question.answer()
            if after.timeline != before.timeline or after.lsn < replayed:
                raise Behind("it has not followed the primary")
            if seen is None:
                found = await tx.fetch(_COMMITTED, after.running, after.next)
                seen = [transaction for (transaction,) in found]
                if not seen:
                    return
            elif all(map(after.shows, seen)):
                return
            if monotonic() > give_up:
                raise Behind("it shows a transaction that its primary has not acknowledged")
            await asyncio.sleep(FIRST_PAUSE_S)

    async def _probe_always(self) -> None:
        while True:
            await asyncio.gather(*(self._probe(replica) for replica in self.replicas))
            await asyncio.sleep(PROBE_S)

    async def _probe(self, replica: Replica) -> None:
        """Measure the lag of a replica; use it if it follows its primary closely enough."""
        try:
            replayed = await replica.db.read_point(_replayed)
            try:
                position = await self._question.answer()
            except DatabaseError as error:  # without the primary there are no reads anyway
                log.debug("the primary does not tell its position: %s", error.kind)
                return
            self._measure(replica, replayed, position)
            if replayed > position.lsn:
                raise Behind("it has not followed the primary")
            if not replica.in_use:
                await self._check_identity(replica)
            replayed = await replica.db.read_point(_wait_for, position.lsn)
            self._measure(replica, replayed, position)
        except DatabaseError as error:
            replica.leave(f"{error.kind}: {error.text}")
        except Behind as reason:
            replica.leave(str(reason))
        else:
            replica.enter()

    def _measure(self, replica: Replica, replayed: int, position: Position) -> None:
        now = monotonic()
        if not self._samples or self._samples[-1][1] < position.lsn:
            self._samples.append((now, position.lsn))
        missing = next((since for since, lsn in self._samples if lsn > replayed), now)
        replica.lag_s = now - missing
        replica.lag_bytes = max(0, position.lsn - replayed)

    async def _check_identity(self, replica: Replica) -> None:
        """Raise `Behind` if the replica has another database than the primary."""
        try:
            theirs, ours = (
                await replica.db.read_point(_identity),
                await self.primary.read_point(_identity),
            )
        except DatabaseError as error:  # an engine or a role that cannot tell
            log.debug("the identity of a replica is unknown: %s", error.kind)
            return
        if theirs != ours:
            raise Behind("it is a replica of another database, or finds other tables")

    def load(self) -> Mapping[str, Load]:
        """See `Database.load`. The replicas' connections count as `read` ones."""
        loads = {**self.primary.load()}
        reads = [loads["read"], *(load for r in self.replicas for load in r.db.load().values())]
        in_use, idle, waiting, size = (sum(figures) for figures in zip(*reads, strict=True))
        return {**loads, "read": (in_use, idle, waiting, size)}

    async def close(self) -> None:
        """See `Database.close`."""
        self._task.cancel()
        await asyncio.wait([self._task])
        for replica in self.replicas:
            await replica.db.close()
        await self.primary.close()
