"""A table of 64-bit counters in memory that all processes of a server share, one row per process.

Each process writes only to its own row, so counting needs no lock. A row outlives its process, and the
replacement of the process continues it, so no count is lost or decreases when a worker ends.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

# Rows of a table in a directory, which any number of processes may share.
MAX_PROCESSES: Final = 256
CELL_BYTES: Final = 8


class CounterTable:
    """`rows` rows of `width` counters. Processes share it by forking or by opening the same file.

    Without `directory` the memory is anonymous. With it, the table is a file there, named after
    `layout`, which unrelated processes share and which outlives them.
    """

    def __init__(
        self, width: int, rows: int = 1, *, directory: str | None = None, layout: str = ""
    ) -> None:
        self.width = width
        self.rows = MAX_PROCESSES if directory else rows
        self._fd = _file(directory, layout) if directory or rows > 1 else -1
        size = self.width * self.rows * CELL_BYTES
        if self._fd >= 0:
            if os.fstat(self._fd).st_size < size:
                os.ftruncate(
                    self._fd, size
                )  # sparse: a row takes space only after it is written to
            self._cells = memoryview(mmap.mmap(self._fd, size)).cast("q")
        else:
            self._cells = memoryview(bytearray(size)).cast("q")

    def row(self, number: int) -> memoryview:
        """Return the counters of one row."""
        return self._cells[number * self.width : (number + 1) * self.width]

    def claim(self) -> memoryview:
        """Reserve a row for this process until it ends. Raises RuntimeError if none is free."""
        if self._fd < 0:
            return self.row(0)
        for number in range(self.rows):
            if self._lock(number):
                return self.row(number)
        raise RuntimeError(f"more than {self.rows} processes share one counter table")

    def _lock(self, number: int) -> bool:
        import fcntl  # missing on Windows, where one process serves and needs no lock

        with contextlib.suppress(OSError):  # another process holds the lock
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            return True
        return False


def _file(directory: str | None, layout: str) -> int:
    if directory:
        Path(directory).mkdir(parents=True, exist_ok=True)  # as stock MLflow does
        return os.open(Path(directory) / f"headrace-{layout}.cells", os.O_RDWR | os.O_CREAT, 0o600)
    if sys.platform == "linux":
        return os.memfd_create("headrace-monitor")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
