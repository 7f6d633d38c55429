"""What the processes of one server know together: where stock MLflow listens, and that it is used.

Made once before the workers are forked, so that all of them use the same MLflow. It outlives the
worker that started it and ends with the last of them (see warden.py). Locks are POSIX record locks,
which the system takes back from a process that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import struct
import sys
import tempfile
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

_PORT: Final = struct.Struct("i")
_FAILURES: Final = struct.Struct(
    "dI"
)  # no start before (s of the monotonic clock); how many failures
_FAILURES_AT: Final = 16
START_BYTE: Final = 8  # locked by the process that starts MLflow
ALIVE_BYTE: Final = 9  # locked by the warden for as long as it lives
FIRST_PAUSE_S: Final = 10.0  # after a failure; doubled by each one that follows
LONGEST_PAUSE_S: Final = 300.0


class Share:
    """One kind of stock MLflow: its port and secret, the right to start it, and the pipe to its warden."""

    def __init__(self) -> None:
        self.state_fd = _anonymous_file()
        self.port = 0
        self.secret = secrets.token_hex(32)  # without it MLflow answers nobody
        self.forget_failures()
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

    @property
    def pause_s(self) -> float:
        """How long no start may be tried because of failures; 0 when one may."""
        until_s, _ = self._failures()
        return max(0.0, until_s - monotonic())

    def failed(self, *, first_is_free: bool = False) -> None:
        """Note a start that failed, or an MLflow that ended by itself: the next start has to wait."""
        count = self._failures()[1] + 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(count - 1, 10))
        self._note(0.0 if first_is_free and count == 1 else monotonic() + pause_s, count)

    def forget_failures(self) -> None:
        """MLflow has worked for a while."""
        self._note(0.0, 0)

    def _failures(self) -> tuple[float, int]:
        until_s, count = _FAILURES.unpack(os.pread(self.state_fd, _FAILURES.size, _FAILURES_AT))
        return until_s, count

    def _note(self, until_s: float, count: int) -> None:
        os.pwrite(self.state_fd, _FAILURES.pack(until_s, count), _FAILURES_AT)

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
