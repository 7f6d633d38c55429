"""The start of `headrace server`: bind the port, open the database, serve requests.

One process serves alone; several run under a supervisor.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.api.enabled import served
from headrace.api.routes import routes_of
from headrace.commands import banner, start_checks
from headrace.monitor.monitor import counter_table_for, layout_of
from headrace.server import listening, logs, process
from headrace.server.notify import READY, notify
from headrace.server.supervisor import Supervisor
from headrace.settings.defaults import dialect_of

if TYPE_CHECKING:
    from headrace.db.schema.facts import Facts
    from headrace.server.supervisor import Link
    from headrace.settings.table import Settings


def serve(settings: Settings) -> int:
    """Serve until a signal stops the server; return the exit code. Raises CannotStart."""
    logs.configure(settings.log_level, settings.log_format)
    start_checks.check(settings)
    sock = listening.listen(settings.host, settings.port)
    url = listening.url(sock, settings.host, settings.static_prefix)
    count = processes(settings)

    def announce(facts: Facts | None) -> None:
        banner.announce(settings, url, facts, count, age_s())
        notify(READY)

    if count == 1:
        return process.run(settings, sock, announce)
    # Imported here: it needs fcntl, which Windows does not have.
    from headrace.bridge.shared_state import SharedStates

    # Before the fork, so that the workers share the imported modules and an unusable database is
    # reported once.
    facts = asyncio.run(process.check_database(settings))
    bridge_state = SharedStates()
    counters = counter_table_for(settings, layout_of(served(routes_of(settings), settings)), count)

    def work(link: Link) -> int:
        return process.run(
            settings, sock, lambda _: link.ready(), link.alive_fd, bridge_state, counters
        )

    return Supervisor(
        sock,
        count,
        work,
        drain_timeout_s=settings.drain_timeout_s,
        on_ready=lambda: announce(facts),
    ).run()


def processes(settings: Settings) -> int:
    """Return the number of server processes. A SQLite file has one writer, and so one process."""
    if sys.platform == "win32":
        return 1
    if not settings.artifacts_only and dialect_of(settings.backend_store_uri) == "sqlite":
        return 1
    return settings.workers


def age_s() -> float | None:
    """Return the seconds since this process started, or None where the platform does not say."""
    try:
        started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return None
