"""Cells of 64-bit integers that all processes of one server see: one row of them per process.

Each process writes to its own row only, so nothing is locked. A row outlives its process, and the process
that replaces it goes on counting there: no count is lost or goes backwards when a worker dies.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

MAX_PROCESSES: Final = 256  # rows of a board in a directory: how many share it is not known
CELL_BYTES: Final = 8


class Board:
    """`rows` rows of `width` cells. Make it before the processes fork, or open the same file in each.

    Without `directory` it is anonymous. With one it is a file there, named by `layout`: processes that were
    not forked from one another share it, and its counts outlive them.
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
                os.ftruncate(self._fd, size)  # sparse: a row takes room when it is written to
            self._cells = memoryview(mmap.mmap(self._fd, size)).cast("q")
        else:
            self._cells = memoryview(bytearray(size)).cast("q")

    def row(self, number: int) -> memoryview:
        """The cells of one row."""
        return self._cells[number * self.width : (number + 1) * self.width]

    def claim(self) -> memoryview:
        """A row for this process, until it ends. Raises RuntimeError when all are taken."""
        if self._fd < 0:
            return self.row(0)
        for number in range(self.rows):
            if self._lock(number):
                return self.row(number)
        raise RuntimeError(f"more than {self.rows} processes on one board")

    def _lock(self, number: int) -> bool:
        import fcntl  # not on Windows, where there is one process and no file

        with contextlib.suppress(OSError):  # another process has it
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
