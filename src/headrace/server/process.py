"""One process that serves requests on a listening socket until a signal stops it."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, cast

from headrace.db.schema.facts import Facts, UnusableDatabase
from headrace.http import limits
from headrace.http.app import create_app, open_databases
from headrace.http.server import Server
from headrace.server.listening import CannotStart
from headrace.server.notify import STOPPING, notify
from headrace.settings.kinds import SettingError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from headrace.bridge.shared_state import SharedStates
    from headrace.db.schema.auth import AuthFacts
    from headrace.http.app import App
    from headrace.monitor.counter_table import CounterTable
    from headrace.settings.table import Settings

T = TypeVar("T")
log = logging.getLogger(__name__)
# As long as stock MLflow waits for a database that starts at the same time.
START_TIMEOUT_S: Final = 100.0
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0
# New objects between two runs of the cycle collector. A group of 10,000 points creates more tuples than that, none of
# them in a cycle. At Python's default of 700 the collector took 17 % of the server's time (log-batch of 500 points).
NEW_OBJECTS_PER_COLLECTION: Final = 50_000
M_MMAP_THRESHOLD: Final = -3  # of glibc's malloc.h
LARGE_BLOCK_BYTES: Final = 1 << 20


def run(
    settings: Settings,
    sock: socket.socket,
    ready: Callable[[Facts | None], None],
    supervisor_fd: int | None = None,
    bridge_state: SharedStates | None = None,
    counters: CounterTable | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; return 0 if every request was finished.

    Calls `ready` with the facts about the database when the server accepts requests. Without a
    supervisor, a second signal ends the process immediately. With one, whose end makes
    `supervisor_fd` readable, SIGTERM only ever starts the drain, because it may arrive twice. When the
    drain timeout ends, the process exits with code 1. Raises CannotStart.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, sock, ready, supervisor_fd, bridge_state, counters))
    return 0


async def check_database(settings: Settings) -> Facts | None:
    """Open and close the databases; return the facts about the tracking database.

    In a server with users this makes the first admin. Raises CannotStart.
    """
    if settings.artifacts_only and settings.auth is None:
        return None
    db, accounts = await _retry_start(lambda: open_databases(settings, bootstrap=True))
    await db.close()
    if accounts is not None:
        await accounts.close()
        warn(accounts.facts)
    if settings.artifacts_only:
        return None
    found = cast("Facts", db.schema)
    warn(found)
    return found


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve(
    settings: Settings,
    sock: socket.socket,
    ready: Callable[[Facts | None], None],
    supervisor_fd: int | None,
    bridge_state: SharedStates | None,
    counters: CounterTable | None,
) -> None:
    stop = asyncio.Event()
    app = create_app(settings, bridge_state, counters)
    # Before the supervisor forked, it has made the admin.
    await _retry_start(lambda: app.start(bootstrap=supervisor_fd is None))
    try:
        server = Server(
            app,
            limits.Limits(
                body_bytes=settings.max_body_bytes,
                keep_alive_s=settings.keep_alive_timeout_s,
                in_flight=settings.max_requests_in_flight,
                max_connections=min(limits.MOST_CONNECTIONS, limits.connections()),
            ),
        )
        app.monitor.watch_server = lambda: (server.in_flight, len(server.connections))
        await server.listen(sock)
        _stop_on_signal(stop, supervisor_fd)
        found = facts(app)
        if supervisor_fd is None:
            warn(found)
            warn(app.context.user_facts)
        ready(found)
        _tune_collector()
        _return_large_blocks()
        await stop.wait()
        log.info("draining: %d requests in progress", server.in_flight)
        notify(STOPPING)
        if not await server.drain(settings.drain_timeout_s):
            log.error("the drain timed out: %d requests are cut off", server.in_flight)
            _exit(1)  # closing the database would wait for writes that no client waits for
    finally:
        await app.stop()


def _tune_collector() -> None:
    """Run the cycle collector less often, and exclude the objects of the start from it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS_PER_COLLECTION)


def _return_large_blocks() -> None:
    """Have glibc give every large block back to the system when it is freed.

    By default it raises its threshold to the largest block that was freed; then bodies that grow to megabytes leave
    holes between each other, and 224 MiB of them took 331 MiB.
    """
    if sys.platform == "linux":
        allocator = ctypes.CDLL(None)
        if hasattr(allocator, "mallopt"):  # musl has none
            allocator.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def warn(found: Facts | AuthFacts | None) -> None:
    """Log the warnings about a database."""
    for warning in found.warnings if found else ():
        log.warning("%s", warning)


def facts(app: App) -> Facts | None:
    """Return the facts about the database of a started application, or None without a database."""
    return None if app.settings.artifacts_only else cast("Facts", app.context.db.schema)


async def _retry_start(start: Callable[[], Awaitable[T]]) -> T:
    """Call `start`, and again while the database may still be starting; return its result.

    Raises CannotStart.
    """
    deadline = monotonic() + START_TIMEOUT_S
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await start()
        except SettingError as exc:
            raise CannotStart(str(exc)) from exc
        except UnusableDatabase as exc:
            if not exc.transient or monotonic() + pause_s > deadline:
                raise CannotStart(str(exc)) from exc
            log.warning(
                "%s Retrying in %.1f s, for another %.0f s.", exc, pause_s, deadline - monotonic()
            )
            await asyncio.sleep(pause_s)
            pause_s = min(MAX_PAUSE_S, 2 * pause_s)


def _stop_on_signal(stop: asyncio.Event, supervisor_fd: int | None) -> None:
    loop = asyncio.get_running_loop()

    def stop_or_exit(number: int) -> None:
        if stop.is_set():
            log.warning("second signal: exiting immediately")
            _exit(128 + number)
        stop.set()

    def supervisor_ended(fd: int) -> None:
        loop.remove_reader(fd)
        log.error("the supervisor has ended: draining")
        stop.set()

    if supervisor_fd is None:
        loop.add_signal_handler(signal.SIGINT, stop_or_exit, signal.SIGINT)
        loop.add_signal_handler(signal.SIGTERM, stop_or_exit, signal.SIGTERM)
    else:
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_reader(supervisor_fd, supervisor_ended, supervisor_fd)


def _exit(code: int) -> NoReturn:
    logging.shutdown()
    os._exit(code)
