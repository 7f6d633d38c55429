"""A thread with a SQLite connection, which runs jobs for an event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.db.sqlite.connection import Connection

T = TypeVar("T")
log = logging.getLogger(__name__)
_STOP: Final = object()
STOP_TIMEOUT_S: Final = 30.0  # a hanging file system must not keep the process from ending
# SQLite's steps between two checks of the time: about 50 ms, so that searches of ordinary length
# run without one. Each check needs the GIL, for which a thread may wait 5 ms.
STEPS_PER_LOOK: Final = 4_000_000


class Worker:
    """Runs jobs in order of arrival. When the connection cannot be opened, the job that needs it fails.

    With a `limit_s`, a job ends after so many seconds, or soon after its caller has left: its
    statement fails with SQLITE_INTERRUPT. Use it for reads only.
    """

    def __init__(
        self, name: str, connect: Callable[[], Connection], *, limit_s: float | None = None
    ) -> None:
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self._connect = connect
        self._limit_s = limit_s
        self._until_s = 0.0
        self._caller: asyncio.Future[Any] | None = None
        self._ending = False
        self.busy = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection: Connection | None = None
        try:
            while (job := self._jobs.get()) is not _STOP:
                self.busy = True
                connection = self._do(connection, *job)
                del job  # it holds the result until the next job
                self.busy = False
        finally:
            if connection is not None:
                connection.close()

    def _do(
        self,
        connection: Connection | None,
        fn: Callable[[Connection], T],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[T],
    ) -> Connection | None:
        if self._limit_s is not None and future.cancelled():  # its caller left before its turn
            return connection
        try:
            if connection is None:
                connection = self._open()
            if self._limit_s is not None:
                self._caller = future
                self._until_s = monotonic() + self._limit_s
            result = fn(connection)
        except BaseException as error:  # noqa: BLE001 the caller gets every exception
            loop.call_soon_threadsafe(_set_exception, future, error)
        else:
            loop.call_soon_threadsafe(_set_result, future, result)
            del result
        finally:
            # The error refers to this frame, and the future to the error. Without the cycle, the rows
            # that were read before the error are freed at once.
            del future
            self._caller = None
        return connection

    def _open(self) -> Connection:
        connection = self._connect()
        if self._limit_s is not None:
            connection.set_progress_handler(self._is_over, STEPS_PER_LOOK)
        return connection

    def _is_over(self) -> bool:
        """Whether the running statement must end; SQLite calls this in the worker's thread."""
        left = self._caller is not None and self._caller.cancelled()
        return left or self._ending or monotonic() > self._until_s

    def call(self, fn: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Run `fn(connection)` in the thread; awaitable on the calling loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((fn, loop, future))
        return future

    @property
    def waiting(self) -> int:
        """The number of jobs that have not begun."""
        return self._jobs.qsize()

    def stop(self) -> None:
        """Finish the queued jobs (interrupt reads), close the connection, end the thread.

        After STOP_TIMEOUT_S a thread that hangs in the file system is abandoned; the process can
        end without it.
        """
        self._ending = True
        self._jobs.put(_STOP)
        self._thread.join(STOP_TIMEOUT_S)
        if self._thread.is_alive():
            log.error("%s hangs and is left behind", self._thread.name)


def _set_result(future: asyncio.Future[T], result: T) -> None:
    if not future.done():  # the caller may have been cancelled meanwhile
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
