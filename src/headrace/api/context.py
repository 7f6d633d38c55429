"""What a handler may use besides its request: one Context per process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.api.registry.webhooks.delivery import Deliveries
from headrace.api.registry.webhooks.sql import Event
from headrace.api.tracking.runs import sql as runs_sql
from headrace.commit.group import GroupCommit
from headrace.commit.reads import BatchedReads, SharedReads
from headrace.db.base import Database, Row
from headrace.monitor.readiness import Readiness
from headrace.settings.table import Settings
from headrace.storage.locations import Locations

if TYPE_CHECKING:
    from headrace.monitor.monitor import Monitor


class Context:
    """The process's database, the queues in front of it, its artifact stores, settings and figures.

    Only a server has figures and tells webhooks; the Python API runs the same handlers without a `monitor`.
    """

    def __init__(
        self,
        db: Database,
        writer: GroupCommit,
        settings: Settings,
        monitor: Monitor | None = None,
    ) -> None:
        self._monitor = monitor
        self.readiness = Readiness(db)
        self.db = db
        self.writer = writer
        self.settings = settings
        self.artifacts = Locations(settings)
        self._deliveries = Deliveries(db, settings) if monitor is not None else None
        self.shared = SharedReads()
        self.runs: BatchedReads[str, tuple[Row, runs_sql.Logged | None]] = BatchedReads(
            partial(db.read_point, runs_sql.get_many)
        )

    @property
    def monitor(self) -> Monitor:
        """The figures of this server."""
        assert self._monitor is not None, "only a server has figures"
        return self._monitor

    @property
    def deliveries(self) -> Deliveries:
        """What tells webhooks."""
        assert self._deliveries is not None, "only a server tells webhooks"
        return self._deliveries

    def announce(
        self, event: Event | None, data: Mapping[str, Any], prompt_event: Event | None = None
    ) -> None:
        """Tell webhooks, in the background, what has been committed. See `Deliveries.announce`."""
        if self._deliveries is not None:
            self._deliveries.announce(event, data, prompt_event)

    async def close(self) -> None:
        """Finish what runs in the background, then commit what is queued and close the database."""
        if self._deliveries is not None:
            await self._deliveries.close()
        await self.writer.close()
        await self.db.close()
        self.artifacts.close()
