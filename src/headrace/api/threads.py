"""Threads for calls that wait for foreign hosts. They do not delay the end of the server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from headrace.contract.errors import ApiError

T = TypeVar("T")
FAILURES: Final = (ApiError, OSError, ValueError)  # exceptions that such a call may raise


class Threads:
    """At most `most` threads at a time.

    They are daemons: Python joins an executor's threads at exit.
    """

    def __init__(self, most: int) -> None:
        self._turn = asyncio.Semaphore(most)

    async def run(self, call: Callable[..., T], *args: object) -> T:
        """Return the result of the call. If cancelled, its thread continues and keeps its slot."""
        await self._turn.acquire()
        loop = asyncio.get_running_loop()
        outcome: Future[T] = Future()
        outcome.set_running_or_notify_cancel()

        def work() -> None:
            try:
                outcome.set_result(call(*args))
            except FAILURES as error:
                outcome.set_exception(error)
            finally:
                if not outcome.done():
                    outcome.set_exception(RuntimeError("see the traceback of the thread"))
                with contextlib.suppress(RuntimeError):  # the loop is closed: the server stopped
                    loop.call_soon_threadsafe(self._turn.release)

        threading.Thread(target=work, name="foreign-hosts", daemon=True).start()
        return await asyncio.wrap_future(outcome)
