"""What the processes of one server know together: where stock MLflow listens, and that it is used.

Made once before the workers are forked, so that all of them use the same MLflow. It outlives the
worker that started it and ends with the last of them (see warden.py). Locks are POSIX record locks,
which the system takes back from a process that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Final

_PORT: Final = struct.Struct("i")
START_BYTE: Final = 8  # locked by the process that starts MLflow
ALIVE_BYTE: Final = 9  # locked by the warden for as long as it lives


class Share:
    """One kind of stock MLflow: its port, the right to start it, and the pipe to its warden."""

    def __init__(self) -> None:
        self.state_fd = _anonymous_file()
        self.port = 0
        self.warden_end, self._our_end = os.pipe()
        os.set_blocking(self._our_end, False)

    @property
    def port(self) -> int:
        """Where MLflow answers; 0 while it does not run."""
        if self._try_lock(ALIVE_BYTE):
            self._unlock(ALIVE_BYTE)
            return 0
        port: int = _PORT.unpack(os.pread(self.state_fd, _PORT.size, 0))[0]
        return port

    @port.setter
    def port(self, port: int) -> None:
        os.pwrite(self.state_fd, _PORT.pack(port), 0)

    def try_lock(self) -> bool:
        """Take the right to start it; False while another process has it."""
        return self._try_lock(START_BYTE)

    def unlock(self) -> None:
        """Give that right back."""
        self._unlock(START_BYTE)

    def _try_lock(self, byte: int) -> bool:
        with contextlib.suppress(OSError):  # EACCES or EAGAIN: another process holds it
            fcntl.lockf(self.state_fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return True
        return False

    def _unlock(self, byte: int) -> None:
        fcntl.lockf(self.state_fd, fcntl.LOCK_UN, 1, byte)

    def in_use(self) -> None:
        """Tell the warden that it is needed."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # full: it has enough to read
            os.write(self._our_end, b".")

    def close(self) -> None:
        """Say that this process uses it no more."""
        for fd in (self.warden_end, self._our_end, self.state_fd):
            os.close(fd)


@dataclass(frozen=True)
class Shares:
    """The two kinds that a server may start: without MLflow's job runners, and with them."""

    plain: Share = field(default_factory=Share)
    jobs: Share = field(default_factory=Share)

    def close(self) -> None:
        """Say that this process uses neither any more."""
        self.plain.close()
        self.jobs.close()


def _anonymous_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("headrace-bridge")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
