"""What `headrace server` does, in order: take the port, open the database, answer requests.

One process answers by itself; several run under a supervisor.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.commands import banner
from headrace.server import listening, logs, process
from headrace.settings import defaults as stores

if TYPE_CHECKING:
    from headrace.db.schema.facts import Facts
    from headrace.server.supervisor import Link
    from headrace.settings.table import Settings


def serve(settings: Settings) -> int:
    """Serve until told to stop; returns the exit code. Raises CannotStart."""
    logs.configure(settings.log_level, settings.log_format)
    sock = listening.listen(settings.host, settings.port)
    url = listening.url(sock, settings.host, settings.static_prefix)
    count = processes(settings)

    def announce(facts: Facts | None) -> None:
        banner.announce(settings, url, facts, count, age_s())

    if count == 1:
        return process.run(settings, sock, announce)
    from headrace.api.modes import served
    from headrace.api.routes import ROUTES
    from headrace.bridge.shared_state import SharedStates
    from headrace.monitor.monitor import board_for, layout_of
    from headrace.server.supervisor import Supervisor

    # Before the fork: the workers share what this imports, and a database that cannot be served
    # is said once.
    facts = asyncio.run(process.look(settings))
    bridge_state = SharedStates()
    board = board_for(settings, layout_of(served(ROUTES, settings)), count)

    def work(link: Link) -> int:
        return process.run(
            settings, sock, lambda _: link.ready(), link.alive_fd, bridge_state, board
        )

    return Supervisor(
        sock,
        count,
        work,
        drain_timeout_s=settings.drain_timeout_s,
        on_ready=lambda: announce(facts),
    ).run()


def processes(settings: Settings) -> int:
    """How many processes answer. A SQLite file has one writer, so one process."""
    if sys.platform == "win32":
        return 1
    if not settings.artifacts_only and stores.dialect_of(settings.backend_store_uri) == "sqlite":
        return 1
    return settings.workers


def age_s() -> float | None:
    """Seconds since this process began, the interpreter included; None where unknown."""
    try:
        started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return None
