"""Waiting for a condition that another process makes true, and work in the background meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LIMIT_S = 60.0
PAUSE_S = 0.02


def eventually(
    condition: Callable[[], T],
    within_s: float = LIMIT_S,
    *,
    what: str = "the condition holds",
    ignored: tuple[type[Exception], ...] = (),
    pause_s: float = PAUSE_S,
) -> T:
    """The first true value of `condition()`, called every `pause_s` seconds. An `ignored` error counts as false.

    Fails the test after `within_s` seconds; `what` states the condition in the message.
    """
    deadline = time.monotonic() + within_s
    while True:
        error = None
        try:
            if value := condition():
                return value
        except ignored as caught:
            error = caught
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}") from error
        time.sleep(pause_s)


def in_background(job: Callable[[], T]) -> Future[T]:
    """Run a job in its own thread, which does not keep the process alive; its result or exception."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(job())
        except BaseException as error:  # noqa: BLE001 raised again by `Future.result`
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
