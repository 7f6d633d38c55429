"""State that the processes of one server share: the port of stock MLflow, and whether it is in use.

It is created before the workers are forked, so that all of them use the same MLflow. MLflow
outlives the worker that started it and ends with the last of them (see watchdog.py). Locks are
POSIX record locks, which the system releases when a process ends.
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
# No start before this time (s of the monotonic clock); number of failures.
_FAILURES: Final = struct.Struct("dI")
_FAILURES_AT: Final = 16
START_BYTE: Final = 8  # locked by the process that starts MLflow
ALIVE_BYTE: Final = 9  # locked by the watchdog while it runs
FIRST_PAUSE_S: Final = 10.0  # after a failure; each further failure doubles it
LONGEST_PAUSE_S: Final = 300.0


class SharedState:
    """The state of one kind of stock MLflow: port, secret, start lock, and the pipe to its watchdog."""

    def __init__(self) -> None:
        self.state_fd = _anonymous_file()
        self.port = 0
        self.secret = secrets.token_hex(32)  # MLflow rejects requests without it
        self.forget_failures()
        self.watchdog_end, self._our_end = os.pipe()
        os.set_blocking(self._our_end, False)

    @property
    def port(self) -> int:
        """The port of MLflow; 0 while it does not run."""
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
        """Seconds until the next start is allowed after failures; 0 when it is allowed."""
        until_s, _ = self._failures()
        return max(0.0, until_s - monotonic())

    def failed(self, *, first_is_free: bool = False) -> None:
        """Record a failed start or an unexpected end of MLflow: the next start must wait."""
        count = self._failures()[1] + 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(count - 1, 10))
        self._note(0.0 if first_is_free and count == 1 else monotonic() + pause_s, count)

    def forget_failures(self) -> None:
        """Reset the failures, because MLflow has run for a while."""
        self._note(0.0, 0)

    def _failures(self) -> tuple[float, int]:
        until_s, count = _FAILURES.unpack(os.pread(self.state_fd, _FAILURES.size, _FAILURES_AT))
        return until_s, count

    def _note(self, until_s: float, count: int) -> None:
        os.pwrite(self.state_fd, _FAILURES.pack(until_s, count), _FAILURES_AT)

    def try_lock(self) -> bool:
        """Take the lock for starting MLflow; False while another process holds it."""
        return self._try_lock(START_BYTE)

    def unlock(self) -> None:
        """Release the lock for starting MLflow."""
        self._unlock(START_BYTE)

    def _try_lock(self, byte: int) -> bool:
        with contextlib.suppress(OSError):  # EACCES or EAGAIN: another process holds it
            fcntl.lockf(self.state_fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return True
        return False

    def _unlock(self, byte: int) -> None:
        fcntl.lockf(self.state_fd, fcntl.LOCK_UN, 1, byte)

    def mark_used(self) -> None:
        """Tell the watchdog that MLflow is in use."""
        # A full pipe has the same effect.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._our_end, b".")

    def close(self) -> None:
        """Note that this process no longer uses MLflow."""
        for fd in (self.watchdog_end, self._our_end, self.state_fd):
            os.close(fd)


@dataclass(frozen=True)
class SharedStates:
    """The states of both kinds of MLflow: without job runners, and with them."""

    plain: SharedState = field(default_factory=SharedState)
    jobs: SharedState = field(default_factory=SharedState)

    def close(self) -> None:
        """Note that this process uses neither any more."""
        self.plain.close()
        self.jobs.close()


def _anonymous_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("headrace-bridge")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
