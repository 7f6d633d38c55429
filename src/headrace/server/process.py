"""One process that answers requests on a listening socket until it is told to drain."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar, cast

from headrace.db.open import open_database
from headrace.db.schema.facts import Facts, UnusableDatabase
from headrace.http import limits
from headrace.http.app import create_app
from headrace.http.server import Server
from headrace.server.listening import CannotStart

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from headrace.bridge.shared_state import SharedStates
    from headrace.http.app import App
    from headrace.monitor.board import Board
    from headrace.settings.table import Settings

T = TypeVar("T")
log = logging.getLogger(__name__)
# As long as stock MLflow tries: a database that starts beside us is waited for.
PATIENCE_S: Final = 100.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
# New objects between two looks of the cycle collector. A group of 10,000 points makes more than that many tuples, none
# of them in a cycle: at Python's default, 700, looking at them was 17 % of the server's time (log-batch of 500).
NEW_OBJECTS_PER_COLLECTION: Final = 50_000


def run(
    settings: Settings,
    sock: socket.socket,
    ready: Callable[[Facts | None], None],
    supervisor_fd: int | None = None,
    bridge_state: SharedStates | None = None,
    board: Board | None = None,
) -> int:
    """Answer until a signal says stop; returns 0 when every request was finished.

    `ready` is called with what the database is, once requests are answered. Under a supervisor,
    whose end makes `supervisor_fd` readable, a signal may come twice and never means more than
    "drain"; alone, a second one ends the process at once. So does the end of the drain timeout:
    exit code 1. Raises CannotStart.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_answer(settings, sock, ready, supervisor_fd, bridge_state, board))
    return 0


async def look(settings: Settings) -> Facts | None:
    """Open the database and close it again; what it is. Raises CannotStart."""
    if settings.artifacts_only:
        return None
    db = await _patiently(lambda: open_database(settings))
    await db.close()
    found = cast("Facts", db.schema)
    warn(found)
    return found


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _answer(
    settings: Settings,
    sock: socket.socket,
    ready: Callable[[Facts | None], None],
    supervisor_fd: int | None,
    bridge_state: SharedStates | None,
    board: Board | None,
) -> None:
    stop = asyncio.Event()
    app = create_app(settings, bridge_state, board)
    await _patiently(app.start)
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
        ready(found)
        _relieve_collector()
        await stop.wait()
        log.info("draining: %d requests in progress", server.in_flight)
        if not await server.drain(settings.drain_timeout_s):
            log.error("%d requests are cut off: the drain took too long", server.in_flight)
            _exit(1)  # closing the database would wait for their writes, which nobody awaits now
    finally:
        await app.stop()


def _relieve_collector() -> None:
    """Have the cycle collector look less often, and never again at what is there from the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS_PER_COLLECTION)


def warn(found: Facts | None) -> None:
    """Log what is doubtful about a database that is served all the same."""
    for warning in found.warnings if found else ():
        log.warning("%s", warning)


def facts(app: App) -> Facts | None:
    """What the database of a started application is; None when it has none."""
    return None if app.settings.artifacts_only else cast("Facts", app.context.db.schema)


async def _patiently(start: Callable[[], Awaitable[T]]) -> T:
    """What `start` returns; run again while the database may only not be there yet.

    Raises CannotStart.
    """
    until = monotonic() + PATIENCE_S
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await start()
        except UnusableDatabase as exc:
            if not exc.transient or monotonic() + pause_s > until:
                raise CannotStart(str(exc)) from exc
            log.warning("%s Trying again in %.1f s.", exc, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)


def _stop_on_signal(stop: asyncio.Event, supervisor_fd: int | None) -> None:
    loop = asyncio.get_running_loop()

    def alone(number: int) -> None:
        if stop.is_set():
            log.warning("second signal: stopping at once")
            _exit(128 + number)
        stop.set()

    def supervisor_ended(fd: int) -> None:
        loop.remove_reader(fd)
        log.error("the supervisor is gone: draining")
        stop.set()

    if supervisor_fd is None:
        loop.add_signal_handler(signal.SIGINT, alone, signal.SIGINT)
        loop.add_signal_handler(signal.SIGTERM, alone, signal.SIGTERM)
    else:
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_reader(supervisor_fd, supervisor_ended, supervisor_fd)


def _exit(code: int) -> NoReturn:
    logging.shutdown()
    os._exit(code)
