"""The time that a request spends in each stage. Measured only if requests are logged."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Times:
    """Seconds that a request spends in the write queue, in the database and in encoding."""

    __slots__ = ("database_s", "depth", "encoding_s", "queue_s")

    def __init__(self) -> None:
        self.queue_s = 0.0
        self.database_s = 0.0
        self.encoding_s = 0.0
        self.depth = 0

    @contextmanager
    def in_database(self) -> Iterator[None]:
        """Measure the time of the block; nested blocks count once."""
        self.depth += 1
        began_s = perf_counter()
        try:
            yield
        finally:
            self.depth -= 1
            if not self.depth:
                self.database_s += perf_counter() - began_s


current: ContextVar[Times | None] = ContextVar("current", default=None)


def times() -> Times:
    """Return the times of the current request, or unused ones without a current request."""
    return current.get() or Times()
